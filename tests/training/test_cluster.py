"""What each member gets of a cluster, worked out from its machines alone."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eigen2.config import ResourcesConfig
from eigen2.errors import ResourceError
from eigen2.training.cluster import Node, connect, share_of_member
from eigen2.training.runtime import Share

MANY = settings(max_examples=300, deadline=None)
NODES = st.builds(Node, cpus=st.integers(0, 32).map(float), gpus=st.integers(0, 8).map(float))
SIZES = st.integers(1, 200)


def share(population: int, *nodes: Node, **resources: object) -> Share:
    return share_of_member(population, ResourcesConfig(**resources), list(nodes))


def members_placed(share: Share, nodes: list[Node]) -> int:
    """Members that a scheduler gets onto the nodes one after another, each on one GPU."""
    placed = 0
    for node in nodes:
        cpus, gpus = node.cpus, [1.0] * int(node.gpus)
        while cpus >= share.cpus - 1e-9 and (not share.gpus or any(left >= share.gpus - 1e-9 for left in gpus)):
            cpus -= share.cpus
            if share.gpus:
                gpus[next(i for i, left in enumerate(gpus) if left >= share.gpus - 1e-9)] -= share.gpus
            placed += 1
    return placed


@pytest.mark.parametrize(
    ("population", "nodes", "expected"),
    [
        (2, [Node(8, 0)], Share(1.0, 0.0)),
        (8, [Node(8, 0)], Share(1.0, 0.0)),
        (16, [Node(8, 0)], Share(0.5, 0.0, together=2)),
        (3, [Node(1, 0)], Share(0.3333, 0.0, together=3)),
        (3, [Node(2, 0)], Share(0.6666, 0.0)),
        (9, [Node(8, 0)], Share(0.8888, 0.0)),
        (5, [Node(2, 0)], Share(0.4, 0.0)),
        (8, [Node(16, 1)], Share(1.0, 0.125)),
        (8, [Node(16, 2)], Share(1.0, 0.25)),
        (9, [Node(16, 2)], Share(1.0, 0.2)),
        (2, [Node(16, 8)], Share(1.0, 1.0)),
        (8, [Node(4, 0), Node(16, 1), Node(16, 1)], Share(1.0, 0.25)),
    ],
)
def test_members_share_cpus_and_gpus_equally(population: int, nodes: list[Node], expected: Share) -> None:
    assert share(population, *nodes) == expected


@MANY
@given(SIZES, st.lists(NODES, min_size=1, max_size=6), st.integers(1, 4), st.none() | st.integers(1, 16))
def test_the_processes_of_all_populations_fit(
    population: int, nodes: list[Node], populations: int, members_per_actor: int | None
) -> None:
    resources = ResourcesConfig(members_per_actor=members_per_actor)
    nodes = [Node(max(node.cpus, 1.0), node.gpus) for node in nodes]
    try:
        found = share_of_member(population, resources, nodes, populations)
    except ResourceError:
        return
    processes = populations * -(-population // found.together)
    assert found.together <= min(population, members_per_actor or population)
    assert found.of_process.cpus <= 1 + 1e-9 or members_per_actor
    assert members_placed(found.of_process, nodes) >= processes


def test_members_live_together_where_they_share_a_core_or_as_configured() -> None:
    assert share(8, Node(2, 0)).together == 4
    assert share(8, Node(2, 0), members_per_actor=1).together == 1
    assert share(8, Node(2, 0), members_per_actor=2).of_process == Share(0.5)
    assert share(8, Node(2, 0), cpus_per_member=0.25).together == 1
    assert share(8, Node(2, 1)).together == 1, "on a GPU each has a fraction of its own"
    assert share(8, Node(2, 1), members_per_actor=8).of_process == Share(2.0, 1.0)
    assert share(8, Node(16, 2), members_per_actor=8).of_process == Share(4.0, 1.0), "no process has two GPUs"


@pytest.mark.parametrize("k", [*range(1, 101), 1000, 4096])
def test_k_members_fit_on_one_cpu_and_on_one_gpu(k: int) -> None:
    found = share(k, Node(1, 1))
    assert k * found.cpus <= 1 + 1e-9
    assert k * found.gpus <= 1 + 1e-9
    assert found.gpus == pytest.approx(1 / k, abs=1e-4)


@MANY
@given(SIZES, st.lists(NODES, min_size=1, max_size=6))
def test_an_automatic_share_of_cpus_fits_every_cluster(population: int, nodes: list[Node]) -> None:
    assume(any(node.cpus for node in nodes))
    found = share(population, *nodes, use_gpu="never")
    assert 0 < found.cpus <= 1
    assert found.gpus == 0
    assert members_placed(found, nodes) >= population


@MANY
@given(SIZES, st.lists(NODES, min_size=1, max_size=6), st.floats(0.05, 8), st.integers(1, 16))
def test_a_share_is_given_only_if_all_members_fit(
    population: int, nodes: list[Node], cpus: float, members_per_gpu: int
) -> None:
    try:
        found = share(population, *nodes, cpus_per_member=cpus, members_per_gpu=members_per_gpu)
    except ResourceError:
        return
    assert members_placed(found, nodes) >= population


@MANY
@given(SIZES, st.lists(NODES, min_size=1, max_size=6))
def test_a_gpu_is_shared_by_a_whole_number_of_members(population: int, nodes: list[Node]) -> None:
    # GPUs on machines without a CPU are of no use to a member
    nodes = [Node(max(node.cpus, 1.0), node.gpus) for node in nodes]
    gpus = sum(node.gpus for node in nodes)
    assume(gpus)
    found = share(population, *nodes)
    assert found.gpus == pytest.approx(1 / -(-population // int(gpus)), abs=1e-4)
    assert members_placed(found, nodes) >= population


def test_gpus_are_used_as_configured() -> None:
    assert share(2, Node(4, 1), use_gpu="never").gpus == 0
    assert share(2, Node(4, 1), use_gpu="auto").gpus == 0.5
    assert share(2, Node(4, 0), use_gpu="auto").gpus == 0
    assert share(2, Node(4, 1), members_per_gpu=4).gpus == 0.25


def test_gpus_are_asked_for_where_there_are_none() -> None:
    with pytest.raises(ResourceError, match=r"no GPU; set resources\.use_gpu=auto or add a GPU node"):
        share(2, Node(4, 0), use_gpu="always")


def test_too_many_members_are_told_what_was_asked_what_there_is_and_what_to_change() -> None:
    with pytest.raises(ResourceError) as caught:
        share(5, Node(2, 0), Node(2, 0), cpus_per_member=1.5)
    message = str(caught.value)
    assert "5 members of 1.5 CPUs and 0 GPUs each were asked for" in message
    assert "has 4 CPUs and 0 GPUs on 2 nodes, room for 2" in message
    for change in ("evolution.population_size", "resources.cpus_per_member", "resources.members_per_gpu", "add nodes"):
        assert change in message


def test_too_few_members_a_gpu_are_refused() -> None:
    with pytest.raises(ResourceError, match="room for 2"):
        share(3, Node(8, 2), members_per_gpu=1)


@pytest.mark.parametrize("cluster", [[Node(0, 0)], []], ids=["no CPUs", "no nodes"])
def test_a_cluster_without_cpus_is_refused(cluster: list[Node]) -> None:
    with pytest.raises(ResourceError, match="room for 0"):
        share(1, *cluster)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1"])
def test_a_cluster_that_is_not_there_is_named_at_once(address: str) -> None:
    """By a knock on the port: Ray itself would go on trying for minutes, and say something else."""
    with pytest.raises(ResourceError) as caught:
        connect(ResourcesConfig(address=address))
    assert str(caught.value).startswith(f"resources.address: {address} can't be reached: [Errno ")
