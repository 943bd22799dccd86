"""The assessment of a run: how its champion did, how sure that is, and how much of it choosing the best explains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.evaluation.bootstrap import (
    REPLICATES,
    interval,
    optimal_block_days,
    probability_of_beating,
    resampled_days,
)
from eigen2.evaluation.examination import CHAMPION, RANDOM, VALIDATION, Segment
from eigen2.evaluation.overfitting import DeflatedSharpe, Overfitting, deflated_sharpe, distinct, overfitting
from eigen2.evaluation.scores import daily_returns, sharpe_ratios
from eigen2.market.market import Market
from eigen2.randomness import DRIVER, stream

LEVEL = 0.95
COSTS_BPS = (0.0, 5.0, 20.0)

Returns = NDArray[np.float64]
Figures = dict[str, float]


@dataclass(frozen=True)
class Uncertainty:
    """How sure a champion's figures are: intervals at `level`, and the probability of earning more than others.

    intervals: figure -> (low, high); block_days: mean block of the bootstrap; beats: name -> probability.
    """

    intervals: dict[str, tuple[float, float]]
    level: float
    block_days: float
    beats: dict[str, float]


@dataclass(frozen=True)
class Candidates:
    """What the champion was chosen from: members x generations, those that differ, and trials of the sweep."""

    total: int
    distinct: int
    sweep_trials: int


@dataclass(frozen=True)
class Assessment:
    """All that evaluation.json tells but the verdict.

    periods_per_year: bars in a year; bar_unit: `days`, or `bars` where they are not days. segments: name -> dates,
    bars, figures by name, and the fields of `Uncertainty`; costs: basis points a side -> segment -> figures.
    deflated_sharpe and overfitting are None where the run kept no candidates to tell them from.
    """

    periods_per_year: float
    bar_unit: str
    holdout_openings: int
    candidates: Candidates
    segments: dict[str, "SegmentAssessment"]
    deflated_sharpe: DeflatedSharpe | None
    overfitting: Overfitting | None
    costs: dict[str, dict[str, Figures]]


@dataclass(frozen=True)
class SegmentAssessment(Uncertainty):
    """One split: its days, everyone's figures by name, and how sure the champion's are."""

    first_date: str
    last_date: str
    days: int
    figures: dict[str, Figures]


def assess(
    segments: Sequence[Segment],
    market: Market,
    candidates: Returns | None,
    holdout_openings: int,
    sweep_trials: int,
    seed: int,
) -> Assessment:
    """Everything there is to say of an examined champion.

    candidates: [N, T] daily validation returns of every member of every generation, or None if they were not kept.
    """
    different = None if candidates is None else distinct(candidates)
    counts = Candidates(_count(candidates), _count(different), sweep_trials)
    returns = {segment.name: daily_returns(segment.curves[CHAMPION]) for segment in segments}
    return Assessment(
        periods_per_year=market.periods_per_year,
        bar_unit=market.bar_unit,
        holdout_openings=holdout_openings,
        candidates=counts,
        segments={segment.name: _segment(segment, market, seed) for segment in segments},
        deflated_sharpe=None
        if different is None
        else deflated_sharpe(returns[VALIDATION], different, counts.distinct * sweep_trials, market.periods_per_year),
        overfitting=None if different is None else overfitting(different),
        costs={
            f"{cost:g}": {segment.name: segment.at_cost[cost] for segment in segments} for cost in segments[0].at_cost
        },
    )


def uncertainty(
    returns: Returns, others: dict[str, Returns], rng: np.random.Generator, periods_per_year: float
) -> Uncertainty:
    """Intervals of the figures of `returns` [T], and the probability of earning more than each other [R, T]."""
    block_days = optimal_block_days(returns)
    resamples = resampled_days(len(returns), block_days, REPLICATES, rng)
    drawn = returns[resamples]
    intervals = {
        "sharpe_ratio": interval(sharpe_ratios(drawn, periods_per_year), LEVEL),
        "total_return_pct": interval(100 * np.expm1(np.log1p(drawn).sum(axis=1)), LEVEL),
    }
    beats = {name: probability_of_beating(returns, rivals, resamples) for name, rivals in others.items()}
    return Uncertainty(intervals, LEVEL, block_days, beats)


def _segment(segment: Segment, market: Market, seed: int) -> SegmentAssessment:
    others = {name: curve[None] for name, curve in segment.curves.items() if name not in (CHAMPION, RANDOM)}
    others[RANDOM] = segment.random_curves
    rivals = {name: daily_returns(curves) for name, curves in others.items()}
    rng = stream(seed, 0, DRIVER, f"bootstrap of {segment.name}")
    sure = uncertainty(daily_returns(segment.curves[CHAMPION]), rivals, rng, market.periods_per_year)
    dates = market.dates[segment.days]
    return SegmentAssessment(
        **vars(sure),
        first_date=str(dates[0]),
        last_date=str(dates[-1]),
        days=len(dates),
        figures=segment.figures,
    )


def _count(candidates: Returns | None) -> int:
    return 0 if candidates is None else len(candidates)
