"""Checking bars: what is wrong is refused, or taken out and counted; nothing is filled in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.errors import DataError
from eigen2.market.bars import Bars

_TOLERANCE = 1e-3  # adjusted prices are rounded: open or close may leave low..high by this share
_SMALLEST, _LARGEST = 1e-9, 1e12  # beyond these a number is no price, and its powers leave float64
_COUNTS = ("bars", "missing_days", "bad_bars", "spikes", "days_before_first", "days_after_last")
_FEWEST_DAYS = 2

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Finding:
    """Something found `count` times in a file, or in one of its columns; `date` is the first time."""

    source: str
    column: str | None
    date: np.datetime64 | None
    what: str
    count: int

    def __str__(self) -> str:
        where = self.source if self.column is None else f"{self.source}: {self.column}"
        since = "" if self.date is None else f", first on {self.date}" if self.count > 1 else f" on {self.date}"
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{where}: {self.what}{times}{since}"


@dataclass(frozen=True)
class DataReport:
    """What cleaning found. `counts` holds a number per column under each of its names."""

    source: str
    columns: tuple[str, ...]
    days: int
    first_date: np.datetime64
    last_date: np.datetime64
    counts: dict[str, tuple[int, ...]]
    findings: tuple[Finding, ...]

    def to_text(self) -> str:
        """The report as lines of text: a table of counts, a line a column, then the findings."""
        head = ["column", *(name.replace("_", " ") for name in self.counts)]
        cells = zip(self.columns, *self.counts.values(), strict=True)
        rows = [head, *([str(cell) for cell in row] for row in cells)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
        table = [_line(row, widths) for row in rows]
        title = f"{self.source}: {self.days} days, {self.first_date} to {self.last_date}, {len(self.columns)} columns"
        found = [f"- {finding}" for finding in self.findings] or ["nothing found"]
        return "\n".join([title, "", *table, "", *found]) + "\n"


def clean(bars: Bars, max_spike_pct: float) -> tuple[Bars, DataReport]:
    """Bars without bad ones and without days that no column has, and the report of all that was found.

    A daily move beyond `max_spike_pct` % is reported and kept. Missing history stays NaN.
    Raises DataError, naming file, column and date, for a negative price, a column without any bar, dates that
    aren't ascending, or fewer than two days.
    """
    _refuse(bars)
    findings = [Finding(bars.source, None, None, note, 1) for note in bars.notes]
    bad, kinds = _bad_bars(bars)
    findings += [found for what, mask in kinds for found in _per_column(bars, mask, what)]
    kept = bars.without(bad)
    _refuse_empty(kept, "has no bar left once the bad ones are removed")
    empty = ~np.any(kept.valid, axis=1)
    if empty.any():
        date = bars.dates[np.argmax(empty)]
        findings.append(Finding(bars.source, None, date, "day without a bar in any column: left out", int(empty.sum())))
    kept = kept.on_days(~empty)
    if len(kept.dates) < _FEWEST_DAYS:
        raise DataError(f"{bars.source}: {len(kept.dates)} days with a bar are too few")
    recorded = (bars.valid | bad)[~empty]
    gaps = _inside_life(recorded) & ~recorded
    spikes = _spikes(kept, max_spike_pct)
    findings += _per_column(kept, gaps, "day without a bar, inside the column's life: left missing")
    findings += _per_column(kept, spikes, f"daily move beyond {max_spike_pct:g} %: kept")
    findings += _lives(kept)
    return kept, _report(kept, bad, gaps, spikes, findings)


def first_and_last(valid: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The day numbers of each column's first and last true day, [C] each; every column has one."""
    return valid.argmax(axis=0), len(valid) - 1 - valid[::-1].argmax(axis=0)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = (cell.ljust(width) if at == 0 else cell.rjust(width)
                      for at, (cell, width) in enumerate(zip(cells, widths, strict=True)))  # fmt: skip
    return "  ".join([first, *others])


def _prices(bars: Bars) -> Iterator[tuple[str, NDArray[np.float64]]]:
    if bars.closes_only:
        yield "close", bars.close
        return
    for name in ("open", "high", "low", "close"):
        yield name, getattr(bars, name)


