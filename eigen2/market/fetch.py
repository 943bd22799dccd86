"""Downloading daily bars from Yahoo Finance to a market file."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from eigen2.errors import ConfigError, DataError
from eigen2.market.bars import Bars
from eigen2.market.readers import read_bars

_FIELDS = ("Open", "High", "Low", "Close", "Volume")
_OUT = re.compile(r".+\.csv(\.gz)?")


def fetch_bars(tickers: Sequence[str], start: str, end: str, out: Path) -> Bars:
    """Daily bars of `tickers` from day `start` to the day before `end`, written to `out` and read back.

    Prices are adjusted for splits and dividends. `out` becomes a long CSV (date, tic, open, high, low, close, volume),
    complete or absent. Needs the extra `fetch`.
    Raises ConfigError for dates or an `out` that can't be; DataError where yfinance isn't installed, `out` exists, or
    nothing comes back for a ticker.
    """
    names = list(dict.fromkeys(ticker.strip().upper() for ticker in tickers))
    _check(names, start, end, out)
    table = _long(_download(names, start, end), names)
    _write(table, out)
    return read_bars(str(out), allow_pickle=False)


def _check(names: list[str], start: str, end: str, out: Path) -> None:
    if not names or not all(names):
        raise ConfigError("name at least one ticker to fetch, and none blank")
    for text in (start, end):
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) or not _is_date(text):
            raise ConfigError(f"'{text}' is not a date of the form 2004-01-31")
    if start >= end:
        raise ConfigError(f"the first day {start} must be before the end {end}, which isn't fetched itself")
    if not _OUT.fullmatch(out.name):
        raise ConfigError(f"{out}: fetched bars are written as CSV; end the name with .csv or .csv.gz")
    if out.exists():
        raise DataError(f"{out}: exists, and is not overwritten")


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _download(names: list[str], start: str, end: str) -> pd.DataFrame:
    try:
        import yfinance
    except ImportError as error:
        raise DataError("fetching needs yfinance, which isn't installed: pip install 'eigen2[fetch]'") from error
    try:
        frame = yfinance.download(
            names, start=start, end=end, auto_adjust=True, group_by="column", progress=False, threads=False
        )
    except (OSError, yfinance.exceptions.YFException) as error:
        raise DataError(f"Yahoo Finance can't be reached or refused: {error}") from error
    if frame is None or frame.empty:
        raise DataError(
            f"nothing came back from Yahoo Finance for {', '.join(names)} from {start} to {end}: "
            "check the names, the dates and the network"
        )
    return frame


def _long(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    closes = frame["Close"]
    absent = [name for name in names if name not in closes or closes[name].isna().all()]
    if absent:
        raise DataError(f"nothing came back from Yahoo Finance for {', '.join(absent)}: check the names and the dates")
    parts = {name: frame.xs(name, axis=1, level=1)[list(_FIELDS)] for name in names}
    long = pd.concat(parts, names=["tic", "date"]).rename(columns=str.lower).dropna(subset=["close"]).reset_index()
    long["date"] = long["date"].dt.strftime("%Y-%m-%d")
    return long[["date", "tic", "open", "high", "low", "close", "volume"]].sort_values(["date", "tic"])


def _write(table: pd.DataFrame, out: Path) -> None:
    aside = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(aside, index=False, compression="gzip" if out.suffix == ".gz" else None)
        aside.replace(out)
    except OSError as error:
        raise DataError(f"{out}: can't be written ({error.strerror})") from error
    finally:
        aside.unlink(missing_ok=True)
