"""A whole node of a cluster dies in the middle of a run; what is left of the cluster finishes with the same numbers."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.state import list_actors

from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime
from eigen2.training.session import fit_to_cluster
from eigen2.training.trainer import Trainer
from tests.faults.test_losses import PHASES, SIZE, Saboteur
from tests.training.small import MARKET, assert_same_run, make_session, run, small_config

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes of one CPU each; the driver is on the first."""
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": True, "_system_config": QUICK_TO_NOTICE},
    )
    made.add_node(num_cpus=1)
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.parametrize("phase", PHASES)
def test_a_node_dies(tmp_path: Path, cluster: Cluster, phase: str) -> None:
    local = run(tmp_path / "local", **SIZE)
    folder, saboteur = sabotaged(tmp_path / "cluster", cluster, phase)
    assert_same_run(folder, local)
    assert any("the cluster is smaller" in message for message in saboteur.warnings), saboteur.warnings


def lose(cluster: Cluster) -> None:
    """Kill a node that the driver is not on, and wait until its workers are gone with it."""
    doomed: Any = sorted(cluster.worker_nodes, key=lambda node: node.node_id)[0]
    cluster.remove_node(doomed, allow_graceful=False)
    deadline = time.monotonic() + 60
    while any(actor.state == "ALIVE" and actor.node_id == doomed.node_id for actor in list_actors()):
        assert time.monotonic() < deadline, "the node never died"
        time.sleep(0.2)


def sabotaged(path: Path, cluster: Cluster, phase: str) -> tuple[RunFolder, Saboteur]:
    config, folder = small_config(**SIZE), RunFolder(path)
    path.mkdir(parents=True)
    saboteur = Saboteur(make_session(config, folder, 0), phase, partial(lose, cluster))
    trainer = Trainer(config, MARKET, folder, RayRuntime(), partial(fit_to_cluster, config), saboteur)
    trainer.start()
    trainer.run()
    return folder, saboteur
