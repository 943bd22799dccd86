"""A pod as RunPod tells of it, and what we wrote into it when it was rented."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

LABEL = "EIGEN2_POD"  # base64 of JSON: RunPod's start script quotes naively
STARTING = ("PROVISIONING", "STARTING")
LIVE = (*STARTING, "RUNNING")


@dataclass(frozen=True)
class Pod:
    """A rented machine.

    ssh: public (host, port) of its SSH server; it changes with every restart. private_ip: its address among the
    account's pods. cluster, tags: as labelled by us; none on pods of others.
    """

    id: str
    name: str
    status: str
    usd_per_hour: float
    created: datetime
    gpu: str
    ssh: tuple[str, int] | None
    private_ip: str | None
    cluster: str | None
    tags: Mapping[str, str]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Pod":
        """From the API's Pod."""
        direct = (found.get("ssh") or {}).get("direct")
        gpu = found.get("gpu") or {}
        cluster, tags = read_label((found.get("env") or {}).get(LABEL, ""))
        return cls(
            id=found["id"],
            name=found["name"],
            status=found["status"],
            usd_per_hour=float(found["cost"]),
            created=_time(found.get("startedAt") or found["createdAt"]),
            gpu=f"{gpu.get('count', 1)} x {gpu['id']}" if gpu else "CPU",
            ssh=(direct["host"], direct["port"]) if direct else None,
            private_ip=(found.get("globalNetworking") or {}).get("ip"),
            cluster=cluster,
            tags=tags,
        )

    @property
    def live(self) -> bool:
        """Whether it runs or is about to."""
        return self.status in LIVE

    @property
    def ready(self) -> bool:
        """Whether one can log in."""
        return self.status == "RUNNING" and self.ssh is not None

    def age_s(self, now: datetime) -> float:
        """Seconds since it was rented."""
        return max((now - self.created).total_seconds(), 0.0)

    def usd(self, now: datetime) -> float:
        """What it has cost, by its hourly price."""
        return self.usd_per_hour * self.age_s(now) / 3600


def label(cluster: str, tags: Mapping[str, str]) -> str:
    """What marks a pod as ours."""
    return base64.b64encode(json.dumps({"cluster": cluster, "tags": dict(tags)}).encode()).decode()


def read_label(text: str) -> tuple[str | None, dict[str, str]]:
    """(cluster, tags) of a label; (None, {}) of anything else."""
    try:
        found = json.loads(base64.b64decode(text, validate=True))
        return str(found["cluster"]), {str(key): str(value) for key, value in found["tags"].items()}
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        return None, {}


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
