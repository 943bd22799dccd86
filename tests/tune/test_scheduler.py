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
from tune.hyperband import Hyperband
from tune.records import Record
from tune.scheduler import WandbHyperband, default_name, scheduler_of
from tune.sweep_file import SweepFile
from tune.trial import GENERATIONS, HISTORY

RULE = Hyperband(min_iter=1, eta=2)
FILE = """
method: random
metric: {name: fitness/best_ever, goal: maximize}
early_terminate: {type: hyperband, min_iter: 2, eta: 2}
parameters: {gamma: {values: [0.9, 0.99]}}
"""


def trial(name: str) -> Any:
    return SimpleNamespace(config={"trial": name}, trial_id=name)


def report(scheduler: TrialScheduler, name: str, *history: float) -> str:
    controller: Any = None
    result = {GENERATIONS: len(history), HISTORY: list(history), "fitness/best_ever": history[-1]}
    return scheduler.on_trial_result(controller, trial(name), result)


def read(tmp_path: Path, text: str = FILE) -> SweepFile:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return SweepFile.read(path)


def past(name: str, *history: float) -> Record:
    return Record(name, 0, "finished", {}, history=history, generation=len(history))


def test_the_worst_of_three_is_stopped() -> None:
    scheduler = WandbHyperband(RULE, "fitness/best_ever", "maximize")
    assert [report(scheduler, name, value) for name, value in (("a", 3.0), ("b", 2.0), ("c", 1.0))] == [
        TrialScheduler.CONTINUE,
        TrialScheduler.CONTINUE,
        TrialScheduler.STOP,
    ]


def test_a_trial_past_its_rung_is_stopped_when_others_raise_the_bar() -> None:
    scheduler = WandbHyperband(RULE, "fitness/best_ever", "maximize")
    assert report(scheduler, "weak", 1.0) == TrialScheduler.CONTINUE
    assert report(scheduler, "strong", 3.0) == TrialScheduler.CONTINUE
    assert report(scheduler, "stronger", 4.0) == TrialScheduler.CONTINUE
    assert report(scheduler, "weak", 1.0, 1.0) == TrialScheduler.STOP


def test_values_of_trials_that_are_over_count_also_from_earlier_sessions() -> None:
    controller: Any = None
    scheduler = WandbHyperband(RULE, "m", "maximize", [past("x", 5.0), past("y", 4.0)])
    assert report(scheduler, "weak", 1.0) == TrialScheduler.STOP
    scheduler.on_trial_complete(controller, trial("weak"), {})
    assert report(scheduler, "strong", 6.0) == TrialScheduler.CONTINUE


def test_the_file_decides_who_stops_trials(tmp_path: Path) -> None:
    assert default_name(read(tmp_path)) == "wandb"
    plain = read(tmp_path, FILE.replace("early_terminate: {type: hyperband, min_iter: 2, eta: 2}", ""))
    assert default_name(plain) == "none"
    with pytest.raises(ConfigError, match="early_terminate"):
        scheduler_of("wandb", plain, 10, [])
    assert report(scheduler_of("none", plain, 10, []), "a", 1.0) == TrialScheduler.CONTINUE


def test_asha_begins_at_min_iter_and_remembers_earlier_sessions(tmp_path: Path) -> None:
    scheduler = scheduler_of("asha", read(tmp_path), 8, [past("x", 1.0, 5.0), past("y", 1.0, 4.0)])
    controller: Any = None
    scheduler.on_trial_add(controller, trial("weak"))
    assert report(scheduler, "weak", 1.0) == TrialScheduler.CONTINUE
    assert report(scheduler, "weak", 1.0, 1.0) == TrialScheduler.STOP


class Counter(ray_tune.Trainable):
    """Six generations, each as good as the trial's number."""

    def setup(self, config: dict[str, Any]) -> None:
        self._done = 0

    def step(self) -> dict[str, Any]:
        self._done += 1
        return {GENERATIONS: self._done, "fitness/best_ever": float(self.config["trial"]), "done": self._done == 6}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"done": self._done}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._done = 0
        return True

    def load_checkpoint(self, checkpoint: Any) -> None:
        self._done = checkpoint["done"]


def test_ray_hyperband_stops_the_worse_with_room_for_two(tmp_path: Path) -> None:
    text = FILE.replace("min_iter: 2", "min_iter: 3")
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    try:
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(Counter, {"CPU": 1}),
            param_space={"trial": ray_tune.grid_search(list(range(4)))},
            tune_config=ray_tune.TuneConfig(
                scheduler=scheduler_of("hyperband", read(tmp_path, text), 6, []), reuse_actors=True
            ),
            run_config=ray_tune.RunConfig(name="t", storage_path=str(tmp_path), verbose=0),
        )
        results = tuner.fit()
    finally:
        ray.shutdown()
    done = {result.metrics["config"]["trial"]: result.metrics[GENERATIONS] for result in results if result.metrics}
    assert max(done.values()) == 6
    assert sum(done.values()) < 4 * 6
    assert set(done.values()) <= {3, 6}, "trials are compared after min_iter * eta^k generations"
