"""From the header names of a table to bars: long, wide, one ticker a file, and yfinance's header rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigen2.errors import DataError
from eigen2.market.adjusting import adjusted, without_splits
from eigen2.market.bars import Bars
from eigen2.market.cells import Table, dates_of, is_text, numbers_of, tickers_of
from eigen2.market.days import Stamps, clock
from eigen2.market.headers import (
    FIELDS,
    NO_STOCK,
    PRICES,
    ROLES,
    UNDERSTOOD,
    field_of,
    is_field_row,
    is_nameless,
    pairs_of,
    plain,
    refuse_header,
    refuse_twins,
    refuse_unclosed,
    roles_of,
    shown,
    unread,
)  # fmt: skip

Fields = dict[str, dict[str, int]]  # of each ticker, the position of each field

_LONGEST_NAME = 255  # letters, as of a file's name
_SHOWN_OF_NAME = 40
_ENOUGH_ROWS = 20  # to tell that a column counts, and is no price
_JUMP, _RARE = 0.15, 10.0  # the least logarithm of a jump between prices of two tickers; in ordinary moves
_KEYS = ["date", "second", "ticker"]


@dataclass(frozen=True)
class Rows:
    """Adjusted bars, one row a ticker and day.

    `frame` has date, second (of the day), ticker, close and perhaps open, high, low, volume, splits.
    """

    source: str
    columns: tuple[str, ...]
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


def rows_of(table: Table) -> Rows:
    """The rows of a table in any of the understood forms.

    Raises DataError for another header, a text in place of a price, or a date that is none.
    """
    if len(table.header) < 2:
        raise DataError(f"{table.source}: has one column, '{shown(table.header)}'; understood are {UNDERSTOOD}")
    if table.second is not None:
        return _rows_of_two_headers(table, table.second)
    roles = roles_of(table.source, table.header)
    if "date" not in roles:
        refuse_header(table.source, table.header)
    if "close" in roles or "adj_close" in roles:
        return _rows_of_long(table, roles)
    return _rows_of_wide(table, roles["date"])


def bars_of(parts: Sequence[Rows], source: str) -> Bars:
    """The bars of one or more sets of rows, days ascending, adjusted for the splits that they list.

    Raises DataError where a ticker has two rows for a day, its name can't be shown, or there is no row.
    """
    frame, notes = _joined([part.frame for part in parts], [note for part in parts for note in part.notes])
    if frame.empty:
        raise DataError(f"{source}: has a header, but no rows")
    columns = tuple(dict.fromkeys(name for part in parts for name in part.columns))
    _check_names(source, columns)
    frame, repeated = _without_repeated(frame)
    dates, day = np.unique(frame["date"].to_numpy(dtype="datetime64[D]"), return_inverse=True)
    column = pd.Index(columns).get_indexer(pd.Index(frame["ticker"]))
    _refuse_two_rows_a_day(source, frame)
    notes += repeated + _disorder(day, column)

    def grid(name: str) -> NDArray[np.float64]:
        cells = np.full((len(dates), len(columns)), np.nan)
        cells[day, column] = frame[name].to_numpy(dtype=np.float64)
        return cells

    closes_only = "open" not in frame
    close = grid("close")
    others = (close, close, close) if closes_only else (grid("open"), grid("high"), grid("low"))
    volume = grid("volume") if "volume" in frame else None
    bars = Bars(dates, columns, *others, close, volume, closes_only, source, tuple(dict.fromkeys(notes)))
    return without_splits(bars, grid("splits")) if "splits" in frame else bars


def _rows_of_long(table: Table, roles: dict[str, int]) -> Rows:
    refuse_twins(table.source, [plain(name) for name in table.header if field_of(name)])
    stamps = dates_of(table, roles["date"])
    others = unread(table.header, roles.values())
    if "ticker" not in roles:
        _refuse_hidden_ticker(table, stamps, others, roles.get("close", roles.get("adj_close", 0)))
    tickers = tickers_of(table, roles.get("ticker"))

    def place(row: int) -> str:
        return f"column {tickers.iloc[row]} on {stamps.days[row]}"

    fields = {role: numbers_of(table, at, place, role) for role, at in roles.items() if role in FIELDS}
    fields, notes = adjusted(fields)
    stamps, dropped = _on_exchange_days(stamps, tickers)
    left = (f"columns not read: {shown(table.header[at] for at in others)}",) if others else ()
    frame = _frame(stamps, tickers.to_numpy(), fields)
    return Rows(table.source, tuple(sorted(tickers.unique())), frame, (*table.notes, *notes, *dropped, *left))


def _rows_of_wide(table: Table, date_at: int) -> Rows:
    for at, name in enumerate(table.header):
        if plain(name) in ROLES["ticker"] and is_text(table.frame[at]):
            raise DataError(f"{table.source}: `{name}` holds tickers, but no column is a close: name it `close`")
    stamps = dates_of(table, date_at)
    fields, left = _fields_of_wide(table, date_at, stamps)
    if not fields:
        refuse_header(table.source, table.header)
    notes = (f"columns that are no prices were left out: {shown(left)}",) if left else ()
    return _rows_of_fields(replace(table, notes=table.notes + notes), stamps, fields)


def _rows_of_two_headers(table: Table, second: tuple[str, ...]) -> Rows:
    header, tickers = (table.header, second) if is_field_row(table.header[1:]) else (second, table.header)
    stamps = dates_of(table, 0)
    names = [name.strip() for name in tickers]
    if not all(names[1:]):
        refuse_header(table.source, tickers)
    pairs = {at: (names[at], field) for at in range(1, len(names)) if (field := field_of(header[at]))}
    return _rows_of_fields(table, stamps, {name: {} for name in names[1:]} | _by_ticker(table.source, pairs))


def _fields_of_wide(table: Table, date_at: int, stamps: Stamps) -> tuple[Fields, list[str]]:
    """The position of each field of each ticker of a wide table, and the names of the columns that are no prices."""
    at_name = {at: name.strip() for at, name in enumerate(table.header) if at != date_at and not is_nameless(name)}
    names = list(at_name.values())
    refuse_twins(table.source, names)
    refuse_unclosed(table.source, names)
    pairs = {at: pair or (name, "close") for (at, name), pair in zip(at_name.items(), pairs_of(names), strict=True)}
    pairs = {at: pair for at, pair in pairs.items() if pair[1] in FIELDS and not _is_no_price(table, at, stamps)}
    fields = _by_ticker(table.source, pairs)
    fields = {ticker: own for ticker, own in fields.items() if {"close", "adj_close"} & set(own)}
    words = [ticker for ticker, own in fields.items() if all(_is_no_series(table.frame[at]) for at in own.values())]
    if len(words) < len(fields):
        fields = {ticker: own for ticker, own in fields.items() if ticker not in words}
    read = {at for own in fields.values() for at in own.values()}
    left = [name.strip() or "one without a name" for at, name in enumerate(table.header) if at not in {*read, date_at}]
    return fields, left


def _by_ticker(source: str, pairs: Mapping[int, tuple[str, str]]) -> Fields:
    """The position of each field of each ticker. Raises DataError where two columns are the same field."""
    refuse_twins(source, [f"{name} {field}" for name, field in pairs.values()])
    fields: Fields = {}
    for at, (name, field) in pairs.items():
        fields.setdefault(name, {})[field] = at
    return fields


def _is_no_price(table: Table, at: int, stamps: Stamps) -> bool:
    """Whether a column has the name of something else, or counts its rows, or repeats a part of their dates."""
    name = table.header[at]
    if plain(name) in NO_STOCK or field_of(name) in ("volume", "splits"):
        return True
    values = table.frame[at]
    if values.dtype.kind not in "iuf" or len(values) < _ENOUGH_ROWS:
        return False
    numbers = values.to_numpy(dtype=np.float64)
    if (numbers % 1 != 0).any():
        return False
    steps = np.diff(numbers)
    counted = numbers.min() in (0, 1) and bool((steps == 1).all() or (steps == -1).all())
    return counted or any(np.array_equal(numbers, part) for part in _parts_of(pd.DatetimeIndex(stamps.days)))


def _parts_of(days: pd.DatetimeIndex) -> list[pd.Index | pd.Series]:
    """What a column may repeat of its dates."""
    of_year = days.day_of_year
    weekdays = days.day_of_week, days.day_of_week + 1
    weeks = days.isocalendar().week, (of_year - 1) // 7 + 1
    return [days.year, days.quarter, days.month, days.day, of_year, *weekdays, *weeks]


def _is_no_series(values: pd.Series) -> bool:
    """Whether a column holds words, or one value over many rows."""
    known = values.dropna()
    return is_text(values) or (len(known) >= _ENOUGH_ROWS and known.nunique() == 1)


def _rows_of_fields(table: Table, stamps: Stamps, fields: Fields) -> Rows:
    """The rows of a table in which all tickers share their dates and each has columns of its own."""
    frames: list[pd.DataFrame] = []
    notes: dict[str, Sequence[str]] = {}
    for name, own in fields.items():
        if not {"close", "adj_close"} & set(own):
            raise DataError(f"{table.source}: {name} has no close column")
        place = _place(name, stamps)
        values = {field: numbers_of(table, at, place, field) for field, at in own.items() if field in FIELDS}
        prices, adjusting = adjusted(values)
        # where times of day differ, a row may be that of another exchange
        there = np.isfinite(prices["close"]) | ~stamps.seconds.any()
        here, dropped = stamps.at(there).on_exchange_days()
        frames.append(_frame(here, name, {field: numbers[there] for field, numbers in prices.items()}))
        notes[name] = [*adjusting, *dropped]
    frame, every = _joined(frames, [*table.notes, *by_ticker(notes)])
    return Rows(table.source, tuple(fields), frame, tuple(every))


def by_ticker(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """The notes of tickers, each once; the tickers are named where a note is not about all."""
    owners: dict[str, list[str]] = {}
    for ticker, own in notes.items():
        for note in own:
            owners.setdefault(note, []).append(ticker)
    return [note if len(named) == len(notes) else f"{note} ({shown(named)})" for note, named in owners.items()]


def _place(name: str, stamps: Stamps) -> Callable[[int], str]:
    return lambda row: f"column {name} on {stamps.days[row]}"


def _frame(stamps: Stamps, tickers: object, fields: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    return pd.DataFrame({"date": stamps.days, "second": stamps.seconds, "ticker": tickers, **fields})


def _joined(frames: Sequence[pd.DataFrame], notes: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The rows of all frames. Where some have closes only, all do, and a note says so."""
    whole = [frame for frame in frames if "open" in frame]
    fields = [*_KEYS, *(PRICES if len(whole) == len(frames) else ["close"])]
    fields += [field for field in ("volume", "splits") if any(field in frame for frame in frames)]
    if 0 < len(whole) < len(frames):
        notes = [*notes, "some tickers have closes only: all are read as closes"]
    return pd.concat([frame.reindex(columns=fields) for frame in frames], ignore_index=True), notes


