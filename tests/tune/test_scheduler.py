"""Who stops trials: W&B's rule through Tune, and Tune's own with the sweep file's bounds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import tune as ray_tune
from ray.tune.schedulers import TrialScheduler

from eigen2.config import ResourcesConfig
from eigen2.errors import ConfigError
from eigen2.training.cluster import connect
from tune.hyperband import Goal, Hyperband
from tune.records import Record
from tune.running import TUNE_SETTINGS
from tune.scheduler import Name, WandbHyperband, default_name, scheduler_of
from tune.sweep_file import Metric, SweepFile
from tune.trial import GENERATIONS, HISTORY

RULE = Hyperband(min_iter=1, eta=2)
BEST, DRAWDOWN = Metric("fitness/best_ever", "maximize"), Metric("validation/max_drawdown", "minimize")
FILE = """
method: random
metric: {name: fitness/best_ever, goal: maximize}
early_terminate: {type: hyperband, min_iter: 2, eta: 2}
parameters: {gamma: {values: [0.9, 0.99]}}
"""


def trial(name: str) -> Any:
    return SimpleNamespace(config={"trial": name}, trial_id=name)


def report(scheduler: TrialScheduler, name: str, *history: float | list[float], generation: int | None = None) -> str:
    """What a scheduler makes of a trial's history, which has a value or a row of several a generation."""
    controller: Any = None
    rows = [row if isinstance(row, list) else [row] for row in history]
    return scheduler.on_trial_result(controller, trial(name), {GENERATIONS: generation or len(rows), HISTORY: rows})


def read(tmp_path: Path, text: str = FILE) -> SweepFile:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return SweepFile.read(path)


def past(name: str, *history: float, others: tuple[tuple[float, ...], ...] = ()) -> Record:
    return Record(name, 0, "finished", {}, history=history, generation=len(history), others=others)


def test_the_worst_of_three_is_stopped() -> None:
    scheduler = WandbHyperband(RULE, ["maximize"])
    assert [report(scheduler, name, value) for name, value in (("a", 3.0), ("b", 2.0), ("c", 1.0))] == [
        TrialScheduler.CONTINUE,
        TrialScheduler.CONTINUE,
        TrialScheduler.STOP,
    ]


def test_a_trial_past_its_rung_is_stopped_when_others_raise_the_bar() -> None:
    scheduler = WandbHyperband(RULE, ["maximize"])
    assert report(scheduler, "weak", 1.0) == TrialScheduler.CONTINUE
    assert report(scheduler, "strong", 3.0) == TrialScheduler.CONTINUE
    assert report(scheduler, "stronger", 4.0) == TrialScheduler.CONTINUE
    assert report(scheduler, "weak", 1.0, 1.0) == TrialScheduler.STOP


def test_values_of_trials_that_are_over_count_also_from_earlier_sessions() -> None:
    controller: Any = None
    scheduler = WandbHyperband(RULE, ["maximize"], [past("x", 5.0), past("y", 4.0)])
    assert report(scheduler, "weak", 1.0) == TrialScheduler.STOP
    scheduler.on_trial_complete(controller, trial("weak"), {})
    assert report(scheduler, "strong", 6.0) == TrialScheduler.CONTINUE


def test_the_file_decides_who_stops_trials(tmp_path: Path) -> None:
    assert default_name(read(tmp_path)) == "wandb"
    plain = read(tmp_path, FILE.replace("early_terminate: {type: hyperband, min_iter: 2, eta: 2}", ""))
    assert default_name(plain) == "none"
    with pytest.raises(ConfigError, match="early_terminate"):
        scheduler_of("wandb", plain, [BEST], 10, [])
    assert report(scheduler_of("none", plain, [BEST], 10, []), "a", 1.0) == TrialScheduler.CONTINUE


def test_asha_begins_at_min_iter_and_remembers_earlier_sessions(tmp_path: Path) -> None:
    scheduler = scheduler_of("asha", read(tmp_path), [BEST], 8, [past("x", 1.0, 5.0), past("y", 1.0, 4.0)])
    controller: Any = None
    scheduler.on_trial_add(controller, trial("weak"))
    assert report(scheduler, "weak", 1.0) == TrialScheduler.CONTINUE
    assert report(scheduler, "weak", 1.0, 1.0) == TrialScheduler.STOP


def test_asha_compares_a_trial_that_goes_on_only_at_rungs_it_has_not_reached(tmp_path: Path) -> None:
    scheduler = scheduler_of("asha", read(tmp_path), [BEST], 8, [past("x", 1.0, 5.0), past("y", 1.0, 4.0)])
    controller: Any = None
    scheduler.on_trial_add(controller, trial("x"))
    assert report(scheduler, "x", 1.0, 5.0, 0.0) == TrialScheduler.CONTINUE
    scheduler.on_trial_complete(controller, trial("x"), {HISTORY: [[1.0], [5.0], [0.0]]})


