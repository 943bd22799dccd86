"""The cells of a table as tickers and numbers."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigen2.errors import DataError
from eigen2.market.days import Stamps, stamps_of

MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "--", ".", "n.a.", "#n/a", "#na")
_CURRENCY = r"^([-+]?)\s*[$€£¥₹]\s*|\s*[$€£¥₹]$"
# 1,5 and 1.234,50, but not 1,234, which may be a thousand; and the same with the signs exchanged
_COMMA = re.compile(r"[-+]?(\d+,(\d{1,2}|\d{4,})|0,\d+|\d{1,3}(\.\d{3})+,\d*)")
_POINT = re.compile(r"[-+]?(\d*\.(\d{1,2}|\d{4,})|0?\.\d+|\d{1,3}(,\d{3})+\.\d*|\d{1,3}(,\d{3}){2,})(e[-+]?\d+)?", re.I)
_ANY_COMMA = re.compile(r"\d,\d")
_SPACED = r"(?<=\d)[\s'\u2019](?=\d{3}(?!\d))"
_THOUSANDS = r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?"
_EXCHANGED = str.maketrans(",.", ".,")
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*(?::|/|-?\s*for\s*-?)\s*(\d*[1-9]\d*(?:\.\d+)?)", re.I)  # 4:1, 4-for-1
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


@dataclass(frozen=True)
class Table:
    """A file's cells. `header` names the columns 0, 1, ... of `frame`; `second` is a second header row.

    source: the file's name, for messages; stem: the ticker where the file has one ticker and no name for it.
    date_format: the form of its dates, None: to be recognised. comma: decimals are written 1,5.
    notes: what reading changed, a sentence each.
    """

    source: str
    stem: str
    header: tuple[str, ...]
    second: tuple[str, ...] | None
    frame: pd.DataFrame
    date_format: str | None = None
    comma: bool = False
    notes: tuple[str, ...] = ()


def dates_of(table: Table, at: int) -> Stamps:
    """The dates of column `at`. Raises DataError for what is none."""
    return stamps_of(table.frame[at], table.source, table.date_format)


def tickers_of(table: Table, at: int | None) -> pd.Series:
    """The tickers of column `at`; the file's stem where there is no such column. Raises DataError for a blank."""
    if at is None:
        return pd.Series([table.stem] * len(table.frame), dtype=str)
    names = table.frame[at].astype(str).str.strip()
    blank = (names.isna() | names.eq("")).to_numpy()
    if blank.any():
        raise DataError(f"{table.source}: data row {int(np.argmax(blank)) + 1} has no ticker")
    return names.reset_index(drop=True)


def numbers_of(table: Table, at: int, place: Callable[[int], str], field: str) -> NDArray[np.float64]:
    """The numbers of column `at`, NaN where there is none: 1234.5, 1,234.5, 1.234,5, $1234.5; a volume may be 1.2M.

    A split may be 4:1 or 4-for-1, new shares for old.
    Raises DataError for a text; `place(row)` says where that is, `field` what it should have been.
    """
    values = table.frame[at]
    if values.dtype.kind in "iuf":
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    text = values.astype(str).str.strip()
    missing = missing_in(values)
    if field == "splits":
        text = text.map(_quotient, na_action="ignore")
    numbers = _numbers(text.where(~missing), table.comma, units=field == "volume")
    wrong = np.isnan(numbers) & ~missing
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{table.source}: {place(row)}: {field} is '{str(values.iloc[row])[:60]}', not a number")
    return numbers


def _quotient(text: str) -> str:
    """A split written as a ratio as its number, else the text as it is."""
    ratio = _RATIO.fullmatch(text)
    return str(float(ratio[1]) / float(ratio[2])) if ratio else text


def missing_in(values: pd.Series) -> NDArray[np.bool_]:
    """Whether each cell is empty, or a word for it."""
    text = values.astype(str).str.strip()
    missing: NDArray[np.bool_] = (values.isna() | text.isna() | text.str.lower().isin(MISSING)).to_numpy()
    return missing


def is_text(values: pd.Series) -> bool:
    """Whether a column has cells, and none of them is a number."""
    if values.dtype.kind in "iufb":
        return False
    text = values.astype(str).str.strip().where(~missing_in(values)).dropna()
    return bool(len(text)) and bool(np.isnan(_numbers(text, comma=False, units=True)).all())


def has_commas(cells: list[str]) -> bool:
    """Whether cells that no comma separates have commas between digits, and none of them a decimal point."""
    return any(map(_ANY_COMMA.search, cells)) and not any(map(_POINT.fullmatch, cells))


def _writes_comma(cells: list[str]) -> bool:
    """Whether some of the cells have a decimal comma for certain, and none has a decimal point."""
    return any(map(_COMMA.fullmatch, cells)) and not any(map(_POINT.fullmatch, cells))


def _numbers(text: pd.Series, comma: bool, units: bool) -> NDArray[np.float64]:
    if not comma:
        numbers = pd.to_numeric(text, errors="coerce").astype(np.float64)
        if not (numbers.isna() & text.notna()).any():
            return np.asarray(numbers, dtype=np.float64)
    # what stands in numbers besides digits: a currency's sign, spaces and apostrophes between thousands
    text = text.str.replace(_CURRENCY, r"\1", regex=True).str.replace(
        r"(?<=\d)[\s'\u2019](?=\d{3}(?!\d))", "", regex=True
    )
    factor = pd.Series(1.0, index=text.index)
    if units:
        unit = text.str[-1:].str.lower().map(_UNITS)
        text, factor = text.where(unit.isna(), text.str[:-1]), unit.fillna(1.0)
    if comma or _writes_comma(list(text.dropna())):
        text = text.str.translate(_EXCHANGED)
    grouped = text.str.fullmatch(_THOUSANDS).fillna(False).astype(bool)
    text = text.where(~grouped, text.str.replace(",", "", regex=False))
    return np.asarray(pd.to_numeric(text, errors="coerce").astype(np.float64) * factor, dtype=np.float64)
