"""Adjusted prices: by an adjusted close, and for the splits that a file lists."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from eigen2.market.bars import REMOVED, Bars, Grid
from eigen2.market.headers import PRICES

Array = NDArray[np.float64]

_ROUNDED = 1e-9  # a ratio this near 1 is no split
_WIDE = 1.2  # a bar whose high is above its low by less is none that spans a split


def adjusted(fields: dict[str, Array]) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Of the fields of a table: open, high, low, close (or close alone), volume, splits; and what was done to them."""
    others: dict[str, Array] = {name: fields[name] for name in ("volume", "splits") if name in fields}
    prices = {name: fields[name] for name in PRICES if name in fields}
    notes: tuple[str, ...] = ()
    if all(f"adj_{name}" in fields for name in PRICES):
        prices = {name: fields[f"adj_{name}"] for name in PRICES}
        notes = ("the adjusted prices adj_open, adj_high, adj_low, adj_close were used",)
    elif "adj_close" in fields and "close" in fields:
        prices, notes = _scaled(prices, fields["adj_close"])
    elif "adj_close" in fields:
        prices = {"close": fields["adj_close"]}
        notes = ("only the adjusted close was used: there is no close to adjust the others by",)
    if len(prices) < len(PRICES):
        left = [name for name in prices if name != "close"]
        notes += (f"read as closes only: {', '.join(left)} without the other prices was left out",) if left else ()
        prices = {"close": prices["close"]}
    return {**prices, **others}, notes


def without_splits(bars: Bars, splits: Grid) -> Bars:
    """Bars adjusted for the `splits` [T, C], new shares for an old one on the day of a split, and a note a column.

    Some files list splits that their prices are adjusted for, some list what their prices still show: the moves on the
    days of the splits tell. A bar that spans the price before and after its split is removed.
    """
    split = np.isfinite(splits) & (splits > 0) & (np.abs(splits - 1) > _ROUNDED)
    for column in np.flatnonzero(split.any(axis=0)):
        bars = _column_without_splits(bars, int(column), np.where(split[:, column], splits[:, column], 1.0))
    return bars


def _column_without_splits(bars: Bars, column: int, ratios: Array) -> Bars:
    days = np.flatnonzero(bars.valid[:, column])
    close = bars.close[days, column]
    # a split on a day without a bar shows on the next day that has one
    known = np.cumprod(ratios)[days]
    ratio = np.concatenate([[1.0], known[1:] / known[:-1]])
    at = np.flatnonzero((np.abs(ratio - 1) > _ROUNDED) & (close > 0))
    at = at[close[at - 1] > 0]
    if not len(at):
        return bars
    times = "a split" if len(at) == 1 else f"{len(at)} splits, the first"
    listed = f"{bars.columns[column]}: {times} {ratio_text(ratio[at[0]])} on {bars.dates[days[at[0]]]}"
    drop, expected = np.log(close[at - 1] / close[at]), np.log(ratio[at])
    if np.abs(drop).sum() <= np.abs(drop - expected).sum():
        return replace(bars, notes=(*bars.notes, f"{listed}: the prices are adjusted already"))
    ratio[np.setdiff1d(np.arange(len(ratio)), at)] = 1.0
    factor = np.ones(len(ratios))
    factor[days] = ratio[::-1].cumprod()[::-1] / ratio  # of the splits that come after a day
    spanning = days[at[_spans(bars, column, days[at], ratio[at])]]
    notes = [f"{listed}: applied to the prices before"]
    if len(spanning):
        notes.append(f"{listed}: the bar of the day spans the prices before and after it: {REMOVED}")
    return replace(_divided(bars, column, factor, spanning), notes=(*bars.notes, *notes))


def ratio_text(ratio: float) -> str:
    """A split's ratio as 3-for-2."""
    fraction = Fraction(float(ratio)).limit_denominator(100)
    return f"{fraction.numerator}-for-{fraction.denominator}"


def _spans(bars: Bars, column: int, days: NDArray[np.intp], ratio: Array) -> NDArray[np.bool_]:
    span: NDArray[np.bool_] = bars.high[days, column] > bars.low[days, column] * np.maximum(
        np.sqrt(np.maximum(ratio, 1 / ratio)), _WIDE
    )
    return span


def _divided(bars: Bars, column: int, factor: Array, removed: NDArray[np.intp]) -> Bars:
    """The prices of a column divided by `factor` [T], its volumes multiplied, and the bars of some days removed."""
    only = np.ones(bars.close.shape)
    only[:, column] = factor
    volume = None if bars.volume is None else bars.volume * only
    bad = np.zeros(bars.close.shape, dtype=bool)
    bad[removed, column] = True
    return replace(bars.mapped(lambda grid: grid / only), volume=volume).without(bad)


def _scaled(prices: dict[str, Array], adjusted_close: Array) -> tuple[dict[str, Array], tuple[str, ...]]:
    close = prices["close"]
    zero = close == 0  # has no ratio; cleaning counts it
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite price: cleaning counts it
        ratio = np.divide(adjusted_close, close, out=np.ones_like(close), where=~zero)
        scaled = {name: values * ratio for name, values in prices.items()}
    scaled["close"] = np.where(zero, close, adjusted_close)
    return scaled, ("open, high and low were adjusted by adj_close / close",)
