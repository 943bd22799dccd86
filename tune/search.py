"""Which values the next trial tries: every combination in order, random draws, or Optuna's TPE."""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

from eigen2.errors import ConfigError, RunError
from eigen2.randomness import DRIVER, stream
from tune.hyperband import Goal
from tune.space import MOST_REDRAWS, Space, Values
from tune.sweep_file import Metric, SweepFile

NUMBER = "number"  # beside the values in the config that Tune hands to a trial
STATES = {"running": TrialState.RUNNING, "done": TrialState.COMPLETE, "failed": TrialState.FAIL}
PURPOSE = "values of a trial"


@dataclass(frozen=True)
class Told:
    """A trial that a search knows of: its number from 0, what it tried and what came of it."""

    number: int
    values: Values
    state: Literal["running", "done", "failed"] = "running"
    outcome: tuple[float, ...] = ()  # of each objective, when done


class Proposals:
    """A search that can be asked for values and told what came of them.

    What it proposes follows from the seed, the trial's number, and what it was told: nothing else. So a new one that
    is told of the same trials goes on as the old one would have.
    """

    def __init__(
        self, propose: Callable[[int, Sequence[Told]], Values | None], cap: int | None, told: Iterable[Told]
    ) -> None:
        self._propose = propose
        self._cap = math.inf if cap is None else cap
        self._told = {trial.number: trial for trial in told}
        self._left_running = [trial.number for trial in self.told if trial.state == "running"]

    @property
    def told(self) -> tuple[Told, ...]:
        """Every trial so far, by number."""
        return tuple(self._told[number] for number in sorted(self._told))

    def ask(self) -> Told | None:
        """The next trial to run: number and values; None when there are no more.

        Trials that an earlier session left running come first, with the numbers and values they had.
        """
        if self._left_running:
            return self._told[self._left_running.pop(0)]
        number = max(self._told, default=-1) + 1
        values = self._propose(number, self.told) if number < self._cap else None
        if values is None:
            return None
        self._told[number] = Told(number, values)
        return self._told[number]

    def tell(self, number: int, outcome: Sequence[float] | None) -> None:
        """What came of a trial: the value of each objective, or None where it failed; not a number means failed."""
        trial = self._told[number]
        if outcome is None or not all(math.isfinite(value) for value in outcome):
            self._told[number] = replace(trial, state="failed")
        else:
            self._told[number] = replace(trial, state="done", outcome=tuple(map(float, outcome)))

    def take_up(self, told: Iterable[Told]) -> None:
        """Go on from these trials instead; those that run are being looked after."""
        self._told = {trial.number: trial for trial in told}
        self._left_running = []


def proposals_of(
    sweep: SweepFile,
    seed: int,
    *,
    num_trials: int | None = None,
    objectives: Sequence[Metric] = (),
    told: Iterable[Told] = (),
) -> Proposals:
    """The search that a sweep file asks for: at most `num_trials` values (none: `run_cap`; a grid ends by itself).

    objectives: what is optimised, where it is not the file's metric alone; several make a Pareto search (bayes).
    told: trials of an earlier session, which the search remembers and counts.
    """
    cap = sweep.run_cap if num_trials is None else num_trials
    goals = [metric.goal for metric in objectives or (sweep.metric,)]
    propose = {"grid": _in_order, "random": _at_random, "bayes": _by_tpe}[sweep.method]
    return Proposals(propose(sweep.space, seed, goals), cap, told)


def searcher_of(
    sweep: SweepFile,
    seed: int,
    *,
    num_trials: int | None = None,
    objectives: Sequence[Metric] = (),
    told: Iterable[Told] = (),
) -> "SweepSearcher":
    """`proposals_of` as Ray Tune's searcher.

    The config that Tune hands to the trainable is flat: {"ddpg.actor_lr": ..., ...} with the constants, and "number",
    the trial's number from 0, the same after a restore; so a trial finds its own folder again. It says FINISHED
    after the last trial (give Tune num_samples=-1), takes outcomes from the last result of each trial by the
    objectives' names, and saves and restores itself as JSON.
    """
    proposals = proposals_of(sweep, seed, num_trials=num_trials, objectives=objectives, told=told)
    return SweepSearcher(proposals, tuple(objectives) or (sweep.metric,))


