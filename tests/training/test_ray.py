"""The same run on a real Ray: the same numbers, and failures that are named instead of waited for."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from eigen2.config import ResourcesConfig
from eigen2.errors import ConfigError, ResourceError, RunError
from eigen2.training.cluster import connect, nodes, share_of_member
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import Part, RayRuntime, Share
from eigen2.training.trainer import Trainer
from tests.training.small import MARKET, Silent, assert_same_run, run, small_config

SIZE = {"population_size": 3, "num_generations": 2, "wait_s": 60.0}


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """A local Ray with two CPUs, started as the product starts it."""
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    yield
    ray.shutdown()


def fair_share() -> Share:
    config = small_config(**SIZE)
    return share_of_member(config.evolution.population_size, config.resources, nodes())


def test_the_cluster_is_shared_equally() -> None:
    assert [node.cpus for node in nodes()] == [2.0]
    assert fair_share() == Share(0.6666, 0.0)


def test_a_run_on_ray_is_the_run_in_one_process(tmp_path: Path) -> None:
    local = run(tmp_path / "local", **SIZE)
    assert_same_run(run(tmp_path / "ray", runtime=RayRuntime(60), share=fair_share(), **SIZE), local)


class Killing(Silent):
    """A listener that ends a member's process when all have finished a phase of generation 1."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self._at = phase
        self.victim = 0

    def phase(self, generation: int, name: str, done: int, total: int) -> None:
        if (generation, name, done) == (1, self._at, total) and self.victim:
            os.kill(self.victim, signal.SIGKILL)
            self.victim = 0


def process_of(part: Part) -> int:
    """The process id of an actor."""
    handle: Any = part._handle  # type: ignore[attr-defined]
    return int(ray.get(handle.__ray_call__.remote(lambda _: os.getpid()), timeout=60))


def test_a_member_that_is_killed_ends_the_run_by_its_name(tmp_path: Path) -> None:
    """It dies before it gives its genome, so that others fail for want of it; they are not to blame."""
    listener = Killing("train")
    trainer = Trainer(small_config(**SIZE), MARKET, RunFolder(tmp_path), RayRuntime(60), fair_share(), listener)
    trainer.start()
    listener.victim = process_of(trainer._members[1])
    started = time.monotonic()
    with pytest.raises(RunError, match=r"^member 1 died while it was to "):
        trainer.run()
    assert listener.victim == 0
    assert time.monotonic() - started < 50


class Sleeper:
    """A part that is slow, or fails."""

    def sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def fail(self, ours: bool) -> None:
        raise ConfigError("a sentence for the user") if ours else KeyError("lost")


@pytest.fixture(scope="module")
def sleepers() -> list[Part]:
    runtime = RayRuntime(60)
    parts = [runtime.make(f"sleeper {number}", Sleeper, Share()) for number in range(2)]
    runtime.gather([(part, part.call("sleep", 0)) for part in parts], "start")
    return parts


def test_results_come_in_the_order_of_the_calls(sleepers: list[Part]) -> None:
    heard: list[int] = []
    calls = [(part, part.call("sleep", seconds)) for part, seconds in zip(sleepers, (0.6, 0.0), strict=True)]
    assert RayRuntime(60).gather(calls, "sleep", heard.append) == [0.6, 0.0]
    assert heard == sorted(heard)
    assert heard[-1] == 2


def test_a_failure_is_told_by_the_parts_name_or_in_its_own_words(sleepers: list[Part]) -> None:
    runtime, part = RayRuntime(60), sleepers[1]
    with pytest.raises(RunError, match=r"^sleeper 1 failed to work: KeyError: 'lost'$"):
        runtime.gather([(part, part.call("fail", False))], "work")
    with pytest.raises(ConfigError, match=r"^a sentence for the user$"):
        runtime.gather([(part, part.call("fail", True))], "work")


def test_what_takes_too_long_is_named_with_what_to_change(sleepers: list[Part]) -> None:
    runtime, (quick, slow), started = RayRuntime(0.3), sleepers, time.monotonic()
    expected = r"^sleeper 1 did not wake within 0\.3 s; raise resources\.wait_s or free the machine$"
    with pytest.raises(ResourceError, match=expected):
        runtime.gather([(quick, quick.call("sleep", 0)), (slow, slow.call("sleep", 20))], "wake")
    assert time.monotonic() - started < 10
