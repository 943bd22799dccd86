"""The dates of a market file: which day each row belongs to, whatever form its date has."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigen2.errors import DataError

HELP = "name its form with --date-format, for example --date-format %d/%m/%Y (in a config: data.date_format)"
DAY_FIRST, MONTH_FIRST = "%d/%m/%Y", "%m/%d/%Y"
_TIME = (
    r"(?:(?:T|\s+)(?P<hour>\d{1,2})[:.-]?(?P<minute>\d{2})?(?::(?P<second>\d{2})(?:[.,]\d+)?)?\s*(?P<half>[AP]M)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?"
)
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})([-/.]?)(?P<month>\d{2}|(?<=[-/.])\d)\2(?P<day>\d{1,2})" + _TIME, re.I)
_YEAR_LAST = re.compile(r"(?P<first>\d{1,2})(?P<sign>[-/.])(?P<other>\d{1,2})(?P=sign)(?P<year>\d{4})" + _TIME, re.I)
_MONTH_NAMED = re.compile(
    r"(?:(?P<before>\d{1,2})[-\s])?(?P<name>[a-z]{3,9})\.?(?:\s(?P<after>\d{1,2}),?)?[-\s,]+(?P<year>\d{4}|\d{2})"
    + _TIME,
    re.I,
)
_MONTH_ALONE = re.compile(r"(?P<year>(?:19|20)\d{2})[-/](?P<month>\d{1,2})")
_EXCEL_SERIAL = re.compile(r"[2-5]\d{4}(?:\.\d+)?")  # days since 1900: those from 1954 to 2064
_WORDS_OF_DATES = re.compile(r"[ap]m|utc|gmt|z|t|st|nd|rd|th|of|(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*", re.I)
_EPOCH = re.compile(r"(?P<count>\d{9,19})(?:\.0*)?")
_EPOCH_UNITS = {9: 1, 10: 1, 12: 10**3, 13: 10**3, 15: 10**6, 16: 10**6, 18: 10**9, 19: 10**9}  # digits: a second
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SATURDAY = 5
_MANY = 5  # a shift that leaves a fifth of the bars at weekends, or less, explains them

Days = NDArray[np.datetime64]


class _Stamp(NamedTuple):
    """A day, the second of that day, and whether they name their time zone, which may not be the exchange's."""

    day: date
    second: int
    zoned: bool


