"""What RunPod's published REST v2 document allows in the requests we send, and what an answer must hold.

Transcribed from the schemas CreatePodRequest and Pod of https://docs.runpod.io/api-reference-v2 (version 2.0.0).
"""

from typing import Any

TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": {"type": "string"}}
MOUNT = {
    "type": "object",
    "required": ["volumeId", "path"],
    "additionalProperties": False,
    "properties": {"volumeId": {"type": "string"}, "path": {"type": "string"}},
}

CREATE_POD: dict[str, Any] = {
    "type": "object",
    "required": ["name", "image"],
    "additionalProperties": False,
    "properties": {
        "name": TEXT,
        "image": {"type": "string"},
        "args": {"type": "string"},
        "disk": {"type": "integer", "minimum": 1},
        "env": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 50},
        "ports": TEXTS,
        "registry": {"type": ["string", "null"]},
        "cloud": {"enum": ["SECURE", "COMMUNITY"]},
        "dataCenterIds": TEXTS,
        "globalNetworking": {"type": "boolean"},
        "gpu": {
            "type": "object",
            "required": ["id"],
            "additionalProperties": False,
            "properties": {
                "id": {"type": "string"},
                "count": {"type": "integer", "minimum": 1},
                "allowedCudaVersions": {"type": "array", "items": {"type": "string", "pattern": r"^\d+\.\d+$"}},
                "minCudaVersion": {"type": "string", "pattern": r"^\d+\.\d+$"},
            },
        },
        "mounts": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"network": {"type": "array", "maxItems": 1, "items": MOUNT}},
        },
        "startJupyter": {"type": "boolean"},
        "startSsh": {"type": "boolean"},
        "templateId": TEXT,
    },
}

POD_REQUIRED = (
    "id",
    "name",
    "status",
    "actions",
    "image",
    "args",
    "disk",
    "mounts",
    "ports",
    "env",
    "registry",
    "cloud",
    "dataCenterId",
    "cudaVersion",
    "ssh",
    "template",
    "cost",
    "locked",
    "runtime",
    "createdAt",
    "startedAt",
    "globalNetworking",
)
