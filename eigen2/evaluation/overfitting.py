"""What choosing the best of many does to its figures: the deflated Sharpe ratio, and backtest overfitting by CSCV."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb, e, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from eigen2.evaluation.scores import sharpe_ratios

Returns = NDArray[np.float64]

BLOCKS = 12  # a year in months: longer than most positions are held, and 924 ways to halve them
MIN_BLOCK_DAYS = 2
CHUNK = 256  # ways to halve that are worked out at a time
NORMAL = NormalDist()


@dataclass(frozen=True)
class DeflatedSharpe:
    """The chance that a Sharpe ratio is more than the luck of the best of many trials.

    probability: of a true Sharpe ratio above `expected_best_sharpe`, the one to expect of the best of as many trials
    without skill; both ratios a year. days: length of the returns in bars; trials: how many were counted.
    """

    probability: float
    expected_best_sharpe: float
    sharpe_ratio: float
    days: int
    trials: int


@dataclass(frozen=True)
class Overfitting:
    """The probability of backtest overfitting, over `splits` ways to halve `blocks` blocks of days."""

    probability: float
    splits: int
    blocks: int


def deflated_sharpe(chosen: Returns, candidates: Returns, trials: int, periods_per_year: float) -> DeflatedSharpe:
    """Bailey and Lopez de Prado (2014), The Deflated Sharpe Ratio, of the `chosen` returns [T].

    candidates: [N, T] returns of different candidates, whose Sharpe ratios tell how widely trials differ;
    trials: how many independent ones there were, at least N; periods_per_year: bars in a year.
    """
    yearly = sqrt(periods_per_year)
    sharpe = float(sharpe_ratios(chosen, 1))
    spread = float(np.var(sharpe_ratios(candidates, 1), ddof=1)) if len(candidates) > 1 else 0.0
    best = expected_best_sharpe(spread, trials)
    skewness, kurtosis = moments(chosen)
    probability = probabilistic_sharpe(sharpe, best, len(chosen), skewness, kurtosis)
    return DeflatedSharpe(probability, best * yearly, sharpe * yearly, len(chosen), trials)


def expected_best_sharpe(variance: float, trials: int) -> float:
    """Expected largest of so many independent Sharpe ratios of that variance around 0; 0 for a single one."""
    if trials < 2:
        return 0.0
    quantiles = NORMAL.inv_cdf(1 - 1 / trials), NORMAL.inv_cdf(1 - 1 / (trials * e))
    return sqrt(variance) * ((1 - np.euler_gamma) * quantiles[0] + np.euler_gamma * quantiles[1])


def probabilistic_sharpe(sharpe: float, benchmark: float, days: int, skewness: float, kurtosis: float) -> float:
    """Probability that a true Sharpe ratio is above `benchmark` where `sharpe` was seen, both a day.

    kurtosis: 3 for normal returns (Bailey and Lopez de Prado 2012, The Sharpe Ratio Efficient Frontier).
    """
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return NORMAL.cdf((sharpe - benchmark) * sqrt((days - 1) / max(variance, 1e-12)))


def moments(returns: Returns) -> tuple[float, float]:
    """Skewness and kurtosis of returns [T]; those of a normal distribution where nothing ever moved."""
    deviation = returns - returns.mean()
    scale = float(np.sqrt(np.mean(deviation**2)))
    if scale < 1e-12:
        return 0.0, 3.0
    return float(np.mean((deviation / scale) ** 3)), float(np.mean((deviation / scale) ** 4))


def overfitting(candidates: Returns) -> Overfitting | None:
    """The probability that the best of N candidates [N, T] on one half of the days is below the median on the other.

    Combinatorially symmetric cross-validation (Bailey, Borwein, Lopez de Prado and Zhu 2015, The Probability of
    Backtest Overfitting), by Sharpe ratio. Days that do not fill a block are left out at the start. None where there
    is nothing to choose from: fewer than two candidates, or too few days for two blocks.
    """
    blocks = min(BLOCKS, candidates.shape[1] // MIN_BLOCK_DAYS) // 2 * 2
    if len(candidates) < 2 or blocks < 2:
        return None
    length = candidates.shape[1] // blocks
    cut = candidates[:, candidates.shape[1] - blocks * length :].reshape(len(candidates), blocks, length)
    sums, squares = cut.sum(axis=2), (cut**2).sum(axis=2)
    half = blocks // 2 * length
    below = sum(
        float(_below_median(_sharpe(chosen, sums, squares, half), _sharpe(~chosen, sums, squares, half)).sum())
        for chosen in _halves(blocks)
    )
    splits = comb(blocks, blocks // 2)
    return Overfitting(below / splits, splits, blocks)


def distinct(candidates: Returns) -> Returns:
    """Candidates [N, T] without repetitions, in order: a clone is not another trial."""
    _, first = np.unique(candidates, axis=0, return_index=True)
    return candidates[np.sort(first)]


def _halves(blocks: int) -> Iterator[NDArray[np.bool_]]:
    """All ways to choose half of the blocks, [h, blocks], a chunk at a time."""
    ways = np.array(list(combinations(range(blocks), blocks // 2)))
    for first in range(0, len(ways), CHUNK):
        part = ways[first : first + CHUNK]
        chosen = np.zeros((len(part), blocks), dtype=bool)
        np.put_along_axis(chosen, part, True, axis=1)
        yield chosen


def _sharpe(chosen: NDArray[np.bool_], sums: Returns, squares: Returns, days: int) -> NDArray[np.float64]:
    """Sharpe ratio a day of each candidate on the chosen blocks, [h, N], from its sums over blocks."""
    mean, square = chosen @ sums.T / days, chosen @ squares.T / days
    variance = square - mean**2
    ratios: NDArray[np.float64] = mean / np.sqrt(np.where(variance < 1e-18, np.inf, variance))
    return ratios


def _below_median(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the best candidate inside does no better than the median outside, [h]; equals share their rank."""
    best = np.take_along_axis(outside, inside.argmax(axis=1)[:, None], axis=1)
    rank = (outside < best).sum(axis=1) + ((outside == best).sum(axis=1) + 1) / 2
    return rank / (outside.shape[1] + 1) <= 0.5
