"""Room for a population: which node its members go to, and pods to be rented where there is not enough."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from eigen2.config import ResourcesConfig
from eigen2.errors import ResourceError
from eigen2.training.cluster import Node, members_on, nodes, share_of_member
from eigen2.training.runtime import Share

RETRY_S = 1.0
LAUNCHED = Path("~/ray_bootstrap_config.yaml")  # on a head that `ray up` made; JSON, whatever its name says


class Room:
    """Fits a population to the connected cluster, again and again as it changes.

    Where the members don't fit, and an autoscaler may bring nodes on which they would, it is asked for them: by a
    placement group, which is forgotten when this run ends, however it ends.
    """

    def __init__(self, population: int, resources: ResourcesConfig, launched: Path = LAUNCHED) -> None:
        self._population, self._resources = population, resources
        self._launched = launched
        self._asked: PlacementGroup | None = None
        self.away = 0  # members that do not live on the driver's node, by the latest fit

    def fit(self) -> Share:
        """What each member takes of the cluster as it is now. Raises ResourceError if they do not fit yet."""
        present = nodes()
        try:
            share = share_of_member(self._population, self._resources, present)
        except ResourceError:
            self._ask(present)
            raise
        self.forget()
        here = ray.get_runtime_context().get_node_id()
        near = one_for_all(self._population, share, present, here)
        beside = {node.id: members_on(node, share) for node in present}.get(here, 0) if near in (None, here) else 0
        self.away = max(self._population - beside, 0)
        return replace(share, near=near)

    def wait(self, told: Callable[[str], None]) -> None:
        """Wait up to `resources.wait_s` for nodes that were asked for. Raises ResourceError where none may come."""
        deadline = time.monotonic() + self._resources.wait_s
        told_once = False
        while True:
            try:
                self.fit()
                return
            except ResourceError as error:
                if self._asked is None or time.monotonic() > deadline:
                    self.forget()
                    raise
                if not told_once:
                    told(f"asked for more nodes, waiting up to {self._resources.wait_s:g} s: {error}")
                    told_once = True
            time.sleep(RETRY_S)

    def forget(self) -> None:
        """Ask for nothing any more."""
        if self._asked is not None:
            remove_placement_group(self._asked)
            self._asked = None

    def _ask(self, present: list[Node]) -> None:
        in_reach = nodes_in_reach(self._resources, present, self._launched)
        if self._asked is not None or in_reach == present:
            return
        try:
            share = share_of_member(self._population, self._resources, in_reach)
        except ResourceError:
            return  # not even the largest cluster would do: what is there now is told
        bundle = {"CPU": share.cpus, **({"GPU": share.gpus} if share.gpus else {})}
        self._asked = placement_group([bundle] * self._population, strategy="PACK")


def nodes_in_reach(resources: ResourcesConfig, present: list[Node], launched: Path = LAUNCHED) -> list[Node]:
    """The nodes of a cluster made by `ray up` when all it may rent is rented; those present on any other cluster."""
    launched = launched.expanduser()
    if resources.address is None or not launched.is_file():
        return present
    config = json.loads(launched.read_bytes())
    here = ray.get_runtime_context().get_node_id()  # the launcher's file lies on the head alone
    return [node for node in present if node.id == here] + workers_to_come(config)


def workers_to_come(launched: Mapping[str, Any]) -> list[Node]:
    """All workers that the launcher's config lets the autoscaler rent."""
    head = launched["head_node_type"]
    found = [
        Node(float(kind["resources"].get("CPU", 0)), float(kind["resources"].get("GPU", 0)))
        for name, kind in launched["available_node_types"].items()
        for _ in range(0 if name == head else kind.get("max_workers", launched["max_workers"]))
    ]
    return found[: launched["max_workers"]]


def one_for_all(population: int, share: Share, cluster: list[Node], here: str) -> str | None:
    """The id of a node with room for all members; None where there is none and they spread.

    Of several the driver's, `here`, where what they share lies; else the one with most room: others may be there too.
    """
    enough = [node for node in cluster if members_on(node, share) >= population]
    return max(enough, key=lambda node: (node.id == here, members_on(node, share))).id if enough else None
