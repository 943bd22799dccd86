"""How many trials run side by side, and what each of their members gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from eigen2.config import ResourcesConfig
from eigen2.errors import ResourceError
from eigen2.training.cluster import Node, share_of_member
from eigen2.training.runtime import Share

PROCESS_BYTES = 600 * 2**20  # a process with torch, its market and its networks: 0.4 GB measured on the embedded data
HELPERS = 3  # processes of a trial beside its members: driver, replay, vault


@dataclass(frozen=True)
class Room:
    """Trials that run at once, what each member takes, and a sentence that says so."""

    concurrent: int
    share: Share
    says: str


def room_for(population: int, resources: ResourcesConfig, cluster: Sequence[Node], concurrent: int | None) -> Room:
    """What fits a cluster: `concurrent` trials of `population` members, or as many as keep it busy where none is given.

    Raises ResourceError where they do not fit.
    """
    chosen = concurrent or _auto(population, resources, cluster)
    try:
        share = share_of_member(population, resources, list(cluster), populations=chosen)
    except ResourceError as error:
        raise ResourceError(f"{chosen} trials of {population} members at once (--concurrent): {error}") from error
    cpus, gpus = sum(node.cpus for node in cluster), sum(node.gpus for node in cluster)
    why = "as asked" if concurrent else "one a GPU" if share.gpus else "as many as keep the CPUs busy"
    return Room(
        chosen,
        share,
        f"{chosen} trial{'s' if chosen > 1 else ''} at once ({why}) on {cpus:g} CPUs and {gpus:g} GPUs: "
        f"each of {population} members takes {share.cpus:g} CPUs and {share.gpus:g} GPUs"
        + (f", up to {share.together} in one actor" if share.together > 1 else ""),
    )


def _auto(population: int, resources: ResourcesConfig, cluster: Sequence[Node]) -> int:
    cpus, gpus = sum(node.cpus for node in cluster), sum(node.gpus for node in cluster)
    if gpus >= 1 and resources.use_gpu != "never":
        # a GPU that is shared by fewer members than a trial has gives room for fewer trials
        per_gpu = resources.members_per_gpu or population
        wanted = int(gpus) * per_gpu // population
    else:
        wanted = int(cpus / (population * (resources.cpus_per_member or 1.0)))
    fitting = sum(node.memory_bytes for node in cluster) / ((population + HELPERS) * PROCESS_BYTES)
    return max(int(min(wanted, fitting)), 1)
