"""W&B's hyperband rule for stopping runs early, as its published engine (sweeps 0.3.0) applies it."""

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eigen2.errors import brief

Goal = Literal["minimize", "maximize"]

MOST_RUNGS = 100  # of the min_iter form
MOST_ITERATIONS = 1_000_000


@dataclass(frozen=True)
class Hyperband:
    """The settings of `early_terminate: {type: hyperband}`: `min_iter`, or `max_iter` with `s`.

    Iterations are counted in finite values of the metric that a run has logged, from 1. Raises ValueError for settings
    that give no rung.
    """

    min_iter: int | None = None
    max_iter: int | None = None
    eta: float = 3.0
    s: int | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        if not 1 < self.eta <= MOST_ITERATIONS:
            raise ValueError(f"eta is {brief(self.eta)}: it must be above 1, and at most {MOST_ITERATIONS:,}")
        for name, value in (("min_iter", self.min_iter), ("max_iter", self.max_iter), ("s", self.s)):
            if value is not None and value > MOST_ITERATIONS:
                raise ValueError(f"{name} is {brief(value)}: it must be at most {MOST_ITERATIONS:,}")
        if self.max_iter is None and self.min_iter is None:
            raise ValueError("hyperband needs min_iter, or max_iter with s")
        if self.max_iter is None and self.min_iter is not None and self.min_iter < 1:
            raise ValueError(f"min_iter is {self.min_iter}: it must be at least 1")
        if self.max_iter is not None and self.s is None:
            raise ValueError("max_iter needs s, the number of rungs below it")
        if not self.rungs():
            raise ValueError(
                f"max_iter {self.max_iter} with eta {self.eta:g} and s {self.s} gives no rung: "
                f"max_iter must be at least eta, and s at least 1"
            )

    def rungs(self) -> tuple[int, ...]:
        """Iterations at which runs are compared, ascending."""
        if self.max_iter is not None:
            return _rungs_below(self.max_iter, self.eta, self.s or 0)
        return _rungs_from(self.min_iter or 1, self.eta)

    def stops(self, histories: Mapping[str, Sequence[float]], running: Collection[str], goal: Goal) -> list[str]:
        """The running runs to be stopped now, in the order of `histories`.

        histories: run id -> every value of the metric it has logged, in order (what is not finite does not count),
        for ALL runs: finished, stopped and failed ones too. running: ids of those that may be stopped.

        A run is judged on the highest rung it has reached, by its value there (`strict`) or its best so far: it stops
        where that is worse than the int(n / eta)-th best of the n runs that ever reached the rung. Ties live.
        """
        rows = {run: [(value,) for value in values] for run, values in histories.items()}
        return self.stops_of_several(rows, running, (goal,))

    def stops_of_several(
        self, histories: Mapping[str, Sequence[Sequence[float]]], running: Collection[str], goals: Sequence[Goal]
    ) -> list[str]:
        """The same with several objectives, whose values are the rows of a history; an unfinished row does not count.

        A run is judged by the number of runs that beat it at the rung: as good in all objectives, better in one. With
        one objective that is W&B's rule; with several no run is stopped that none beats.
        """
        costs = {run: _costs(rows, goals) for run, rows in histories.items()}
        return [run for run, cost in costs.items() if run in running and self._is_worse(cost, costs.values())]

    def _is_worse(self, cost: np.ndarray, costs: Collection[np.ndarray]) -> bool:
        reached = [rung for rung in self.rungs() if rung <= len(cost)]
        if not reached:
            return False
        rung = reached[-1]
        at_rung = np.stack([other[rung - 1] for other in costs if len(other) >= rung])
        judged = cost[rung - 1] if self.strict else cost.min(axis=0)
        threshold = np.sort(_beaten_by(at_rung, at_rung))[int((1.0 / self.eta) * len(at_rung))]
        return bool(_beaten_by(judged[None], at_rung)[0] > threshold)


def _costs(rows: Sequence[Sequence[float]], goals: Sequence[Goal]) -> np.ndarray:
    """The finite rows of a history, so that less is better."""
    signs = [-1.0 if goal == "maximize" else 1.0 for goal in goals]
    finite = [row for row in rows if all(map(math.isfinite, row))]
    return np.array(finite, dtype=float).reshape(-1, len(goals)) * signs


def _beaten_by(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """By how many of the others each row of costs is beaten."""
    as_good = (others[None] <= rows[:, None]).all(axis=2)
    better = (others[None] < rows[:, None]).any(axis=2)
    return (as_good & better).sum(axis=1)


def _rungs_below(max_iter: int, eta: float, s: int) -> tuple[int, ...]:
    rungs: list[int] = []
    band = float(max_iter)
    for _ in range(s):
        band /= eta
        if band < 1:
            break
        rungs.append(int(band))
    return tuple(sorted(rungs))


def _rungs_from(min_iter: int, eta: float) -> tuple[int, ...]:
    rungs: list[int] = []
    band: float = min_iter
    for _ in range(MOST_RUNGS):
        rungs.append(int(band))
        band = min(band * eta, sys.float_info.max)
    return tuple(rungs)
