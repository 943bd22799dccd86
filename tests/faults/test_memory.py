"""A long run holds no more than a short one: memory of its processes, objects in the object store."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from eigen2.config import ResourcesConfig
from eigen2.training.cluster import connect
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime, Share
from eigen2.training.trainer import Trainer
from tests.faults.held import memory_held, objects_held
from tests.training.small import MARKET, Silent, small_config

GENERATIONS = 200
WARM = 50  # generations after which everything has been loaded and the replay buffer is full
MEMBERS = 3  # two learners and an heir
# Ray keeps what is smaller than 100 KB elsewhere: states are larger than that
WIDE: dict[str, Any] = {"population_size": MEMBERS, "hidden_size": 48, "buffer_size": 400, "keep": 1, "wait_s": 240.0}
MORE_MB = 15.0  # what an allocator may keep; a leaked state a generation would be 40 MB and more


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[Trainer]:
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    config = small_config(**WIDE, num_generations=GENERATIONS)
    started = Trainer(config, MARKET, RunFolder(tmp_path), RayRuntime(), lambda: Share(cpus=0.5), Silent())
    started.start()
    yield started
    ray.shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_run_holds_no_more_than_a_short_one(trainer: Trainer) -> None:
    """However long it is, the object store holds the states that parts come back with, the market and the config."""
    while trainer.progress.generation < WARM:
        trainer.advance()
    early, (objects, size) = memory_held(trainer, MEMBERS), objects_held()
    while trainer.progress.generation < GENERATIONS:
        trainer.advance()
    late, (later_objects, later_size) = memory_held(trainer, MEMBERS), objects_held()
    print(f"MB after {WARM} generations {early}, after {GENERATIONS} {late}; objects {objects}, {later_objects}")  # noqa: T201
    assert {name: late[name] - early[name] for name in late if late[name] > early[name] + MORE_MB} == {}
    assert later_objects <= objects + 1
    assert later_size <= 1.05 * size