class SweepSearcher(Searcher):
    """Hands the proposals of a search to Ray Tune, and the trials' outcomes back."""

    def __init__(self, proposals: Proposals, objectives: tuple[Metric, ...]) -> None:
        names, modes = [metric.name for metric in objectives], [metric.goal[:3] for metric in objectives]
        single = len(objectives) == 1
        metric: Any = names[0] if single else names  # Ray's own types know one objective only
        mode: Any = modes[0] if single else modes
        super().__init__(metric=metric, mode=mode)
        self._proposals = proposals
        self._names = names
        self._numbers: dict[str, int] = {}  # Tune's trial id -> the trial's number

    @property
    def told(self) -> tuple[Told, ...]:
        """Every trial so far, by number."""
        return self._proposals.told

    def suggest(self, trial_id: str) -> Any:
        trial = self._proposals.ask()
        if trial is None:
            return Searcher.FINISHED
        self._numbers[trial_id] = trial.number
        return {**trial.values, NUMBER: trial.number}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        known = result is not None and not error and all(name in result for name in self._names)
        outcome = [float(result[name]) for name in self._names] if known and result is not None else None
        self._proposals.tell(self._numbers[trial_id], outcome)

    def save(self, checkpoint_path: str) -> None:
        state = {"numbers": self._numbers, "told": [asdict(trial) for trial in self.told]}
        Path(checkpoint_path).write_text(json.dumps(state), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Take up a saved state; its running trials are Tune's to restore, so they are not proposed again."""
        try:
            state = json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))
            told = [Told(**{**trial, "outcome": tuple(trial["outcome"])}) for trial in state["told"]]
            numbers = {str(trial_id): int(number) for trial_id, number in state["numbers"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise RunError(f"{checkpoint_path}: the state of the search can't be read: {error}") from error
        self._numbers = numbers
        self._proposals.take_up(told)


def _in_order(space: Space, seed: int, goals: Sequence[Goal]) -> Callable[[int, Sequence[Told]], Values | None]:
    def propose(number: int, told: Sequence[Told]) -> Values | None:
        return next(itertools.islice(space.grid(), number, None), None)

    return propose


def _at_random(space: Space, seed: int, goals: Sequence[Goal]) -> Callable[[int, Sequence[Told]], Values | None]:
    def propose(number: int, told: Sequence[Told]) -> Values | None:
        return space.sample(stream(seed, number, DRIVER, PURPOSE))

    return propose


def _by_tpe(space: Space, seed: int, goals: Sequence[Goal]) -> Callable[[int, Sequence[Told]], Values | None]:
    """Optuna's TPE (Bergstra et al. 2011, NeurIPS; multivariate, with trials still running taken for poor ones)."""

    def propose(number: int, told: Sequence[Told]) -> Values | None:
        rng = stream(seed, number, DRIVER, PURPOSE)
        for _ in range(MOST_REDRAWS):
            study = study_of(space, goals, told, seed=int(rng.integers(2**31)))
            values = space.decoded(study.ask(space.distributions()).params)
            if space.takes(values):
                return values
        raise ConfigError(f"{MOST_REDRAWS} proposals gave nothing that all fields take; narrow the laws without ends")

    return propose


def study_of(space: Space, goals: Sequence[Goal], told: Iterable[Told], seed: int = 0) -> optuna.study.Study:
    """A sweep's trials as a study of Optuna's; those whose values are not of the space are left out."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study
    study = optuna.create_study(directions=list(goals), sampler=optuna.samplers.TPESampler(seed=seed))
    distributions = space.distributions()
    for trial in told:
        try:
            params = space.encoded(trial.values)
        except (ValueError, KeyError, TypeError):
            continue
        study.add_trial(
            create_trial(
                state=STATES[trial.state],
                values=list(trial.outcome) if trial.state == "done" else None,
                params=params,
                distributions=distributions,
            )
        )
    return study
