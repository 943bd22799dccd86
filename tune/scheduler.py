"""Who stops trials early: W&B's hyperband, or Ray Tune's ASHA and HyperBand, with the sweep file's bounds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, HyperBandScheduler, TrialScheduler

from eigen2.errors import ConfigError
from tune.hyperband import Goal, Hyperband
from tune.records import Record
from tune.sweep_file import SweepFile
from tune.trial import GENERATIONS, HISTORY

Name = Literal["wandb", "asha", "hyperband", "none"]
NAMES: tuple[Name, ...] = ("wandb", "asha", "hyperband", "none")
ROUNDS = "rounds_done"
MODES: dict[Goal, Literal["min", "max"]] = {"minimize": "min", "maximize": "max"}


def default_name(sweep: SweepFile) -> Name:
    """The scheduler that a sweep file asks for."""
    return "wandb" if sweep.early_terminate else "none"


def scheduler_of(name: Name, sweep: SweepFile, generations: int, past: Iterable[Record]) -> TrialScheduler:
    """A scheduler for trials of `generations` generations, which knows of the trials of earlier sessions.

    Raises ConfigError where the sweep file lacks what the scheduler needs.
    """
    rule = sweep.early_terminate
    match name:
        case "none":
            return FIFOScheduler()
        case "wandb":
            if rule is None:
                raise ConfigError(
                    "--scheduler wandb needs `early_terminate: {type: hyperband, min_iter: ...}` in the sweep file"
                )
            return WandbHyperband(rule, sweep.metric.name, sweep.metric.goal, past)
        case "asha":
            return _asha(sweep, generations, past)
        case "hyperband":
            metric = sweep.metric
            return RoundedHyperBand(_min_iter(sweep, generations), generations, metric.name, metric.goal, _eta(sweep))


class WandbHyperband(FIFOScheduler):
    """W&B's rule: every trial that ever reached a rung counts there, and running ones are judged at each result.

    A trial that another one's result condemns is stopped when its own next result comes, as W&B's are when their agent
    next asks.
    """

    def __init__(self, rule: Hyperband, metric: str, goal: Goal, past: Iterable[Record] = ()) -> None:
        super().__init__()
        self._rule, self._metric, self._goal = rule, metric, goal
        self._histories: dict[str, list[float]] = {record.trial: list(record.history) for record in past}
        self._running: set[str] = set()
        self._condemned: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Judge everyone; STOP if this trial is among the losers."""
        name = trial.config["trial"]
        self._running.add(name)
        self._histories[name] = list(result[HISTORY])
        self._condemned |= set(self._rule.stops(self._histories, self._running, self._goal))
        return TrialScheduler.STOP if name in self._condemned else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """The trial runs no more; its values stay."""
        self._running.discard(trial.config["trial"])

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """The trial does not run now; its values stay."""
        self._running.discard(trial.config["trial"])


@dataclass(frozen=True)
class _Past:
    """A trial of an earlier session, as far as ASHA looks at one."""

    trial_id: str


def _asha(sweep: SweepFile, generations: int, past: Iterable[Record]) -> TrialScheduler:
    metric, grace, eta = sweep.metric, _min_iter(sweep, generations), _eta(sweep)
    scheduler = ASHAScheduler(
        time_attr=GENERATIONS,
        metric=metric.name,
        mode=MODES[metric.goal],
        max_t=generations,
        grace_period=grace,
        reduction_factor=eta,
        stop_last_trials=False,
    )
    for record in past:
        trial: Any = _Past(record.trial)
        controller: Any = None
        scheduler.on_trial_add(controller, trial)
        for done, value in enumerate(record.history, start=1):
            scheduler.on_trial_result(controller, trial, {GENERATIONS: done, metric.name: value})
    return scheduler


class RoundedHyperBand(HyperBandScheduler):
    """Ray's HyperBand, with time in rounds of `min_iter` generations: it has no setting for a first rung."""

    def __init__(self, min_iter: int, generations: int, metric: str, goal: Goal, eta: float) -> None:
        rounds = max(generations // min_iter, 1)
        super().__init__(ROUNDS, metric, MODES[goal], max_t=rounds, reduction_factor=eta, stop_last_trials=False)
        self._min_iter = min_iter

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """As HyperBand does, in rounds."""
        action: str = super().on_trial_result(
            tune_controller, trial, {**result, ROUNDS: result[GENERATIONS] / self._min_iter}
        )
        return action


def _min_iter(sweep: SweepFile, generations: int) -> int:
    rule = sweep.early_terminate
    rungs = rule.rungs() if rule else (1,)
    return min(rungs[0], generations)


def _eta(sweep: SweepFile) -> float:
    return sweep.early_terminate.eta if sweep.early_terminate else 3.0
