"""What is worth telling about bars that are kept: gaps, bars at weekends, moves that look like splits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.errors import printable
from eigen2.market.adjusting import ratio_text
from eigen2.market.bars import Bars
from eigen2.market.calendar import change_of_calendar, median_step
from eigen2.market.days import Days, weekend

_LONG_GAP = 14  # days: the longest holidays of an exchange are shorter
_LONG_IN_STEPS = 3  # as many median steps, where bars are not daily
_FEW_COLUMNS = 25  # have a finding each
_SEVEN_DAYS = 0.8  # an asset with bars on this share of the weekend days trades at weekends
_RATIOS = np.array([n / d for n, d in ((6, 5), (5, 4), (4, 3), (3, 2), (5, 3), (2, 1), (7, 3), (5, 2), (3, 1), (4, 1),
                                       (5, 1), (6, 1), (7, 1), (8, 1), (9, 1), (10, 1), (12, 1), (15, 1), (20, 1),
                                       (25, 1), (30, 1), (40, 1), (50, 1), (100, 1))])  # fmt: skip
_NEAR, _NEARER = 0.03, 0.02  # how far a move may be from a split's ratio, and from that of a small split
_SMALL = np.log(1.4)  # a crash or a report moves prices as much as splits below this
_ALONE = 1.8  # times the largest move that is none of a split: only such a move can be that of a small split
_RARE = 8.0  # standard deviations of ordinary moves
_TO_STD = 1.4826  # from the median of absolute moves


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
        return printable(f"{where}: {self.what}{times}{since}")


def per_column(bars: Bars, mask: NDArray[np.bool_], what: str) -> list[Finding]:
    """A finding for each column in which `mask` [T, C] is true."""
    return [
        Finding(bars.source, bars.columns[c], bars.dates[np.argmax(mask[:, c])], what, int(mask[:, c].sum()))
        for c in np.flatnonzero(mask.any(axis=0))
    ]


def findings_of_days(bars: Bars) -> list[Finding]:
    """Findings about the days of bars: their step, where it is not a day, long gaps, and bars at weekends."""
    step = median_step(bars.dates)
    findings = []
    if step > 1:
        what = f"the median step between bars is {step} days: what rules, splits and reports call days are bars"
        findings.append(Finding(bars.source, None, None, what, 1))
    if change := change_of_calendar(bars.dates):
        what = f"bars a year change from {change[0]:.0f} in the first third of the days to {change[1]:.0f} in the last"
        findings.append(Finding(bars.source, None, None, what, 1))
    findings += _gaps(bars)
    return findings if step > 1 else findings + _weekends(bars)


def splits_suspected(bars: Bars) -> list[Finding]:
    """Findings of moves between two bars that are those of a split, and far from the ordinary moves of a column."""
    findings, valid = [], bars.valid
    for column, name in enumerate(bars.columns):
        days = np.flatnonzero(valid[:, column])
        before = bars.close[days[:-1], column]
        move = np.log(before / bars.close[days[1:], column])
        gap = np.log(before / bars.open[days[1:], column])  # as splits come, between a close and the next open
        ordinary = _TO_STD * np.median(np.abs(move)) if len(move) else 0.0
        split = _ratios_near(gap)
        largest = np.abs(move[split == 1]).max(initial=0.0)
        least = np.where(np.abs(np.log(split)) < _SMALL, max(_RARE * ordinary, _ALONE * largest), _RARE * ordinary)
        for at in np.flatnonzero((split != 1) & (np.abs(gap) > least)):
            what = f"move like that of a {ratio_text(split[at])} split, for which the prices are not adjusted: kept"
            findings.append(Finding(bars.source, name, bars.dates[days[at + 1]], what, 1))
    return findings


def _ratios_near(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each gap, the split whose logarithm is near it, else 1.

    Shares are joined by whole numbers: 1-for-2, not 2-for-3.
    """
    near = np.ones(len(gaps))
    for ratio in _RATIOS:
        for split in (ratio, 1 / ratio) if ratio % 1 == 0 else (ratio,):
            distance = np.abs(gaps - np.log(split))
            closer = (distance <= (_NEARER if abs(np.log(split)) < _SMALL else _NEAR)) & (
                distance < np.abs(gaps - np.log(near))
            )
            near[closer] = split
    return near


def _gaps(bars: Bars) -> Iterator[Finding]:
    whole, valid = _long_gaps(bars.dates), bars.valid
    for first, last in whole:
        yield _gap(bars.source, None, first, last)
    for column, name in enumerate(bars.columns):
        for first, last in _long_gaps(bars.dates[valid[:, column]]):
            if (first, last) not in whole:
                yield _gap(bars.source, name, first, last)


def _long_gaps(dates: Days) -> list[tuple[np.datetime64, np.datetime64]]:
    """The days before and after each long gap."""
    if len(dates) < 2:
        return []
    longest = max(_LONG_GAP, _LONG_IN_STEPS * median_step(dates))
    at = np.flatnonzero(np.diff(dates).astype(np.int64) > longest)
    return [(dates[day], dates[day + 1]) for day in at]


def _gap(source: str, column: str | None, first: np.datetime64, last: np.datetime64) -> Finding:
    missing = int((last - first).astype(np.int64)) - 1
    workdays = int(np.busday_count(first, last)) - 1
    what = f"gap of {missing} days ({workdays} of them workdays) without a bar, from {first} to {last}: left as it is"
    return Finding(source, column, None, what, 1)


def _weekends(bars: Bars) -> list[Finding]:
    """Findings of bars at weekends, unless all columns trade every day."""
    at_weekend = weekend(bars.dates)[:, None] & bars.valid
    if not at_weekend.any() or all(_trades_at_weekends(bars.dates[valid]) for valid in bars.valid.T):
        return []
    columns = int(at_weekend.any(axis=0).sum())
    if columns <= _FEW_COLUMNS:
        return per_column(bars, at_weekend, "bar at a weekend: kept")
    first = bars.dates[int(np.argmax(at_weekend.any(axis=1)))]
    what = f"bar at a weekend, in {columns} of {len(bars.columns)} columns: kept"
    return [Finding(bars.source, None, first, what, int(at_weekend.sum()))]


def _trades_at_weekends(dates: Days) -> bool:
    life = np.arange(dates[0], dates[-1] + np.timedelta64(1, "D"))
    return int(weekend(dates).sum()) > _SEVEN_DAYS * int(weekend(life).sum())
