"""The cells of a table as dates, tickers and numbers."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigen2.errors import DataError

MISSING = ("", "na", "n/a", "nan", "null", "none", "-")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}")


@dataclass(frozen=True)
class Table:
    """A file's cells. `header` names the columns 0, 1, ... of `frame`; `second` is a second header row.

    source: the file's name, for messages; stem: the ticker where the file has one ticker and no name for it.
    """

    source: str
    stem: str
    header: tuple[str, ...]
    second: tuple[str, ...] | None
    frame: pd.DataFrame


def dates_of(table: Table, at: int) -> NDArray[np.datetime64]:
    """The days of column `at`, datetime64[D]: 2004-01-31, 2004/01/31 or 20040131, what follows is left out.

    Raises DataError for anything else: 1/2/2004 may be January or February.
    """
    text = table.frame[at].astype(str).str.strip().str.slice(0, 10).str.replace("/", "-")
    good = text.str.fullmatch(_DAY).fillna(False)
    days = pd.to_datetime(text.where(good), format="ISO8601", errors="coerce")
    if days.isna().any():
        row = int(np.argmax(days.isna()))
        found = table.frame[at].iloc[row]
        raise DataError(f"{table.source}: '{found}' in data row {row + 1} is not a date of the form 2004-01-31")
    return days.to_numpy(dtype="datetime64[D]")


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
    """The numbers of column `at`, NaN where there is none.

    Raises DataError for a text; `place(row)` says where that is, `field` what it should have been.
    """
    values = table.frame[at]
    if values.dtype.kind in "iuf":
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    text = values.astype(str).str.strip()
    missing = (values.isna() | text.isna() | text.str.lower().isin(MISSING)).to_numpy()
    numbers = pd.to_numeric(text.where(~missing), errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.isnan(numbers) & ~missing
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{table.source}: {place(row)}: {field} is '{values.iloc[row]}', not a number")
    return numbers
