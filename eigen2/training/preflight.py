"""What each node of the connected cluster says of itself, before a run is trusted to it."""

import os
import platform
import shutil
import socket
import struct
import subprocess
import time
import uuid
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from eigen2.errors import ResourceError
from eigen2.training.guard import asks_for_token

ANSWER_S = 60.0
LISTENING = "0A"  # state of a socket in /proc/net/tcp
SHARED_MEMORY = Path("/dev/shm")
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


@dataclass(frozen=True)
class NodeFacts:
    """One node as it sees itself.

    gpus_counted: what Ray hands out; gpus_found: what the driver shows; gpu_usable: whether a task with a fraction of
    one can compute on it. listening: (address, port) of sockets beyond loopback. clock_s: how far its clock is ahead of
    the driver's, give or take clock_error_s. volume_error: why the folder of runs can't be shared with it, if so.
    """

    name: str
    is_driver: bool
    python: str
    ray: str
    gpus_counted: float
    gpus_found: int
    gpu_usable: bool
    object_store: int
    shared_memory: int
    listening: tuple[tuple[str, int], ...]
    clock_s: float
    clock_error_s: float
    volume_error: str | None


def examine_cluster(runs_dir: Path) -> list[NodeFacts]:
    """Facts of every living node; the driver's first. Raises ResourceError naming a node that does not answer."""
    here = ray.get_runtime_context().get_node_id()
    alive = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeID"] != here)
    marker = runs_dir / f".preflight-{uuid.uuid4().hex[:8]}"
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        marker.write_text("here")
    except OSError as error:
        raise ResourceError(f"folder of runs {runs_dir} can't be written: {error.strerror}") from error
    try:
        return [_examine(node, marker, node["NodeID"] == here) for node in alive]
    finally:
        marker.unlink(missing_ok=True)


def open_to_all() -> bool:
    """Whether the cluster answers without a token."""
    return not asks_for_token(ray.get_runtime_context().gcs_address)


def _examine(node: dict[str, Any], marker: Path, is_driver: bool) -> NodeFacts:
    asked = time.time()
    said = _on(node, _look, marker, num_cpus=0)
    answered = time.time()
    gpus = node["Resources"].get("GPU", 0.0)
    return NodeFacts(
        name=f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
        is_driver=is_driver,
        gpus_counted=gpus,
        gpu_usable=bool(gpus) and _on(node, _compute_on_gpu, num_cpus=0, num_gpus=0.1),
        object_store=int(node["Resources"].get("object_store_memory", 0)),
        clock_s=said.pop("clock") - (asked + answered) / 2,
        clock_error_s=(answered - asked) / 2,
        **said,
    )


def _on(node: dict[str, Any], function: Any, *args: Any, **resources: float) -> Any:
    """The result of a function on a node."""
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(function).options(scheduling_strategy=there, max_retries=0, **resources)
    try:
        return ray.get(task.remote(*args), timeout=ANSWER_S)
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ResourceError(f"node {node['NodeManagerAddress']} can't be examined: {reason}") from error


def _look(marker: Path) -> dict[str, Any]:
    return {
        "clock": time.time(),
        "python": platform.python_version(),
        "ray": ray.__version__,
        "gpus_found": gpus_found(),
        "shared_memory": shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.is_dir() else 0,
        "listening": listening_beyond_loopback(),
        "volume_error": _volume_error(marker),
    }


def gpus_found() -> int:
    """GPUs that the NVIDIA driver shows, whatever a process may use of them."""
    if shutil.which("nvidia-smi") is None:
        return 0
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def listening_beyond_loopback() -> tuple[tuple[str, int], ...]:
    """(address, port) of this machine's TCP sockets that others could reach; none where there is no /proc."""
    found = set()
    for table in TABLES:
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            local, state = line.split()[1], line.split()[3]
            address, port = _address(local.split(":")[0]), int(local.split(":")[1], 16)
            if state == LISTENING and not address.is_loopback:
                found.add((str(address), port))
    return tuple(sorted(found, key=lambda where: where[1]))


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address as the kernel prints it: words of four bytes in the machine's own order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    found = ip_address(struct.pack(f"={len(words)}I", *words))
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _volume_error(marker: Path) -> str | None:
    if not marker.exists():
        return f"{marker.parent} is not shared with it"
    own = marker.with_name(f"{marker.name}-{socket.gethostname()}-{os.getpid()}")
    try:
        own.write_text("there")
        own.unlink()
    except OSError as error:
        return f"{marker.parent} can't be written there: {error.strerror}"
    return None


def _compute_on_gpu() -> bool:
    import torch  # not above: only a node with a GPU needs it

    return torch.cuda.is_available() and float(torch.ones(2, device="cuda").sum()) == 2.0
