"""The ledger: everything the rules made of the actions on some slices."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from eigen2.market.market import Span

NO_STOCK = -1


class ExitReason(IntEnum):
    """Why a position was sold."""

    NONE = 0  # no position was opened
    TARGET = 1  # the day's high reached the target
    TIMED = 2  # held for max_holding_period
    SETTLED = 3  # last day of the slice
    ENDED = 4  # the stock's data ended


@dataclass(frozen=True)
class Slices:
    """K episodes of equal length: trading days, on which positions may open, then settlement days.

    starts: [K] day numbers of their first days.
    """

    starts: NDArray[np.int64]
    trading_days: int
    settlement_days: int

    @property
    def length(self) -> int:
        """L: days of a slice."""
        return self.trading_days + self.settlement_days

    @property
    def trading(self) -> NDArray[np.int64]:
        """Day numbers on which positions may open, [K, D]."""
        return self.starts[:, None] + np.arange(self.trading_days)

    @property
    def days(self) -> NDArray[np.int64]:
        """All day numbers, [K, L]."""
        return self.starts[:, None] + np.arange(self.length)

    @classmethod
    def over(cls, span: Span, settlement_days: int) -> "Slices":
        """One slice that covers a whole span."""
        return cls(np.array([span.first]), span.days - settlement_days, settlement_days)


@dataclass(frozen=True)
class Ledger:
    """The outcome of K slices with D trading days and L days in all.

    At most one purchase is decided a day, so a trade is known by (slice, day of its decision): arrays of shape
    [K, D] describe it, with stock = NO_STOCK where nothing was bought. Days are day numbers of the market.

    rewards: [K, L] on the day they fall due; fitness: [K] their sum.
    credits: [K, D] the same rewards on the day of the decision, discounted by gamma^days_held.
    """

    slices: Slices
    stock: NDArray[np.int64]
    coefficient: NDArray[np.float64]
    target_pct: NDArray[np.float64]
    entry_day: NDArray[np.int64]
    exit_day: NDArray[np.int64]
    entry_price: NDArray[np.float64]
    exit_price: NDArray[np.float64]
    gain_pct: NDArray[np.float64]
    reason: NDArray[np.int8]
    rewards: NDArray[np.float64]
    credits: NDArray[np.float64]

    @property
    def fitness(self) -> NDArray[np.float64]:
        """Sum of each slice's rewards, [K]: what evolution ranks."""
        return self.rewards.sum(axis=1)

    @property
    def bought(self) -> NDArray[np.bool_]:
        """Whether a purchase was made, [K, D]."""
        return self.stock != NO_STOCK

    @property
    def days_held(self) -> NDArray[np.int64]:
        """Days from entry to exit, [K, D]; 0 where nothing was bought."""
        return self.exit_day - self.entry_day
