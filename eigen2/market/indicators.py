"""Features of a column's closes: scale-free, and causal (a value uses no later day).

All come from TA-Lib over the bars a column has: a day without a bar is left out of the series, so an
indicator's "days" are the column's trading days.
"""

from collections.abc import Callable, Sequence

import numpy as np
import talib
from numpy.typing import NDArray

from eigen2.config.schema import FeatureName

Series = NDArray[np.float64]

RSI_DAYS = 7
MACD_DAYS = (12, 26, 9)
TRIX_DAYS = 12
MEAN_DAYS = 20
VOLATILITY_DAYS = 20


def log_return(close: Series) -> Series:
    """ln(close / close of the bar before)."""
    return np.diff(np.log(close), prepend=np.nan)


def rsi(close: Series) -> Series:
    """Wilder's relative strength index over 7 days, as a share, 0 to 1."""
    return talib.RSI(close, RSI_DAYS) / 100


def macd_signal(close: Series) -> Series:
    """Signal line of the MACD 12/26/9, as a share of the close."""
    fast, slow, signal = MACD_DAYS
    return talib.MACD(close, fast, slow, signal)[1] / close


def trix(close: Series) -> Series:
    """Daily change of a triple exponential mean over 12 days, in %."""
    return talib.TRIX(close, TRIX_DAYS)


def mean_distance(close: Series) -> Series:
    """(close - mean of 20 days) / close."""
    return (close - talib.SMA(close, MEAN_DAYS)) / close


def volatility(close: Series) -> Series:
    """Standard deviation (over n) of the log returns of 20 days."""
    return talib.STDDEV(log_return(close), VOLATILITY_DAYS)


INDICATORS: dict[FeatureName, Callable[[Series], Series]] = {
    "log_return": log_return,
    "rsi": rsi,
    "macd_signal": macd_signal,
    "trix": trix,
    "mean_distance": mean_distance,
    "volatility": volatility,
}


def compute(close: NDArray[np.float64], names: Sequence[FeatureName]) -> NDArray[np.float64]:
    """Raw features [T, C, F] of closes [T, C] (> 0, NaN where there is no bar), in the order of `names`.

    NaN where there is no bar, or too few bars before it.
    """
    features = np.full((*close.shape, len(names)), np.nan)
    for column in range(close.shape[1]):
        days = np.flatnonzero(np.isfinite(close[:, column]))
        if len(days):
            series = np.ascontiguousarray(close[days, column])
            features[days, column] = np.stack([INDICATORS[name](series) for name in names], axis=-1)
    return features
