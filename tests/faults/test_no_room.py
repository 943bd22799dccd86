"""The only node that can run a member is lost and stays away: a run waits, saying for what, saves, and ends with 1."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from eigen2.training.checkpoint import generations_saved
from eigen2.training.run_folder import RunFolder
from tests.faults.test_driver import command, market_file, settings  # noqa: F401 - a fixture
from tests.faults.test_nodes import QUICK_TO_NOTICE
from tests.training.small import assert_same_run, rows_of

WAIT_S = 8
LIMIT_S = 480
GENERATIONS = 20
SMALLEST = ["population_size=1", "elite_share=1", f"num_generations={GENERATIONS}"]
WAITING = [f"wait_s={WAIT_S}", "min_patience_s=120"]  # a start may take long on a busy machine


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head on which no member fits, and a node for one."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": QUICK_TO_NOTICE})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def started(*args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "COLUMNS": "500"}  # one line a message
    return subprocess.Popen(command(*args), env=environment, stderr=subprocess.PIPE, text=True)


def await_rows(folder: RunFolder, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not (folder.metrics.exists() and len(folder.metrics.read_bytes().splitlines()) >= count):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_without_room_waits_saves_and_goes_on_later(tmp_path: Path, market_file: Path, cluster: Cluster) -> None:  # noqa: F811
    def start(name: str, *args: str) -> tuple[RunFolder, subprocess.Popen[str]]:
        changed = [word for change in SMALLEST + WAITING for word in ("--set", change)]
        return RunFolder(tmp_path / name), started(*settings(market_file, tmp_path), "--name", name, *changed, *args)

    folder, process = start("lost", "--address", cluster.address, "--set", "num_cpus=null")
    await_rows(folder, 1, process)
    process.send_signal(signal.SIGSTOP)  # the run can't end before its node does
    doomed: Any = next(iter(cluster.worker_nodes))
    cluster.remove_node(doomed, allow_graceful=False)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1, said
    assert f"waiting up to {WAIT_S} s for room: 1 members" in said
    assert "has 0 CPUs and 0 GPUs on 1 nodes, room for 0" in said
    done = generations_saved(folder.checkpoints)[-1]
    assert 1 <= done < GENERATIONS
    assert done >= len(rows_of(folder)) - 1

    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    resumed = started("--resume", str(folder.path))
    assert (resumed.communicate(timeout=LIMIT_S), resumed.returncode)[1] == 0
    whole, process = start("whole")
    assert (process.communicate(timeout=LIMIT_S), process.returncode)[1] == 0
    assert_same_run(folder, whole)
