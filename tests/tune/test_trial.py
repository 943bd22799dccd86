"""A trial is the run that `eigen2 train` makes of the same config; its processes are kept, and failures survived."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from rich.console import Console

from eigen2.config import ResourcesConfig, load_config
from eigen2.errors import RunError
from eigen2.training.cluster import connect, nodes
from eigen2.training.member import Member
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Part, Reference, Share, gather
from eigen2.training.session import Session, train
from tests.training.small import assert_same_run, rows_of
from tests.tune.small_sweep import lay_down, make_plan, run_sweep
from tune.population import market_of, open_or_create, with_smaller_pieces
from tune.records import Records, read_records
from tune.resources import room_for
from tune.running import RETRIES, retry_failed, run
from tune.trial import PopulationTrial
from tune.warm import WarmRuntime


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    yield
    ray.shutdown()


def by_hand(path: Path, *overrides: str) -> RunFolder:
    """The same run in this process, without Tune."""
    config = load_config(Path("base.yaml"), overrides)
    folder = RunFolder(path)
    path.mkdir()
    session = Session(config, folder, 0, {}, Console(file=io.StringIO()))
    train(config, market_of(config)[0], folder, LocalRuntime(), Share, session)
    return folder


def test_trials_have_the_numbers_of_runs_by_hand(small_folder: Path) -> None:
    folder, trials, _ = run_sweep(make_plan(), concurrent=2)
    assert [(trial.trial, trial.state, trial.generation) for trial in trials] == [
        ("trial_0000", "finished", 3),
        ("trial_0001", "finished", 3),
    ]
    for trial, lr in zip(trials, (0.001, 0.004), strict=True):
        alone = by_hand(small_folder / trial.trial, f"actor_lr={lr}", "gamma=0.9")
        assert_same_run(RunFolder(folder.runs / trial.trial), alone)
        assert trial.history == tuple(row["fitness/best_ever"] for row in rows_of(alone))
        assert trial.best == trial.history[-1]
        assert trial.metrics["final/win_rate"] >= 0
        assert "combined_score" in trial.metrics


class Troubled(PopulationTrial):
    """The first trial always fails, the second one once, in its second generation."""

    def step(self) -> dict[str, Any]:
        if self._task["number"] == 0:
            raise RunError("member 1 put out NaN or infinity")
        mark = Path(self._task["runs"]) / "failed once"
        if self._population and self._population.generations == 1 and not mark.exists():
            mark.touch()
            raise RunError("member 0 put out NaN or infinity")
        return super().step()


def test_a_failed_trial_is_tried_again_then_marked_and_the_sweep_goes_on(
    small_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, trials, shown = run_sweep(make_plan(), kind=Troubled)
    assert [(trial.state, trial.reason) for trial in trials] == [
        ("failed", "member 1 put out NaN or infinity"),
        ("finished", None),
    ]
    assert shown.count("trial_0000 failed and goes on") == RETRIES
    assert "trial_0001 failed and goes on from its last checkpoint: member 0 put out NaN" in shown
    assert "tune.py" not in capfd.readouterr().err, "no line of Ray's own"
    assert "Trials did not complete" in folder.log.read_text()
    alone = by_hand(small_folder / "alone", "actor_lr=0.004", "gamma=0.9")
    assert_same_run(RunFolder(folder.runs / "trial_0001"), alone)

    assert [trial.trial for trial in retry_failed(Records(folder.trials))] == ["trial_0000"]
    run(make_plan(), folder, room_for(2, make_plan().base.resources, nodes(), 1), Console(file=io.StringIO()))
    assert [trial.state for trial in read_records(folder.trials)] == ["finished", "finished"]
    assert read_records(folder.trials)[1] == trials[1]
    retried = by_hand(small_folder / "retried", "actor_lr=0.001", "gamma=0.9")
    assert_same_run(RunFolder(folder.runs / "trial_0000"), retried)
    assert load_config(RunFolder(folder.runs / "trial_0000").config).run.sweep_trials == 2


class Starved(Member):
    """A member on a GPU too small for a whole batch at once."""

    def train(self, generation: int, sample: Any) -> dict[str, float]:
        if self._config.ddpg.micro_batches < 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().train(generation, sample)


class StarvedRuntime(WarmRuntime):
    def make(self, name: str, kind: type, share: Share, *args: Reference) -> Part:
        return super().make(name, Starved if kind is Member else kind, share, *args)


class StarvedTrial(PopulationTrial):
    def setup(self, task: dict[str, Any]) -> None:
        super().setup(task)
        self._runtime = StarvedRuntime()


def test_out_of_gpu_memory_is_tried_again_in_smaller_pieces(small_folder: Path) -> None:
    lay_down(small_folder, {"parameters": {"actor_lr": {"value": 0.001}}}, population_size=1, num_generations=2)
    folder, trials, shown = run_sweep(make_plan(), kind=StarvedTrial)
    assert [trial.state for trial in trials] == ["finished"]
    assert "ddpg.micro_batches 2" in shown
    for field in ("evolution.population_size 1", "ddpg.batch_size 16", "replay.buffer_size 500"):
        assert field in shown
    assert load_config(RunFolder(folder.runs / "trial_0000").config).ddpg.micro_batches == 2


def test_pieces_end_at_single_transitions(small_folder: Path) -> None:
    config = load_config(Path("base.yaml"), ["batch_size=2", "gradient_accumulation_steps=1", "run.name=a"])
    folder, config = open_or_create(config, "id")
    smaller = with_smaller_pieces(config, folder)
    assert smaller is not None
    assert smaller.ddpg.micro_batches == 2
    assert open_or_create(config, "id")[1] == smaller
    assert with_smaller_pieces(smaller, folder) is None


class Process:
    """A part that says where it is."""

    def __init__(self, broken: bool = False) -> None:
        if broken:
            raise KeyError("no such thing")

    def pid(self) -> int:
        return os.getpid()


def pids(runtime: WarmRuntime, parts: list[Part]) -> list[int]:
    return [int(pid) for pid in gather(runtime, [(part, part.call("pid")) for part in parts], "tell", 60)]


def test_processes_are_kept_from_run_to_run() -> None:
    runtime, share = WarmRuntime(), Share(0.25)
    first = pids(runtime, [runtime.make(f"part {n}", Process, share) for n in range(2)])
    runtime.rest()
    second = pids(runtime, [runtime.make(f"part {n}", Process, share) for n in range(3)])
    assert set(first) < set(second)
    assert len(set(second)) == 3


def test_a_part_that_can_not_be_made_says_so_and_its_process_lives() -> None:
    runtime = WarmRuntime()
    part = runtime.make("the part", Process, Share(), True)
    with pytest.raises(RunError, match="the part failed to tell: KeyError: 'no such thing'"):
        gather(runtime, [(part, part.call("pid"))], "tell", 60)


def test_who_was_ended_is_not_used_again() -> None:
    runtime = WarmRuntime()
    dead = runtime.make("one", Process, Share())
    before = pids(runtime, [dead])
    runtime.end(dead)
    runtime.rest()
    assert pids(runtime, [runtime.make("two", Process, Share())]) != before