def _on_exchange_days(stamps: Stamps, tickers: pd.Series) -> tuple[Stamps, tuple[str, ...]]:
    """The stamps on the days of each ticker's exchange, and notes of what was dropped."""
    if not stamps.seconds.any():
        return stamps, ()
    days = stamps.days.copy()
    notes: dict[str, Sequence[str]] = {}
    for name, rows in tickers.groupby(tickers).indices.items():
        own, notes[str(name)] = stamps.at(np.asarray(rows)).on_exchange_days()
        days[rows] = own.days
    return replace(stamps, days=days), tuple(by_ticker(notes))


def _refuse_hidden_ticker(table: Table, stamps: Stamps, others: Sequence[int], close_at: int) -> None:
    """Raise DataError where a column that has no role seems to hold tickers: two of them must not become one."""
    days = pd.Series(stamps.days)
    several = bool(days.duplicated().any()) and not stamps.seconds.any()
    for at in others:
        values = table.frame[at].reset_index(drop=True)
        if not 1 < values.nunique() <= len(values) / 2 or plain(table.header[at]) in NO_STOCK:
            continue
        rows = pd.DataFrame({"day": days, "value": values}).drop_duplicates()
        ordered = rows.sort_values("day", kind="stable")["value"]
        blocks = int((ordered != ordered.shift()).sum())
        one_a_day = len(rows) > days.nunique() and len(rows) == len(table.frame.drop_duplicates())
        in_blocks = not several and blocks == values.nunique()
        # numbers in blocks may also be a year or a flag: prices of another ticker are elsewhere
        if (several and one_a_day) or (in_blocks and (is_text(values) or _prices_jump(table, stamps, at, close_at))):
            raise DataError(
                f"{table.source}: no ticker column recognised; is it `{table.header[at]}`? Then rename it `ticker`, "
                "else remove it"
            )