@dataclass(frozen=True)
class Stamps:
    """Days [N] datetime64[D] as written, the second of each day [N], and whether they name their time zone [N]."""

    days: Days
    seconds: NDArray[np.int64]
    zoned: NDArray[np.bool_]

    def at(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The stamps of these rows, given by number or by whether they are among them."""
        return type(self)(self.days[rows], self.seconds[rows], self.zoned[rows])

    def on_exchange_days(self) -> tuple[Self, tuple[str, ...]]:
        """The stamps of one asset on the days of its exchange, and a note where times of day were dropped.

        The midnight of an exchange is the evening before in a time zone west of it, as Tokyo's is in UTC. Where this
        puts bars at weekends and the day after does not, the bars belong to the day after.
        """
        late = self.seconds > 0
        if not late.any():
            return self, ()
        times = _times(self.seconds[late])
        shifted = self.days + (late & self.zoned).astype("timedelta64[D]")
        before, after = (int(weekend(days).sum()) for days in (self.days, shifted))
        if after * _MANY >= before:
            return self, (f"times of day ({times}) were dropped: a bar belongs to the day as written",)
        note = (
            f"times of day ({times}) were dropped: they put {before} bars at weekends, so they are midnights of a time "
            "zone further east, and each bar belongs to the day that begins then"
        )
        return type(self)(shifted, self.seconds, self.zoned), (note,)


def weekend(days: Days) -> NDArray[np.bool_]:
    """Whether each day is a Saturday or a Sunday."""
    # 1970-01-01, day 0, was a Thursday
    weekday: NDArray[np.int64] = (days.astype("datetime64[D]").astype(np.int64) + 3) % 7
    return weekday >= _SATURDAY


def clock(second: int) -> str:
    """A second of the day as 09:30."""
    return f"{second // 3600:02d}:{second // 60 % 60:02d}"


def stamps_of(cells: pd.Series, source: str, date_format: str | None) -> Stamps:
    """The stamps of a column of dates.

    Read are 2004-01-31, 2004/01/31, 20040131, 31.01.2004, 31/01/2004, 01/31/2004, Jan 31, 2004, 31-Jan-2004, each
    with or without a time, the months 2004-01 and Jan 2004 as their first day, and seconds, milli-, micro- and
    nanoseconds since 1970; `date_format`, a form of `strptime`, where it is given.
    Raises DataError for anything else, and where day and month can't be told apart.
    """
    codes, texts = pd.factorize(_texts(cells))
    read = _reader(texts, source, date_format)
    stamps = [read(str(text)) for text in texts]
    unread = next((at for at, stamp in enumerate(stamps) if stamp is None), None)
    if unread is not None:
        row = int(np.argmax(codes == unread))
        why = (
            _why_unread(str(texts[unread]), row)
            if date_format is None
            else (f"does not fit data.date_format '{date_format}'")
        )
        raise DataError(f"{source}: '{str(texts[unread])[:60]}' in data row {row + 1} {why}")
    known = [stamp for stamp in stamps if stamp is not None]
    return Stamps(
        np.array([stamp.day for stamp in known], dtype="datetime64[D]")[codes],
        np.array([stamp.second for stamp in known], dtype=np.int64)[codes],
        np.array([stamp.zoned for stamp in known], dtype=bool)[codes],
    )


def _why_unread(text: str, row: int) -> str:
    """Why a text is not a date, and the remedy. Dates stand in the rows before it."""
    if _EXCEL_SERIAL.fullmatch(text):
        return "is the serial number that Excel gives to a day, not a date: save the dates as text, such as 2004-01-31"
    words = [word for word in re.findall(r"[^\W\d_]+", text) if not _WORDS_OF_DATES.fullmatch(word)]
    no_date = not re.search(r"\d", text) or any(word[:3].lower() not in _MONTHS for word in words)
    if row and no_date:
        return "is not a date, and the rows before it have one: remove this row if it is a footer, else write its date"
    return f"is not a date; {HELP}"


def _texts(cells: pd.Series) -> pd.Series:
    if cells.dtype.kind == "f" and cells.notna().all() and (cells % 1 == 0).all():
        cells = cells.astype("int64")
    texts = cells.astype(str).fillna("").str.strip()
    return texts.str.replace(r"^(\d+)\.0+$", r"\1", regex=True)  # 20140102.0, as pandas writes it beside a blank


def _times(seconds: NDArray[np.int64]) -> str:
    found = [clock(int(second)) for second in np.unique(seconds)]
    return ", ".join(found if len(found) <= 3 else [*found[:3], "..."])


def _reader(texts: Iterable[object], source: str, date_format: str | None) -> Callable[[str], _Stamp | None]:
    if date_format is not None:
        return lambda text: _of_format(text, date_format)
    day_first = _day_first([str(text) for text in texts], source)
    return lambda text: _of_text(text, day_first)


def _of_format(text: str, date_format: str) -> _Stamp | None:
    try:
        return _stamp_of(datetime.strptime(text, date_format))
    except ValueError:
        return None


@lru_cache(maxsize=100_000)  # files of a folder share their days
def _of_text(text: str, day_first: bool) -> _Stamp | None:
    epoch = _EPOCH.fullmatch(text)
    if epoch and len(epoch["count"]) in _EPOCH_UNITS:
        seconds = int(epoch["count"]) // _EPOCH_UNITS[len(epoch["count"])]
        return _stamp_of(datetime.fromtimestamp(seconds, UTC))
    try:
        return _of_parts(text, day_first)
    except ValueError:  # such as the 30th of February
        return None


def _of_parts(text: str, day_first: bool) -> _Stamp | None:
    if found := _YEAR_FIRST.fullmatch(text):
        return _timed(date(int(found["year"]), int(found["month"]), int(found["day"])), found)
    if found := _YEAR_LAST.fullmatch(text):
        day, month = (found["first"], found["other"]) if day_first else (found["other"], found["first"])
        return _timed(date(int(found["year"]), int(month), int(day)), found)
    if found := _MONTH_ALONE.fullmatch(text):
        return _stamp_of(datetime(int(found["year"]), int(found["month"]), 1))
    if found := _MONTH_NAMED.fullmatch(text):
        day, whole = found["before"] or found["after"], len(found["year"]) == 4
        if (found["before"] and found["after"]) or not (day or whole):
            return None
        year = int(found["year"]) + (0 if whole else 2000 if int(found["year"]) < 70 else 1900)
        return _timed(date(year, _month(found["name"]), int(day or 1)), found)
    return None


def _month(name: str) -> int:
    return _MONTHS.index(name[:3].lower()) + 1


def _timed(day: date, found: re.Match[str]) -> _Stamp:
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].upper() == "PM" else 0)
    zone = UTC if found["zone"] else None  # which one makes no difference to the day as written
    return _stamp_of(datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone))


def _stamp_of(moment: datetime) -> _Stamp:
    second = moment.hour * 3600 + moment.minute * 60 + moment.second
    return _Stamp(moment.date(), second, moment.tzinfo is not None)


def _day_first(texts: list[str], source: str) -> bool:
    """Whether dates such as 01/02/2004 begin with the day: with dots they do, else a number beyond 12 decides.

    Raises DataError where none does, or both places have one.
    """
    found = [match for match in map(_YEAR_LAST.fullmatch, texts) if match]
    if not found:
        return True
    largest = {place: max(found, key=lambda match: int(match[place])) for place in ("first", "other")}
    first, other = (int(largest[place][place]) > 12 for place in ("first", "other"))
    if first and other and largest["first"] is not largest["other"]:
        raise DataError(
            f"{source}: '{largest['first'][0]}' begins with the day and '{largest['other'][0]}' with the month: "
            "write all dates in one form, such as 2004-01-31"
        )
    if not first and not other and Counter(match["sign"] for match in found).most_common(1)[0][0] != ".":
        raise DataError(
            f"{source}: '{found[0][0]}' may begin with the day or with the month, and no date of the file tells which: "
            f"say it with --date-format {DAY_FIRST} or --date-format {MONTH_FIRST} (in a config: data.date_format)"
        )
    return not other
