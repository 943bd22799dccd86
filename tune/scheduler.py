"""Who stops trials early: W&B's hyperband, or Ray Tune's ASHA and HyperBand, with the sweep file's bounds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, HyperBandScheduler, TrialScheduler

from eigen2.errors import ConfigError
from tune.hyperband import Goal, Hyperband
from tune.records import Record
from tune.sweep_file import Metric, SweepFile
from tune.trial import HISTORY

Name = Literal["wandb", "asha", "hyperband", "none"]
NAMES: tuple[Name, ...] = ("wandb", "asha", "hyperband", "none")
NEWEST = "newest_value"  # what Ray's schedulers take for the metric
VALUES, ROUNDS = "values_so_far", "rounds_done"  # and for time
OF_ONE_METRIC: tuple[Name, ...] = ("asha", "hyperband")
MODES: dict[Goal, Literal["min", "max"]] = {"minimize": "min", "maximize": "max"}


def default_name(sweep: SweepFile) -> Name:
    """The scheduler that a sweep file asks for."""
    return "wandb" if sweep.early_terminate else "none"


def scheduler_of(
    name: Name, sweep: SweepFile, objectives: Sequence[Metric], generations: int, past: Iterable[Record]
) -> TrialScheduler:
    """A scheduler for trials of `generations` generations, which knows of the trials of earlier sessions.

    Raises ConfigError where the sweep file lacks what the scheduler needs, or it can't compare several objectives.
    """
    rule = sweep.early_terminate
    if name in OF_ONE_METRIC and len(objectives) > 1:
        raise ConfigError(
            f"--scheduler {name} compares trials by one metric, and there are {len(objectives)} objectives: take "
            f"--scheduler wandb, which never stops a trial that no other one beats in every objective, or none"
        )
    metric = objectives[0]
    match name:
        case "none":
            return FIFOScheduler()
        case "wandb":
            if rule is None:
                raise ConfigError(
                    "--scheduler wandb needs `early_terminate: {type: hyperband, min_iter: ...}` in the sweep file"
                )
            return WandbHyperband(rule, [objective.goal for objective in objectives], past)
        case "asha":
            return _asha(sweep, metric, generations, past)
        case "hyperband":
            return RoundedHyperBand(_min_iter(sweep, generations), generations, metric.goal, _eta(sweep))


class WandbHyperband(FIFOScheduler):
    """W&B's rule: every trial that ever reached a rung counts there, and running ones are judged at each result.

    A trial that another one's result condemns is stopped when its own next result comes, as W&B's are when their agent
    next asks.
    """

    def __init__(self, rule: Hyperband, goals: Sequence[Goal], past: Iterable[Record] = ()) -> None:
        """goals: of the objectives, in the order of a result's history."""
        super().__init__()
        self._rule, self._goals = rule, goals
        self._histories = {record.trial: record.rows for record in past if len(record.others) == len(goals) - 1}
        self._running: set[str] = set()
        self._condemned: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Judge everyone; STOP if this trial is among the losers."""
        name = trial.config["trial"]
        self._running.add(name)
        self._histories[name] = [tuple(row) for row in result[HISTORY]]
        self._condemned |= set(self._rule.stops_of_several(self._histories, self._running, self._goals))
        return TrialScheduler.STOP if name in self._condemned else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """The trial runs no more; its values stay."""
        self._running.discard(trial.config["trial"])

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """The trial does not run now; its values stay."""
        self._running.discard(trial.config["trial"])


@dataclass(frozen=True)
class _Named:
    """A trial as far as ASHA looks at one, by the name that it keeps from session to session."""

    trial_id: str


class HistoryASHA(ASHAScheduler):
    """Ray's ASHA, with time in values of the metric so far: its first generations may have none.

    A trial that goes on in another session is compared once at a rung all the same.
    """

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """As ASHA does."""
        super().on_trial_add(tune_controller, _named(trial))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """As ASHA does, once there is a value."""
        action: str = super().on_trial_result(tune_controller, _named(trial), _counted(result))
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """As ASHA does."""
        super().on_trial_complete(tune_controller, _named(trial), _counted(result))

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """As ASHA does."""
        super().on_trial_remove(tune_controller, _named(trial))

    def remember(self, record: Record) -> None:
        """Take up a trial of an earlier session."""
        trial: Any = _Named(record.trial)
        super().on_trial_add(None, trial)  # type: ignore[arg-type]
        for done in range(1, len(record.history) + 1):
            super().on_trial_result(None, trial, _counted({HISTORY: record.rows[:done]}))  # type: ignore[arg-type]


def _named(trial: Trial) -> Any:
    return _Named(trial.config["trial"])


def _counted(result: dict[str, Any]) -> dict[str, Any]:
    """The newest value of the metric and how many there are, as Ray's schedulers take them; nothing without a value."""
    history = result.get(HISTORY, [])
    return {VALUES: len(history), NEWEST: history[-1][0]} if history else {}


def _asha(sweep: SweepFile, metric: Metric, generations: int, past: Iterable[Record]) -> TrialScheduler:
    scheduler = HistoryASHA(
        time_attr=VALUES,
        metric=NEWEST,
        mode=MODES[metric.goal],
        max_t=generations,
        grace_period=_min_iter(sweep, generations),
        reduction_factor=_eta(sweep),
        stop_last_trials=False,
    )
    for record in past:
        scheduler.remember(record)
    return scheduler


class RoundedHyperBand(HyperBandScheduler):
    """Ray's HyperBand, with time in rounds of `min_iter` values of the metric: it has no setting for a first rung."""

    def __init__(self, min_iter: int, generations: int, goal: Goal, eta: float) -> None:
        rounds = max(generations // min_iter, 1)
        super().__init__(ROUNDS, NEWEST, MODES[goal], max_t=rounds, reduction_factor=eta, stop_last_trials=False)
        self._min_iter = min_iter

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """As HyperBand does, in rounds."""
        counted = _counted(result)
        rounds = {ROUNDS: counted.get(VALUES, 0) / self._min_iter}
        action: str = super().on_trial_result(tune_controller, trial, {**counted, **rounds})
        return action


def _min_iter(sweep: SweepFile, generations: int) -> int:
    rule = sweep.early_terminate
    rungs = rule.rungs() if rule else (1,)
    return min(rungs[0], generations)


def _eta(sweep: SweepFile) -> float:
    return sweep.early_terminate.eta if sweep.early_terminate else 3.0