@pytest.mark.parametrize("name", ["wandb", "asha"])
def test_the_objective_decides_and_not_the_metric_of_the_file(tmp_path: Path, name: Name) -> None:
    scheduler = scheduler_of(name, read(tmp_path), [DRAWDOWN], 8, [past("x", 1.0, 1.27), past("y", 1.0, 1.28)])
    controller: Any = None
    for other in ("small", "large"):
        scheduler.on_trial_add(controller, trial(other))
    assert report(scheduler, "small", 1.0, 1.26) == TrialScheduler.CONTINUE
    assert report(scheduler, "large", 1.0, 1.29) == TrialScheduler.STOP


@pytest.mark.parametrize("name", ["wandb", "asha"])
def test_a_trial_is_compared_once_it_has_the_metric(tmp_path: Path, name: Name) -> None:
    scheduler = scheduler_of(name, read(tmp_path), [BEST], 8, [past("x", 1.0, 5.0), past("y", 1.0, 4.0)])
    controller: Any = None
    scheduler.on_trial_add(controller, trial("late"))
    assert report(scheduler, "late", generation=2) == TrialScheduler.CONTINUE
    assert report(scheduler, "late", 1.0, generation=3) == TrialScheduler.CONTINUE
    assert report(scheduler, "late", 1.0, 1.0, generation=4) == TrialScheduler.STOP


def test_with_several_objectives_a_trial_is_stopped_where_others_beat_it_in_all_of_them(tmp_path: Path) -> None:
    past_trials = [past("good", 5.0, 5.0, others=((9.0, 9.0),)), past("safe", 1.0, 1.0, others=((2.0, 2.0),))]
    scheduler = scheduler_of("wandb", read(tmp_path), [BEST, DRAWDOWN], 8, past_trials)
    assert report(scheduler, "between", [3.0, 5.0], [3.0, 5.0]) == TrialScheduler.CONTINUE, "on the Pareto front"
    assert report(scheduler, "worst", [1.0, 9.0], [0.9, 9.5]) == TrialScheduler.STOP
    assert report(scheduler, "safest", [0.0, 1.0], [0.0, 1.0]) == TrialScheduler.CONTINUE


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_schedulers_of_one_metric_refuse_several_objectives(tmp_path: Path, name: Name) -> None:
    with pytest.raises(ConfigError, match=f"--scheduler {name} compares trials by one metric.* 2 objectives"):
        scheduler_of(name, read(tmp_path), [BEST, DRAWDOWN], 8, [])


class Counter(ray_tune.Trainable):
    """Six generations, each as good as the trial's number."""

    def setup(self, config: dict[str, Any]) -> None:
        self._done = 0

    def step(self) -> dict[str, Any]:
        self._done += 1
        trial = self.config["trial"]
        values = [[float(trial)]] * max(self._done - self.config["without_value"][trial], 0)
        return {GENERATIONS: self._done, HISTORY: values, "done": self._done == 6}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"done": self._done}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._done = 0
        return True

    def load_checkpoint(self, checkpoint: Any) -> None:
        self._done = checkpoint["done"]


@pytest.mark.parametrize(
    ("goal", "without_value", "best", "rungs"),
    [("maximize", [0, 0, 0, 0], 3, {3, 6}), ("minimize", [1, 9, 0, 0], 0, {3, 4, 6})],
)
def test_ray_hyperband_stops_the_worse_with_room_for_two(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    goal: Goal,
    without_value: list[int],
    best: int,
    rungs: set[int],
) -> None:
    """The objective decides, whatever the file's metric is; a trial is compared once it has enough values."""
    for setting, value in TUNE_SETTINGS.items():
        monkeypatch.setenv(setting, value)
    text = FILE.replace("min_iter: 2", "min_iter: 3")
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    try:
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(Counter, {"CPU": 1}),
            param_space={"trial": ray_tune.grid_search(list(range(4))), "without_value": without_value},
            tune_config=ray_tune.TuneConfig(
                scheduler=scheduler_of("hyperband", read(tmp_path, text), [Metric("m", goal)], 6, []), reuse_actors=True
            ),
            run_config=ray_tune.RunConfig(name="t", storage_path=str(tmp_path), verbose=0),
        )
        results = tuner.fit()
    finally:
        ray.shutdown()
    done = {result.metrics["config"]["trial"]: result.metrics[GENERATIONS] for result in results if result.metrics}
    assert done[best] == 6
    assert sum(done.values()) < 4 * 6
    assert set(done.values()) <= rungs, "trials are compared after min_iter * eta^k values"
    assert all(done[trial] == 6 for trial, generations in enumerate(without_value) if generations > 6)
