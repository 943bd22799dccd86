"""The market: immutable arrays of prices and features, and the days of each split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.market.calendar import bar_unit


@dataclass(frozen=True)
class Prices:
    """Bars of T days x C columns, float64; NaN where a column has no bar on a day.

    `last_close` is the last close known on each day (NaN before a column's first bar); `last_day` is the day
    number of each column's last bar, shape [C].
    """

    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    last_close: NDArray[np.float64]
    last_day: NDArray[np.int64]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Whether a column has a bar on a day, shape [T, C]."""
        return np.isfinite(self.close)


@dataclass(frozen=True)
class Span:
    """Day numbers first..last of a split, both included."""

    first: int
    last: int

    @property
    def days(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class Splits:
    """Training, validation and hold-out days, in time order.

    `training` starts on the first day that has a full observation behind it.
    """

    training: Span
    validation: Span
    holdout: Span


@dataclass(frozen=True)
class Market:
    """What a population trades on.

    dates: [T] datetime64[D]; columns: C names; stocks: [S] column numbers that may be bought.
    features: [T, C, F] float32, zero where a column is unseen; the last one, `observed`, is 1 where it is seen.
    index: column number of the index baseline, or None. closes_only: open = high = low = close.
    periods_per_year: bars in a year, by which figures are annualised.
    """

    dates: NDArray[np.datetime64]
    columns: tuple[str, ...]
    stocks: NDArray[np.int64]
    index: int | None
    prices: Prices
    features: NDArray[np.float32]
    feature_names: tuple[str, ...]
    splits: Splits
    closes_only: bool
    periods_per_year: float

    @property
    def bar_unit(self) -> str:
        """Name of a number of bars in reports: `days`, or `bars` where those that are judged are not days."""
        return bar_unit(self.dates[self.splits.validation.first :])

    @property
    def index_label(self) -> str | None:
        """Name of the index baseline in tables and plots, with its column; None where there is no index."""
        return None if self.index is None else f"index {self.columns[self.index]}"

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Whether a column is seen on a day, [T, C]."""
        return self.features[..., -1] > 0

    @property
    def stock_prices(self) -> Prices:
        """The prices of the investable columns alone, [T, S]."""
        p, s = self.prices, self.stocks
        return Prices(p.open[:, s], p.high[:, s], p.low[:, s], p.close[:, s], p.last_close[:, s], p.last_day[s])

    @property
    def stock_names(self) -> tuple[str, ...]:
        return tuple(self.columns[c] for c in self.stocks)
