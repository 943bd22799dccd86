"""Room for a population: all members on one node where they fit, and nodes asked for where they don't."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from eigen2.config import ResourcesConfig
from eigen2.errors import ResourceError
from eigen2.training.cluster import Node, nodes
from eigen2.training.room import Room, nodes_in_reach, one_for_all, workers_to_come
from eigen2.training.runtime import RayRuntime, Share

LAUNCHED: dict[str, Any] = {
    "head_node_type": "head",
    "max_workers": 3,
    "available_node_types": {
        "head": {"resources": {"CPU": 1}, "max_workers": 0},
        "worker": {"resources": {"CPU": 2, "GPU": 1}, "max_workers": 2},
    },
}


@pytest.fixture
def launched(tmp_path: Path) -> Path:
    path = tmp_path / "ray_bootstrap_config.yaml"
    path.write_text(json.dumps(LAUNCHED))
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head of one CPU, and whatever a test adds."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def resources(**changed: Any) -> ResourcesConfig:
    return ResourcesConfig(address="auto", cpus_per_member=1, use_gpu="never", **changed)


def test_what_may_come_is_all_workers_of_all_kinds_as_far_as_the_cluster_may_grow() -> None:
    assert workers_to_come(LAUNCHED) == [Node(2, 1), Node(2, 1)]
    kinds = {**LAUNCHED["available_node_types"], "big": {"resources": {"CPU": 8}, "max_workers": 2}}
    assert workers_to_come({**LAUNCHED, "available_node_types": kinds}) == [Node(2, 1), Node(2, 1), Node(8, 0)]


def test_the_head_in_reach_is_as_it_was_found(cluster: Cluster, launched: Path, tmp_path: Path) -> None:
    (head,) = present = nodes()
    assert nodes_in_reach(resources(), present, launched) == [head, Node(2, 1), Node(2, 1)]
    assert nodes_in_reach(resources(), present, tmp_path / "nothing") == present
    assert nodes_in_reach(ResourcesConfig(), present, launched) == present


def test_members_go_where_all_of_them_fit() -> None:
    nodes = [Node(2, 0, "a"), Node(4, 0, "b"), Node(8, 0, "c")]
    assert one_for_all(4, Share(1.0), nodes, "a") == "c"
    assert one_for_all(4, Share(1.0), nodes, "b") == "b", "with the driver where they can be"
    assert one_for_all(9, Share(1.0), nodes, "a") is None
    assert one_for_all(8, Share(0.5, 0.25), [Node(8, 1, "a"), Node(8, 2, "b")], "a") == "b"


def test_a_cluster_that_cannot_grow_says_at_once_that_it_is_too_small(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="room for 1"):
        Room(2, resources(), tmp_path / "nothing").wait(lambda _: pytest.fail("nothing is waited for"))


def test_more_than_may_ever_come_is_not_waited_for(cluster: Cluster, launched: Path) -> None:
    with pytest.raises(ResourceError, match="room for 1"):
        Room(6, resources(), launched).wait(lambda _: pytest.fail("nothing is waited for"))


def test_nodes_that_do_not_come_in_time_are_not_asked_for_any_more(cluster: Cluster, launched: Path) -> None:
    told: list[str] = []
    with pytest.raises(ResourceError, match="room for 1"):
        Room(3, resources(wait_s=0.5), launched).wait(told.append)
    assert len(told) == 1
    assert told[0].startswith("asked for more nodes, waiting up to 0.5 s: 3 members")
    assert wanted() == []


def test_nodes_are_asked_for_and_waited_for_and_the_members_stay_together(cluster: Cluster, launched: Path) -> None:
    """The demand is what an autoscaler sees; here the test answers it."""
    room = Room(3, resources(), launched)
    run = threading.Thread(target=room.wait, args=(lambda _: None,), daemon=True)
    run.start()
    deadline = time.monotonic() + 30
    while not (seen := wanted()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert seen == [{"CPU": 1.0}] * 3
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=3)
    run.join(60)
    assert not run.is_alive()
    share = room.fit()
    assert share.cpus == 1.0
    assert room.away == 3
    runtime = RayRuntime()
    parts = [runtime.make(f"member {number}", Where, share) for number in range(3)]
    places = runtime.collect([(part, part.call("where")) for part in parts], 60)
    assert places == [share.near] * 3
    assert wanted() == []
    for part in parts:
        runtime.end(part)


class Where:
    """A part that knows where it lives."""

    def where(self) -> str:
        found: str = ray.get_runtime_context().get_node_id()
        return found


def wanted() -> list[dict[str, float]]:
    """The bundles of all placement groups that stand or wait."""
    tables = ray.util.placement_group_table().values()
    return [bundle for table in tables if table["state"] != "REMOVED" for bundle in table["bundles"].values()]
