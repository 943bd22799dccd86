"""The Ray cluster under a run: joined or started, and what each member gets of it."""

import logging
import math
import socket
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray._private.services import canonicalize_bootstrap_address_or_die
from ray.exceptions import AuthenticationError

from eigen2.config import ResourcesConfig
from eigen2.errors import ResourceError
from eigen2.training.guard import find_own_cluster, make_token, meet, on_loopback
from eigen2.training.health import check_local_ray
from eigen2.training.ray_compat import caller_handles_sigterm, keep_ray_off_the_terminal
from eigen2.training.ray_folder import new_ray_folder
from eigen2.training.runtime import Share
from eigen2.training.stopping import answering_signals

KNOCK_S = 10.0
CLIENT, AUTO, LOOPBACK = "ray://", "auto", "127."
QUIETLY: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
QUICK_TO_END = {"task_events_shutdown_flush_timeout_ms": 500}  # 5000: as long a driver waits for a GCS that has ended
PRECISION = 10_000  # Ray counts resources in steps of 0.0001


@dataclass(frozen=True)
class Node:
    """CPUs, GPUs and memory of one machine, and the id by which Ray knows it."""

    cpus: float
    gpus: float
    id: str = ""
    memory_bytes: float = math.inf


def connect(resources: ResourcesConfig) -> str | None:
    """Join the configured cluster, or start a local Ray on loopback; returns the dashboard's address, if there is one.

    SIGTERM does what the caller has set, and is answered while Ray starts. Raises ResourceError when the cluster can't
    be reached, or Ray does not start.
    """
    keep_ray_off_the_terminal()
    with caller_handles_sigterm(), answering_signals():
        context = _start(resources) if resources.address is None else _join(resources.address)
    return context.dashboard_url or None


def _start(resources: ResourcesConfig) -> Any:
    make_token()
    folder = new_ray_folder()
    try:
        with on_loopback():
            return ray.init(
                "local",
                num_cpus=resources.num_cpus,
                include_dashboard=resources.dashboard,
                _temp_dir=str(folder),
                _system_config=QUICK_TO_END,
                **QUIETLY,
            )
    except Exception as error:  # Ray raises plain Exceptions where it starts too slowly
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ResourceError(
            f"Ray did not start on this machine: {reason}; it may be too busy, or its memory or disk full: free some "
            f"and try again (Ray's logs: {folder}/session_latest/logs)"
        ) from error


def _join(address: str) -> Any:
    try:
        return _joined(address)
    except (OSError, ValueError, RuntimeError, AuthenticationError) as error:
        raise ResourceError(f"resources.address: {address} can't be reached: {str(error).splitlines()[0]}") from error


def _joined(address: str) -> Any:
    if address == AUTO:
        address = find_own_cluster()
    elif not address.startswith(CLIENT):
        address = canonicalize_bootstrap_address_or_die(address)
    _knock(address)
    meet(address.removeprefix(CLIENT))
    with on_loopback() if address.startswith(LOOPBACK) else nullcontext():
        return ray.init(address=address, **QUIETLY)


def _knock(address: str) -> None:
    """See that someone listens on host:port: Ray itself goes on trying for minutes. Raises OSError if no one does."""
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


def nodes() -> list[Node]:
    """The living machines of the connected cluster. Raises RunError where it is a local Ray that has ended."""
    check_local_ray()
    alive = ((node["NodeID"], node["Resources"]) for node in ray.nodes() if node["Alive"])
    return [
        Node(found.get("CPU", 0.0), found.get("GPU", 0.0), node_id, found.get("memory", 0.0))
        for node_id, found in alive
    ]


def share_of_member(population: int, resources: ResourcesConfig, cluster: list[Node], populations: int = 1) -> Share:
    """What each member takes, so that all of them fit at once, and how many live in one process.

    A GPU is shared by a whole number of members: its fraction is 1/k. populations: as many of them are there at once.
    Raises ResourceError saying what was asked, what the cluster has, and what to change.
    """
    share = _share_alone(populations * population, resources, cluster)
    wanted = resources.members_per_actor or _members_per_core(share, resources)
    fitting = (replace(share, together=together) for together in range(min(wanted, population), 1, -1))
    return next((found for found in fitting if _processes_fit(found, population, populations, cluster)), share)


def _members_per_core(share: Share, resources: ResourcesConfig) -> int:
    """Members that would share a core, and so gain nothing from processes of their own; on a GPU they do."""
    return 1 if share.gpus or resources.cpus_per_member else int(1 / share.cpus + 1e-9)


def _processes_fit(share: Share, population: int, populations: int, cluster: list[Node]) -> bool:
    process = share.of_process
    return process.gpus <= 1 and populations * -(-population // share.together) <= _room(cluster, process)


def _share_alone(population: int, resources: ResourcesConfig, cluster: list[Node]) -> Share:
    """What each member takes in a process of its own."""
    cpus, gpus = sum(node.cpus for node in cluster), sum(node.gpus for node in cluster)
    on_gpu = resources.use_gpu == "always" or (resources.use_gpu == "auto" and gpus >= 1)
    if on_gpu and gpus < 1:
        raise ResourceError(
            "resources.use_gpu is always, but the cluster has no GPU; set resources.use_gpu=auto or add a GPU node"
        )
    gpu_share = _rounded(1 / _members_per_gpu(population, resources, int(gpus))) if on_gpu else 0.0
    if resources.cpus_per_member:
        share = Share(resources.cpus_per_member, gpu_share)
    else:
        share = _largest_that_fits(population, gpu_share, cluster)
    room = _room(cluster, share)
    if room < population:
        raise ResourceError(
            f"{population} members of {share.cpus:g} CPUs and {share.gpus:g} GPUs each were asked for, but the cluster "
            f"has {cpus:g} CPUs and {gpus:g} GPUs on {len(cluster)} nodes, room for {room}; lower "
            "evolution.population_size or resources.cpus_per_member, raise resources.members_per_gpu, or add nodes"
        )
    return share


def _members_per_gpu(population: int, resources: ResourcesConfig, gpus: int) -> int:
    return resources.members_per_gpu or -(-population // gpus)


def _largest_that_fits(population: int, gpu_share: float, cluster: list[Node]) -> Share:
    """The largest share of a CPU with which all members fit; the smallest tried if none does."""
    shares = {_rounded(min(1.0, node.cpus / k)) for node in cluster for k in range(1, population + 1)}
    descending = [Share(cpus, gpu_share) for cpus in sorted(shares, reverse=True)] or [Share(1.0, gpu_share)]
    return next((share for share in descending if _room(cluster, share) >= population), descending[-1])


def _room(cluster: list[Node], share: Share) -> int:
    """Members that fit on a cluster: whole ones, each on one node and one of its GPUs."""
    return sum(room_on(node, share) for node in cluster)


def room_on(node: Node, share: Share) -> int:
    """Members that fit on one node, each on one of its GPUs."""
    by_cpu = int((node.cpus + 1e-9) / share.cpus)
    if not share.gpus:
        return by_cpu
    return min(by_cpu, int(node.gpus) * int((1 + 1e-9) / share.gpus))


def members_on(node: Node, share: Share) -> int:
    """Members for which there is room on one node, in as many processes as they need."""
    return room_on(node, share.of_process) * share.together


def _rounded(share: float) -> float:
    """Rounded down to what Ray can count, so that k shares of 1/k always fit."""
    return max(int(share * PRECISION + 1e-6), 1) / PRECISION