def _refuse(bars: Bars) -> None:
    if not len(bars.columns):
        raise DataError(f"{bars.source}: has no columns")
    if len(bars.dates) < _FEWEST_DAYS:
        raise DataError(f"{bars.source}: has {len(bars.dates)} days, too few for a market")
    if (np.diff(bars.dates) <= np.timedelta64(0, "D")).any():
        raise DataError(f"{bars.source}: the dates aren't ascending")
    for name, values in _prices(bars):
        negative = values < 0
        if negative.any():
            day, column = (int(axis[0]) for axis in np.nonzero(negative))
            raise DataError(
                f"{bars.source}: column {bars.columns[column]} on {bars.dates[day]}: {name} is "
                f"{values[day, column]:g}, and a price can't be negative"
            )
    _refuse_empty(bars, "has no price at all")


def _refuse_empty(bars: Bars, why: str) -> None:
    empty = ~bars.valid.any(axis=0)
    if empty.any():
        raise DataError(f"{bars.source}: column {bars.columns[int(np.argmax(empty))]} {why}")


def _bad_bars(bars: Bars) -> tuple[Mask, list[tuple[str, Mask]]]:
    """Bars that can't be true, [T, C], and the same by reason; a bar has one reason, the first that fits."""
    values = dict(_prices(bars))
    stack = np.stack(list(values.values()))
    missing = np.isnan(stack)
    reasons = [
        ("bar with some of its prices missing: removed", missing.any(axis=0) & ~missing.all(axis=0)),
        ("zero price: removed", (stack == 0).any(axis=0)),
        ("number too small or large to be a price: removed", ((stack < _SMALLEST) | (stack > _LARGEST)).any(axis=0)),
    ]
    if not bars.closes_only:
        reasons.append(("high below low: removed", bars.high < bars.low))
        reasons.append(("open or close outside low to high: removed", _outside(bars)))
    bad = np.zeros(bars.close.shape, dtype=bool)
    kinds = []
    for what, mask in reasons:
        kinds.append((what, mask & ~bad))
        bad = bad | mask
    return bad, kinds


def _outside(bars: Bars) -> Mask:
    upper, lower = bars.high * (1 + _TOLERANCE), bars.low * (1 - _TOLERANCE)
    body_top, body_bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    return (body_top > upper) | (body_bottom < lower)


def _inside_life(valid: Mask) -> Mask:
    first, last = first_and_last(valid)
    days = np.arange(len(valid))[:, None]
    return (days >= first) & (days <= last)


def _spikes(bars: Bars, max_spike_pct: float) -> Mask:
    spikes = np.zeros(bars.close.shape, dtype=bool)
    for column in range(len(bars.columns)):
        days = np.flatnonzero(bars.valid[:, column])
        close = bars.close[days, column]
        spikes[days[1:], column] = np.abs(close[1:] / close[:-1] - 1) * 100 > max_spike_pct
    return spikes


def _per_column(bars: Bars, mask: Mask, what: str) -> list[Finding]:
    return [
        Finding(bars.source, bars.columns[c], bars.dates[np.argmax(mask[:, c])], what, int(mask[:, c].sum()))
        for c in np.flatnonzero(mask.any(axis=0))
    ]


def _lives(bars: Bars) -> list[Finding]:
    first, last = first_and_last(bars.valid)
    final = len(bars.dates) - 1
    late = [(c, first[c], "listed late: its first bar is") for c in np.flatnonzero(first > 0)]
    early = [(c, last[c], "ends early: its last bar is") for c in np.flatnonzero(last < final)]
    return [Finding(bars.source, bars.columns[c], bars.dates[day], what, 1) for c, day, what in late + early]


def _report(bars: Bars, bad: Mask, gaps: Mask, spikes: Mask, findings: list[Finding]) -> DataReport:
    first, last = first_and_last(bars.valid)
    numbers = (
        bars.valid.sum(axis=0), gaps.sum(axis=0), bad.sum(axis=0), spikes.sum(axis=0), first,
        len(bars.dates) - 1 - last,
    )  # fmt: skip
    counts = {name: tuple(int(n) for n in values) for name, values in zip(_COUNTS, numbers, strict=True)}
    ends = bars.dates[0], bars.dates[-1]
    return DataReport(bars.source, bars.columns, len(bars.dates), *ends, counts, tuple(findings))
