"""Adjusted prices: by an adjusted close, and for the splits that a file lists."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from eigen2.market.bars import REMOVED, Bars
from eigen2.market.headers import PRICES

Array = NDArray[np.float64]

_ROUNDED = 1e-9  # a ratio this near 1 is no split
_LARGEST = 10_000.0  # shares for one, beyond what any split was
_RARE = 20  # days a split, at least: what a column lists more often is none
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


def without_splits(bars: Bars, splits: Array) -> Bars:
    """Bars adjusted for the `splits` [T, C], new shares for an old one on the day of a split, and a note a column.

    Some files list splits that their prices are adjusted for, some list what their prices still show: the moves on the
    days of the splits tell. A bar that spans the price before and after its split is removed.
    """
    possible = (splits > 1 / _LARGEST) & (splits < _LARGEST)
    listed = possible & (np.abs(splits - 1) > _ROUNDED)
    if not listed.any():
        return bars
    valid, factor, spanning = bars.valid, np.ones(splits.shape), np.zeros(splits.shape, dtype=bool)
    notes: list[str] = []
    for column in np.flatnonzero(listed.any(axis=0)):
        name, days = bars.columns[column], np.flatnonzero(valid[:, column])
        close = bars.close[days, column]
        ratio = _ratio_of_each_bar(np.where(listed[:, column], splits[:, column], 1.0), days, close)
        at = np.flatnonzero(ratio != 1)
        if not len(at):
            continue
        times = "a split" if len(at) == 1 else f"{len(at)} splits, the first"
        first = f"{name}: {times} {ratio_text(ratio[at[0]])} on {bars.dates[days[at[0]]]}"
        if len(at) * _RARE > len(days):
            notes.append(f"{first}: not used, since no share is split more often than every {_RARE} days")
        elif _are_adjusted(close, ratio):
            notes.append(f"{first}: the prices are adjusted already")
        else:
            notes.append(f"{first}: applied to the prices before")
            factor[days, column] = ratio[::-1].cumprod()[::-1] / ratio  # of the splits that come after a day
            spanning[days, column] = _spans(bars.high[days, column], bars.low[days, column], ratio)
            if spanning[:, column].any():
                notes.append(f"{first}: a bar that spans the price before and after it was {REMOVED}")
    volume = None if bars.volume is None else bars.volume * factor
    divided = bars.mapped(lambda grid: grid / factor).without(spanning)
    return replace(divided, volume=volume, notes=(*bars.notes, *notes))


def ratio_text(ratio: float) -> str:
    """A split's ratio as 3-for-2."""
    fraction = Fraction(float(ratio)).limit_denominator(100)
    return f"{fraction.numerator}-for-{fraction.denominator}"


def _ratio_of_each_bar(ratios: Array, days: NDArray[np.intp], close: Array) -> Array:
    """Of each bar, on one of `days`, the ratio of the splits since the bar before; 1 where a price is missing."""
    # a split on a day without a bar shows on the next day that has one
    known = np.log(ratios).cumsum()[days]
    ratio: Array = np.concatenate([[1.0], np.exp(np.diff(known))])
    priced = (close > 0) & np.concatenate([[False], close[:-1] > 0])
    return np.where(priced & (np.abs(ratio - 1) > _ROUNDED), ratio, 1.0)


def _are_adjusted(close: Array, ratio: Array) -> bool:
    """Whether the moves at splits are nearer to none than to the splits."""
    at = np.flatnonzero(ratio != 1)
    drop = np.log(close[at - 1] / close[at])
    return bool(np.abs(drop).sum() <= np.abs(drop - np.log(ratio[at])).sum())


def _spans(high: Array, low: Array, ratio: Array) -> NDArray[np.bool_]:
    """Whether a bar holds prices from before its split and from after it."""
    spans: NDArray[np.bool_] = (ratio != 1) & (high > low * np.maximum(np.exp(np.abs(np.log(ratio)) / 2), _WIDE))
    return spans


def _scaled(prices: dict[str, Array], adjusted_close: Array) -> tuple[dict[str, Array], tuple[str, ...]]:
    close = prices["close"]
    zero = close == 0  # has no ratio; cleaning counts it
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite price: cleaning counts it
        ratio = np.divide(adjusted_close, close, out=np.ones_like(close), where=~zero)
        scaled = {name: values * ratio for name, values in prices.items()}
    scaled["close"] = np.where(zero, close, adjusted_close)
    return scaled, ("open, high and low were adjusted by adj_close / close",)
