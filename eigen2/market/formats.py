"""From the header names of a table to bars: long, wide, one ticker a file, and yfinance's header rows."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigen2.errors import DataError
from eigen2.market.bars import Bars
from eigen2.market.cells import Table, dates_of, numbers_of, tickers_of

UNDERSTOOD = (
    "long (date, ticker, open, high, low, close, volume), wide closes (date and one column a ticker), "
    "Yahoo or Stooq (date, open, high, low, close, volume), or yfinance's three header rows"
)
_PRICES = ("open", "high", "low", "close")
_ROLES = {
    "date": ("date", "datetime", "timestamp"),
    "ticker": ("ticker", "tic", "symbol", "name"),
    **{name: (name,) for name in _PRICES},
    "volume": ("volume", "vol"),
    **{f"adj_{name}": (f"adj{name}", f"adjusted{name}") for name in _PRICES},
}
_FIELDS = frozenset(_ROLES) - {"date", "ticker"}
_IGNORED = frozenset({"dividends", "stocksplits", "capitalgains", "adjvolume"})


@dataclass(frozen=True)
class Rows:
    """Adjusted bars, one row a ticker and day: `frame` has date, ticker, close and perhaps the other fields."""

    source: str
    columns: tuple[str, ...]
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


def rows_of(table: Table) -> Rows:
    """The rows of a table in any of the understood forms.

    Raises DataError for another header, a text in place of a price, or a date that is none.
    """
    if len(table.header) < 2:
        raise DataError(f"{table.source}: has one column, '{_shown(table.header)}'; understood are {UNDERSTOOD}")
    if table.second is not None:
        return _rows_of_two_headers(table, table.second)
    roles = _roles(table.header)
    if "date" not in roles:
        refuse_header(table.source, table.header)
    if "close" in roles or "adj_close" in roles:
        return _rows_of_long(table, roles)
    return _rows_of_wide(table, roles["date"])


def bars_of(parts: Sequence[Rows], source: str) -> Bars:
    """The bars of one or more sets of rows, days ascending.

    Raises DataError where a ticker has two rows for a day, or there is no row.
    """
    frame = pd.concat([part.frame for part in parts], join="inner", ignore_index=True)
    if frame.empty:
        raise DataError(f"{source}: has a header, but no rows")
    columns = tuple(dict.fromkeys(name for part in parts for name in part.columns))
    dates, day = np.unique(frame["date"].to_numpy(dtype="datetime64[D]"), return_inverse=True)
    column = pd.Index(columns).get_indexer(pd.Index(frame["ticker"]))
    notes = [note for part in parts for note in part.notes]
    notes += _check_order(source, dates, day, columns, column)

    def grid(name: str) -> NDArray[np.float64]:
        cells = np.full((len(dates), len(columns)), np.nan)
        cells[day, column] = frame[name].to_numpy(dtype=np.float64)
        return cells

    closes_only = "open" not in frame
    close = grid("close")
    others = (close, close, close) if closes_only else (grid("open"), grid("high"), grid("low"))
    volume = grid("volume") if "volume" in frame else None
    if closes_only and any("open" in part.frame for part in parts):
        notes.append("some files have closes only: all are read as closes")
    return Bars(dates, columns, *others, close, volume, closes_only, source, tuple(notes))


def refuse_header(source: str, header: Sequence[str]) -> NoReturn:
    """Raise the DataError for a header that is none of the understood."""
    raise DataError(f"{source}: the header '{_shown(header)}' is not one of a market file; understood are {UNDERSTOOD}")


def field_of(name: str) -> str | None:
    """The field (open, adj_close, volume, ...) that a header name stands for, or None."""
    plain = _plain(name)
    return next((role for role in _FIELDS if plain in _ROLES[role]), None)


def is_field_row(names: Sequence[str]) -> bool:
    """Whether every name of a header row is a field, and one of them a close."""
    fields = {field_of(name) for name in names if _plain(name) not in _IGNORED}
    return None not in fields and bool(fields & {"close", "adj_close"})


def text_columns(header: Sequence[str]) -> list[int]:
    """The positions of dates and tickers: kept as text, since a ticker may be `NA`, `TRUE` or `0700`."""
    words = {"", *_ROLES["date"], *_ROLES["ticker"]}
    return [at for at, name in enumerate(header) if _plain(name) in words]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _shown(header: Sequence[str]) -> str:
    text = ", ".join(header)
    return text if len(text) <= 120 else text[:117] + "..."


def _roles(header: Sequence[str]) -> dict[str, int]:
    """The position of each role that a header has a name for."""
    names = [_plain(name) for name in header]
    found = {role: [names.index(alias) for alias in aliases if alias in names] for role, aliases in _ROLES.items()}
    roles = {role: positions[0] for role, positions in found.items() if positions}
    if "date" not in roles and not header[0].strip():
        roles["date"] = 0  # pandas writes an index that has no name under a blank header
    return roles


def _rows_of_long(table: Table, roles: dict[str, int]) -> Rows:
    _refuse_twins(table.source, [role for name in table.header if (role := field_of(name))])
    dates = dates_of(table, roles["date"])
    tickers = tickers_of(table, roles.get("ticker"))

    def place(row: int) -> str:
        return f"column {tickers.iloc[row]} on {dates[row]}"

    fields = {role: numbers_of(table, at, place, role) for role, at in roles.items() if role in _FIELDS}
    fields, notes = _adjusted(fields)
    frame = pd.DataFrame({"date": dates, "ticker": tickers.to_numpy(), **fields})
    return Rows(table.source, tuple(sorted(tickers.unique())), frame, notes)


def _rows_of_wide(table: Table, date_at: int) -> Rows:
    dates = dates_of(table, date_at)
    named = [at for at, name in enumerate(table.header) if at != date_at and name.strip()]
    unnamed = len(table.header) - 1 - len(named)
    names = tuple(table.header[at].strip() for at in named)
    _refuse_twins(table.source, names)
    if not named:
        refuse_header(table.source, table.header)
    parts = [
        _ticker_frame(name, dates, {"close": numbers_of(table, at, _place(name, dates), "close")})
        for at, name in zip(named, names, strict=True)
    ]
    notes = (f"{unnamed} columns without a name were left out",) if unnamed else ()
    return Rows(table.source, names, pd.concat(parts, ignore_index=True), notes)


def _rows_of_two_headers(table: Table, second: tuple[str, ...]) -> Rows:
    fields, tickers = (table.header, second) if is_field_row(table.header[1:]) else (second, table.header)
    dates = dates_of(table, 0)
    names = tuple(dict.fromkeys(name.strip() for name in tickers[1:]))
    if not all(names):
        refuse_header(table.source, tickers)
    pairs = [(name.strip(), field_of(field)) for name, field in zip(tickers[1:], fields[1:], strict=True)]
    _refuse_twins(table.source, [f"{name} {field}" for name, field in pairs if field])
    parts: list[pd.DataFrame] = []
    notes: list[str] = []
    for name in names:
        at = {field: number for number, (owner, field) in enumerate(pairs, 1) if owner == name and field}
        if not {"close", "adj_close"} & set(at):
            raise DataError(f"{table.source}: {name} has no close column")
        values = {field: numbers_of(table, number, _place(name, dates), field) for field, number in at.items()}
        adjusted, note = _adjusted(values)
        parts.append(_ticker_frame(name, dates, adjusted))
        notes += note
    frame = pd.concat(parts, join="inner", ignore_index=True)
    return Rows(table.source, names, frame, tuple(dict.fromkeys(notes)))


def _ticker_frame(name: str, dates: NDArray[np.datetime64], fields: dict[str, NDArray[np.float64]]) -> pd.DataFrame:
    return pd.DataFrame({"date": dates, "ticker": name, **fields})


def _place(name: str, dates: NDArray[np.datetime64]) -> Callable[[int], str]:
    return lambda row: f"column {name} on {dates[row]}"


def _refuse_twins(source: str, names: Sequence[str]) -> None:
    twin = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twin is not None:
        raise DataError(f"{source}: the header names {twin} twice")


def _adjusted(fields: dict[str, NDArray[np.float64]]) -> tuple[dict[str, NDArray[np.float64]], tuple[str, ...]]:
    volume = {"volume": fields["volume"]} if "volume" in fields else {}
    prices = {name: fields[name] for name in _PRICES if name in fields}
    notes: tuple[str, ...] = ()
    if all(f"adj_{name}" in fields for name in _PRICES):
        prices = {name: fields[f"adj_{name}"] for name in _PRICES}
        notes = ("the adjusted prices adj_open, adj_high, adj_low, adj_close were used",)
    elif "adj_close" in fields and "close" in fields:
        prices, notes = _scaled(prices, fields["adj_close"])
    elif "adj_close" in fields:
        prices = {"close": fields["adj_close"]}
        notes = ("only the adjusted close was used: there is no close to adjust the others by",)
    if len(prices) < len(_PRICES):
        left = [name for name in prices if name != "close"]
        notes += (f"read as closes only: {', '.join(left)} without the other prices was left out",) if left else ()
        prices = {"close": prices["close"]}
    return {**prices, **volume}, notes


def _scaled(
    prices: dict[str, NDArray[np.float64]], adjusted: NDArray[np.float64]
) -> tuple[dict[str, NDArray[np.float64]], tuple[str, ...]]:
    close = prices["close"]
    zero = close == 0  # has no ratio; cleaning counts it
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite price: cleaning counts it
        ratio = np.divide(adjusted, close, out=np.ones_like(close), where=~zero)
    scaled = {name: values * ratio for name, values in prices.items()}
    scaled["close"] = np.where(zero, close, adjusted)
    return scaled, ("open, high and low were adjusted by adj_close / close",)


def _check_order(
    source: str,
    dates: NDArray[np.datetime64],
    day: NDArray[np.intp],
    columns: tuple[str, ...],
    column: NDArray[np.intp],
) -> list[str]:
    """The note that rows were out of order, where they were. Raises DataError for two rows of a ticker and day."""
    order = np.argsort(column, kind="stable")
    step, same = np.diff(day[order]), np.diff(column[order]) == 0
    cells = np.sort(column * len(dates) + day)
    twins = cells[1:][np.diff(cells) == 0]
    if len(twins):
        which, when = divmod(int(twins[0]), len(dates))
        raise DataError(f"{source}: column {columns[which]} has more than one row on {dates[when]}; bars must be daily")
    disorder = int(np.count_nonzero(same & (step < 0)))
    return [f"dates were out of order in {disorder} places: sorted"] if disorder else []
