"""W&B's hyperband rule for stopping runs early, as its published engine (sweeps 0.3.0) applies it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Goal = Literal["minimize", "maximize"]

MOST_RUNGS = 100  # of the min_iter form


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
        if self.eta <= 1:
            raise ValueError(f"eta is {self.eta:g}: it must be above 1")
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
        costs = {run: _costs(values, goal) for run, values in histories.items()}
        longest = max(map(len, costs.values()), default=0)
        rungs = [rung for rung in self.rungs() if rung <= longest]
        thresholds = {rung: self._threshold(rung, costs.values()) for rung in rungs}
        return [run for run, cost in costs.items() if run in running and self._is_worse(cost, thresholds)]

    def _threshold(self, rung: int, costs: Collection[Sequence[float]]) -> float:
        at_rung = sorted(cost[rung - 1] for cost in costs if len(cost) >= rung)
        return at_rung[int((1.0 / self.eta) * len(at_rung))]

    def _is_worse(self, cost: Sequence[float], thresholds: Mapping[int, float]) -> bool:
        reached = [rung for rung in thresholds if rung <= len(cost)]
        if not reached:
            return False
        judged = cost[reached[-1] - 1] if self.strict else min(cost)
        return judged > thresholds[reached[-1]]


def _costs(values: Sequence[float], goal: Goal) -> list[float]:
    """The finite values of a history, so that less is better."""
    sign = -1.0 if goal == "maximize" else 1.0
    return [sign * value for value in values if math.isfinite(value)]


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
        band *= eta
    return tuple(rungs)
