"""The same run on a real Ray: the same numbers, and failures that are named instead of waited for."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from eigen2.config import ResourcesConfig
from eigen2.errors import ConfigError, RunError
from eigen2.training.cluster import connect, nodes, share_of_member
from eigen2.training.runtime import Failure, Part, RayPart, RayRuntime, Share, gather
from tests.training.small import assert_same_run, run, small_config

SIZE = {"population_size": 3, "num_generations": 2, "wait_s": 240.0}


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
    assert_same_run(run(tmp_path / "ray", runtime=RayRuntime(), share=fair_share(), **SIZE), local)


@pytest.mark.parametrize("together", [2, 3])
def test_members_that_live_together_are_the_members_apart(tmp_path: Path, together: int) -> None:
    local = run(tmp_path / "local", **SIZE)
    assert_same_run(run(tmp_path / "ray", runtime=RayRuntime(), share=Share(0.3, together=together), **SIZE), local)


class Sleeper:
    """A part that is slow, or fails."""

    def sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def fail(self, ours: bool) -> None:
        raise ConfigError("a sentence for the user") if ours else KeyError("lost")


@pytest.fixture(scope="module")
def sleepers() -> list[Part]:
    runtime = RayRuntime()
    parts = [runtime.make(f"sleeper {number}", Sleeper, Share()) for number in range(2)]
    gather(runtime, [(part, part.call("sleep", 0)) for part in parts], "start", 60)
    return parts


def test_results_come_in_the_order_of_the_calls(sleepers: list[Part]) -> None:
    heard: list[int] = []
    calls = [(part, part.call("sleep", seconds)) for part, seconds in zip(sleepers, (0.6, 0.0), strict=True)]
    assert RayRuntime().collect(calls, 60, heard.append) == [0.6, 0.0]
    assert heard == sorted(heard)
    assert heard[-1] == 2


def test_a_failure_is_told_by_the_parts_name_or_in_its_own_words(sleepers: list[Part]) -> None:
    part = sleepers[1]
    with pytest.raises(RunError, match=r"^sleeper 1 failed to work: KeyError: 'lost'$"):
        gather(RayRuntime(), [(part, part.call("fail", False))], "work", 60)
    with pytest.raises(ConfigError, match=r"^a sentence for the user$"):
        gather(RayRuntime(), [(part, part.call("fail", True))], "work", 60)


def test_what_takes_too_long_has_failed(sleepers: list[Part]) -> None:
    quick, slow = sleepers
    calls = [(quick, quick.call("sleep", 0)), (slow, slow.call("sleep", 600))]
    gather(RayRuntime(), calls[:1], "work", 60)
    assert RayRuntime().collect(calls, 0.5) == [0, Failure("sleeper 1", "it gave no answer within 0 s", late=True)]


def test_who_waits_for_the_dead_is_not_to_blame() -> None:
    runtime = RayRuntime()
    dead, living = (runtime.make(name, Sleeper, Share()) for name in ("the dead", "the living"))
    gather(runtime, [(part, part.call("sleep", 0)) for part in (dead, living)], "start", 60)
    given = dead.call("sleep", 20)
    runtime.end(dead)
    (failure,) = runtime.collect([(living, living.call("sleep", given))], 60)
    assert isinstance(failure, Failure)
    assert failure.culprit == "the dead"


def test_parts_that_live_together_end_together() -> None:
    runtime = RayRuntime()
    parts = [runtime.make(f"sleeper {number}", Sleeper, Share(together=2)) for number in range(3)]
    gather(runtime, [(part, part.call("sleep", 0)) for part in parts], "start", 60)
    assert len({part.handle for part in parts if isinstance(part, RayPart)}) == 2
    late = [(part, part.call("sleep", 600)) for part in parts[:2]]
    assert runtime.end(parts[1]) == ["sleeper 0", "sleeper 1"]
    told = runtime.collect(late, 60)
    assert [failure.culprit for failure in told] == ["sleeper 0", "sleeper 1"]
    other = runtime.make("another", Sleeper, Share(together=2))
    assert runtime.collect([(other, other.call("sleep", 0))], 60) == [0], "it moves in with the third"
    assert runtime.end(other) == ["sleeper 2", "another"]


def test_who_moves_in_after_an_end_does_not_move_in_with_the_dead() -> None:
    runtime = RayRuntime()
    dead = runtime.make("one", Sleeper, Share(together=2))
    runtime.end(dead)
    living = runtime.make("two", Sleeper, Share(together=2))
    assert runtime.collect([(living, living.call("sleep", 0))], 60) == [0]