def _prices_jump(table: Table, stamps: Stamps, at: int, close_at: int) -> bool:
    """Whether closes jump wherever the whole numbers of a column change."""
    order = np.argsort(stamps.days, kind="stable")
    values = table.frame[at].iloc[order]
    if values.dtype.kind not in "iuf" or (values % 1 != 0).any():
        return False
    close = numbers_of(table, close_at, _place(table.stem, stamps), "close")[order]
    with np.errstate(invalid="ignore", divide="ignore"):  # cleaning counts prices of zero
        moves = np.abs(np.diff(np.log(close)))
    change = np.diff(values.to_numpy(dtype=np.float64)) != 0
    return bool((moves[change] > max(_JUMP, _RARE * np.nanmedian(moves))).all())


def _check_names(source: str, columns: Sequence[str]) -> None:
    for name in columns:
        if not name.isprintable():
            raise DataError(f"{source}: the ticker '{name[:_SHOWN_OF_NAME]}' holds control characters: rename it")
        if len(name) > _LONGEST_NAME:
            start = name[:_SHOWN_OF_NAME]
            raise DataError(f"{source}: the ticker '{start}...' has {len(name)} letters: shorten it to {_LONGEST_NAME}")


def _without_repeated(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows without exact copies of others, and how many these were."""
    if not frame.duplicated(_KEYS).any():
        return frame, []
    again = frame.duplicated()
    return frame[~again], [f"{int(again.sum())} rows were exact copies of others: left out"] if again.any() else []


def _refuse_two_rows_a_day(source: str, frame: pd.DataFrame) -> None:
    twins = frame.duplicated(["date", "ticker"], keep=False)
    if not twins.any():
        return
    first = frame[twins].iloc[0]
    rows = frame[(frame["date"] == first["date"]) & (frame["ticker"] == first["ticker"])]
    where = f"{source}: column {first['ticker']} has more than one row on {first['date']:%Y-%m-%d}"
    times = sorted(set(rows["second"]))
    if len(times) > 1:
        some = ", ".join([*map(clock, times[:3]), *(["..."] if len(times) > 3 else [])])
        raise DataError(f"{where}: {len(times)}, at {some}; bars must be daily: make one bar a day of them")
    closes = " and ".join(f"{close:g}" for close in rows["close"][:2])
    raise DataError(f"{where}, with the closes {closes}; bars must be daily: keep one row a day")


def _disorder(day: NDArray[np.intp], column: NDArray[np.intp]) -> list[str]:
    order = np.argsort(column, kind="stable")
    step, same = np.diff(day[order]), np.diff(column[order]) == 0
    disorder = int(np.count_nonzero(same & (step < 0)))
    return [f"dates were out of order in {disorder} places: sorted"] if disorder else []
