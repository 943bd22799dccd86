"""Checking bars: what is wrong is refused, or taken out and counted; nothing is filled in."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.errors import DataError, printable
from eigen2.market.bars import LEFT_OUT, REMOVED, Bars
from eigen2.market.calendar import bar_unit
from eigen2.market.findings import Finding, findings_of_days, per_column, splits_suspected

_TOLERANCE = 1e-3  # adjusted prices are rounded: open or close may leave low..high by this share
_SMALLEST, _LARGEST = 1e-9, 1e12  # beyond these a number is no price, and its powers leave float64
_COUNTS = ("bars", "missing_days", "bad_bars", "spikes", "days_before_first", "days_after_last")
_FEWEST_DAYS = 2
_MOST_FLAWLESS = 25  # columns without a flaw that have a line each
_CONTRADICTIONS = ("high below low", "open or close outside low to high")
_LEAVE_OUT = "leave the column out by naming the others in data.investable and data.context"

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DataReport:
    """What cleaning found. `counts` holds a number per column under each of its names; `bar_unit` names bars."""

    source: str
    columns: tuple[str, ...]
    days: int
    bar_unit: str
    first_date: np.datetime64
    last_date: np.datetime64
    counts: dict[str, tuple[int, ...]]
    findings: tuple[Finding, ...]

    @property
    def losses(self) -> tuple[str, ...]:
        """The findings about bars and days that are not in the market."""
        return tuple(str(finding) for finding in self.findings if finding.what.endswith((REMOVED, LEFT_OUT)))

    def to_text(self) -> str:
        """The report as lines of text: a table of counts, a line a column, then the findings."""
        head = ["column", *(name.replace("_", " ").replace("days", self.bar_unit) for name in self.counts)]
        flawless, flawed = self._columns_by_flaws()
        listed = flawed if len(flawless) > _MOST_FLAWLESS else range(len(self.columns))
        rows = [head, *([self.columns[c], *(str(values[c]) for values in self.counts.values())] for c in listed)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
        table = [_line(row, widths) for row in rows] if len(rows) > 1 else []
        if len(listed) < len(self.columns):
            bars = sorted({self.counts["bars"][c] for c in flawless})
            each = f"{bars[0]}" if len(bars) == 1 else f"{bars[0]} to {bars[-1]}"
            table.append(f"{len(flawless)} {'other ' if flawed else ''}columns have {each} bars each, and no flaw")
        span = f"{self.days} {self.bar_unit}, {self.first_date} to {self.last_date}"
        title = f"{self.source}: {span}, {len(self.columns)} columns"
        found = [f"- {finding}" for finding in self.findings] or ["nothing found"]
        return "\n".join(map(printable, [title, "", *table, "", *found])) + "\n"

    def _columns_by_flaws(self) -> tuple[list[int], list[int]]:
        """The numbers of the columns whose counts are all 0 but for that of their bars, and of the others."""
        flaws = [sum(values) for values in zip(*(v for k, v in self.counts.items() if k != "bars"), strict=True)]
        every = range(len(self.columns))
        return [c for c in every if not flaws[c]], [c for c in every if flaws[c]]


def clean(bars: Bars, max_spike_pct: float, context: Collection[str] = ()) -> tuple[Bars, DataReport]:
    """Bars without bad ones and without days that no column has, and the report of all that was found.

    A move from bar to bar beyond `max_spike_pct` % is reported and kept. Missing history stays NaN. A negative price
    of the columns in `context`, which can't be bought, is a bad bar.
    Raises DataError, naming file, column and date, for a negative price of another column, a column whose bars are
    mostly bad or that has none, dates that aren't ascending, or fewer than two days.
    """
    _refuse(bars, context)
    findings = [Finding(bars.source, None, None, note, 1) for note in bars.notes]
    bad, kinds = _bad_bars(bars)
    _refuse_mostly_bad(bars, kinds)
    findings += [found for what, mask in kinds for found in per_column(bars, mask, f"{what}: {REMOVED}")]
    kept = bars.without(bad)
    empty = ~np.any(kept.valid, axis=1)
    if empty.any():
        date = bars.dates[np.argmax(empty)]
        findings.append(
            Finding(bars.source, None, date, f"day without a bar in any column: {LEFT_OUT}", int(empty.sum()))
        )
    kept = kept.on_days(~empty)
    if len(kept.dates) < _FEWEST_DAYS:
        raise DataError(f"{bars.source}: {len(kept.dates)} days with a bar are too few")
    recorded = (bars.valid | bad)[~empty]
    gaps = _inside_life(recorded) & ~recorded
    spikes = _spikes(kept, max_spike_pct)
    findings += findings_of_days(kept)
    missing = "day without a bar" if bar_unit(kept.dates) == "days" else "bar missing"
    findings += per_column(kept, gaps, f"{missing}, inside the column's life: left missing")
    findings += splits_suspected(kept)
    findings += per_column(kept, spikes, f"move beyond {max_spike_pct:g} % from bar to bar: kept")
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


def _refuse(bars: Bars, context: Collection[str]) -> None:
    if not len(bars.columns):
        raise DataError(f"{bars.source}: has no columns")
    if len(bars.dates) < _FEWEST_DAYS:
        raise DataError(f"{bars.source}: has {len(bars.dates)} days, too few for a market")
    if (np.diff(bars.dates) <= np.timedelta64(0, "D")).any():
        raise DataError(f"{bars.source}: the dates aren't ascending")
    bought = np.array([name not in context for name in bars.columns])
    for name, values in _prices(bars):
        negative = (values < 0) & bought
        if negative.any():
            day, column = (int(axis[0]) for axis in np.nonzero(negative))
            raise DataError(
                f"{bars.source}: column {bars.columns[column]} on {bars.dates[day]}: {name} is "
                f"{values[day, column]:g}, and a price can't be negative; leave the column out by naming the others in "
                "data.investable, or only observe it by naming it in data.context"
            )
    empty = ~bars.valid.any(axis=0)
    if empty.any():
        raise DataError(
            f"{bars.source}: column {bars.columns[int(np.argmax(empty))]} has no price at all; {_LEAVE_OUT}"
        )


def _refuse_mostly_bad(bars: Bars, kinds: list[tuple[str, Mask]]) -> None:
    """Raise DataError where most bars of a column contradict themselves, or none of its bars is left."""
    counts = {what: mask.sum(axis=0) for what, mask in kinds}
    total = (bars.valid | np.any([mask for _, mask in kinds], axis=0)).sum(axis=0)
    contradicting = sum(counts[what] for what in _CONTRADICTIONS if what in counts)
    refused = (contradicting * 2 > total) | (sum(counts.values()) == total)
    if not refused.any():
        return
    column = int(np.argmax(refused))
    what = max(counts, key=lambda kind: counts[kind][column])
    first = bars.dates[int(np.argmax(dict(kinds)[what][:, column]))]
    raise DataError(
        f"{bars.source}: column {bars.columns[column]}: {counts[what][column]} of {total[column]} bars removed: {what}"
        f", first on {first}; correct the file, or {_LEAVE_OUT}"
    )


def _bad_bars(bars: Bars) -> tuple[Mask, list[tuple[str, Mask]]]:
    """Bars that can't be true, [T, C], and the same by reason; a bar has one reason, the first that fits."""
    values = dict(_prices(bars))
    stack = np.stack(list(values.values()))
    missing = np.isnan(stack)
    reasons = [
        ("bar with some of its prices missing", missing.any(axis=0) & ~missing.all(axis=0)),
        ("negative price", (stack < 0).any(axis=0)),
        ("zero price", (stack == 0).any(axis=0)),
        ("number too small or large to be a price", ((stack < _SMALLEST) | (stack > _LARGEST)).any(axis=0)),
    ]
    if not bars.closes_only:
        contradictions = bars.high < bars.low, _outside(bars)
        reasons += zip(_CONTRADICTIONS, contradictions, strict=True)
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
    spikes, valid = np.zeros(bars.close.shape, dtype=bool), bars.valid
    for column in range(len(bars.columns)):
        days = np.flatnonzero(valid[:, column])
        close = bars.close[days, column]
        spikes[days[1:], column] = np.abs(close[1:] / close[:-1] - 1) * 100 > max_spike_pct
    return spikes


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
    return DataReport(bars.source, bars.columns, len(bars.dates), bar_unit(bars.dates), *ends, counts, tuple(findings))
