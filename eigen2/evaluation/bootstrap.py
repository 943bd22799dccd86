"""How sure a figure is: the stationary block bootstrap of daily returns (Politis and Romano 1994).

A resample is made of blocks of neighbouring days of random length, so what days have in common with the days before
them stays in it. All curves are resampled on the same days, which keeps what they have in common with each other.
"""

import numpy as np
from numpy.typing import NDArray

Returns = NDArray[np.float64]
Days = NDArray[np.int64]

REPLICATES = 2_000
INSIGNIFICANT = 2.0  # autocorrelations within this many times sqrt(log10(T) / T) count as none


def optimal_block_days(returns: Returns) -> float:
    """Mean block length for returns [T], in days, at least 1.

    The automatic choice of Politis and White (2004) as corrected by Patton, Politis and White (2009): a flat-top
    estimate of the autocovariances up to twice the first lag from which none is significant.
    """
    days = len(returns)
    deviation = returns - returns.mean()
    run = max(5, int(np.log10(days)))  # so many neighbouring lags without correlation end the search
    lags = min(int(np.ceil(np.sqrt(days))) + run, days - 1)
    covariance = np.array([deviation[lag:] @ deviation[: days - lag] / days for lag in range(lags + 1)])
    if covariance[0] < 1e-24:
        return 1.0
    quiet = np.abs(covariance / covariance[0]) < INSIGNIFICANT * np.sqrt(np.log10(days) / days)
    silent = (lag for lag in range(1, lags + 1 - run) if quiet[lag : lag + run].all())
    bandwidth = min(2 * next(silent, lags), lags)
    lag = np.arange(1, bandwidth + 1)
    weighted = np.clip(2 * (1 - lag / bandwidth), 0, 1) * covariance[1 : bandwidth + 1]
    slope, level = 2 * (lag * weighted).sum(), covariance[0] + 2 * weighted.sum()
    longest = np.ceil(min(3 * np.sqrt(days), days / 3))
    if abs(level) < 1e-12 * covariance[0]:
        return float(longest)
    return float(np.clip((days * (slope / level) ** 2) ** (1 / 3), 1, longest))


def resampled_days(days: int, block_days: float, replicates: int, rng: np.random.Generator) -> Days:
    """Resamples of `days` day numbers, [B, T]: blocks of random length, `block_days` in the mean, wrapping around."""
    jumps = rng.random((replicates, days)) < 1 / block_days
    jumps[:, 0] = True
    fresh = rng.integers(0, days, (replicates, days))
    step = np.arange(days)
    started = np.maximum.accumulate(np.where(jumps, step, 0), axis=1)
    resampled: Days = (np.take_along_axis(fresh, started, axis=1) + step - started) % days
    return resampled


def interval(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The central interval that holds the share `level` of bootstrapped values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def probability_of_beating(mine: Returns, others: Returns, resamples: Days) -> float:
    """Share of resamples in which `mine` [T] earns more in all than another; draws count half.

    others: [R, T] returns of R equals, who take turns from resample to resample: what they owe to their luck is part
    of the uncertainty as well.
    """
    rival = np.arange(len(resamples)) % len(others)
    lead = np.log1p(mine)[resamples].sum(axis=1) - np.log1p(others)[rival[:, None], resamples].sum(axis=1)
    even = np.abs(lead) < 1e-12
    return float(np.where(even, 0.5, lead > 0).mean())
