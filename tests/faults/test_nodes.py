"""A whole node of a cluster dies in the middle of a run; what is left of the cluster finishes with the same numbers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime
from eigen2.training.session import fit_to_cluster
from eigen2.training.trainer import Trainer
from tests.faults.test_losses import PHASES, SIZE, Saboteur
from tests.training.small import MARKET, assert_same_run, make_session, run, small_config

NODES = 3
LIMIT_S = 120
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}


@contextmanager
def nodes(count: int) -> Iterator[Cluster]:
    """A cluster of nodes of one CPU each; the driver is on the first."""
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": QUICK_TO_NOTICE},
    )
    filled(made, count)
    ray.init(address=made.address, log_to_driver=False)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def filled(cluster: Cluster, count: int) -> Cluster:
    """The cluster, with as many nodes again."""
    for _ in range(count - 1 - len(cluster.worker_nodes)):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    return cluster


@pytest.fixture(scope="module")
def first() -> Iterator[Cluster]:
    with nodes(NODES) as made:
        yield made


@pytest.fixture
def cluster(first: Cluster) -> Cluster:
    return filled(first, NODES)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(tmp_path_factory.mktemp("undisturbed"), **SIZE)


@pytest.mark.parametrize("phase", PHASES)
def test_a_node_dies(tmp_path: Path, undisturbed: RunFolder, cluster: Cluster, phase: str) -> None:
    folder, saboteur = sabotaged(tmp_path / "cluster", cluster, phase)
    assert_same_run(folder, undisturbed)
    assert any("the cluster is smaller" in message for message in saboteur.warnings), saboteur.warnings


def lose(cluster: Cluster) -> None:
    """Kill a node that the driver is not on, and wait until it is known to be dead."""
    doomed: Any = sorted(cluster.worker_nodes, key=lambda node: node.node_id)[0]
    cluster.remove_node(doomed, allow_graceful=False)
    deadline = time.monotonic() + LIMIT_S
    while any(node["Alive"] and node["NodeID"] == doomed.node_id for node in ray.nodes()):
        assert time.monotonic() < deadline, "the node never died"
        time.sleep(0.1)


def sabotaged(path: Path, cluster: Cluster, phase: str) -> tuple[RunFolder, Saboteur]:
    config, folder = small_config(**SIZE), RunFolder(path)
    path.mkdir(parents=True)
    saboteur = Saboteur(make_session(config, folder, 0), phase, partial(lose, cluster))
    trainer = Trainer(config, MARKET, folder, RayRuntime(), partial(fit_to_cluster, config), saboteur)
    trainer.start()
    trainer.run()
    return folder, saboteur
