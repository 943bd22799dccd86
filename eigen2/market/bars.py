"""Daily bars as read from a file: the form between the readers and the market."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]
REMOVED, LEFT_OUT = "removed", "left out"  # how findings end about what the market lacks


@dataclass(frozen=True)
class Bars:
    """Daily bars of T days x C columns.

    dates: [T] datetime64[D], ascending and unique; columns: C names.
    open, high, low, close: [T, C] float64 in units of money or index points, NaN where there is no bar.
    volume: [T, C] or None. closes_only: open, high and low are the close.
    source: the file's name, for messages; notes: what reading changed, a sentence each.
    """

    dates: NDArray[np.datetime64]
    columns: tuple[str, ...]
    open: Grid
    high: Grid
    low: Grid
    close: Grid
    volume: Grid | None = None
    closes_only: bool = False
    source: str = "arrays"
    notes: tuple[str, ...] = ()

    @classmethod
    def from_closes(
        cls, dates: NDArray[np.datetime64], columns: Sequence[str], close: Grid, source: str = "arrays"
    ) -> Self:
        """Bars whose open, high and low are the `close` [T, C]."""
        return cls(dates, tuple(columns), close, close, close, close, closes_only=True, source=source)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Whether a column has a close on a day, [T, C]."""
        return np.isfinite(self.close)

    def select(self, columns: Sequence[int]) -> Self:
        """These column numbers alone, in the given order."""
        chosen = list(columns)
        return replace(self.mapped(lambda grid: grid[:, chosen]), columns=tuple(self.columns[c] for c in chosen))

    def on_days(self, keep: NDArray[np.bool_]) -> Self:
        """The days where `keep` [T] is true."""
        return replace(self.mapped(lambda grid: grid[keep]), dates=self.dates[keep])

    def without(self, bad: NDArray[np.bool_]) -> Self:
        """NaN in place of the bars where `bad` [T, C] is true."""
        return self.mapped(lambda grid: np.where(bad, np.nan, grid))

    def mapped(self, change: Callable[[Grid], Grid]) -> Self:
        """`change` applied to each of the arrays [T, C]."""
        close = change(self.close)
        others = (close,) * 3
        if not self.closes_only:
            others = (change(self.open), change(self.high), change(self.low))
        volume = None if self.volume is None else change(self.volume)
        return replace(self, open=others[0], high=others[1], low=others[2], close=close, volume=volume)
