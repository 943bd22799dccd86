"""Opening market files: CSV, compressed CSV, Parquet, a folder of them, and the embedded data."""

import csv
import gzip
import io
import pickle
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from eigen2.errors import DataError
from eigen2.market.bars import Bars
from eigen2.market.cells import MISSING, Table
from eigen2.market.formats import Rows, bars_of, is_field_row, rows_of, text_columns

EMBEDDED = "sp20"
_EMBEDDED_FILE = "sp20_close_2004_2022.csv.gz"
_GZIP = b"\x1f\x8b"
_TEXT = (".csv", ".txt")
_PARQUET = (".parquet", ".pq")
_PICKLE = (".pkl", ".pickle")
_MISSING_TEXTS = sorted({form for text in MISSING for form in (text, text.upper(), text.title(), "NaN")})
_BROKEN_PICKLE = (
    pickle.UnpicklingError, EOFError, ImportError, AttributeError, LookupError, ValueError, TypeError, OSError
)  # fmt: skip


def read_bars(source: str, allow_pickle: bool) -> Bars:
    """The bars of `source`: `sp20` (embedded), a file, or a folder with one CSV a ticker.

    A file is recognised by its header names. Pickles are read only where `allow_pickle` is true.
    Raises DataError, naming the file, where it can't be read or isn't a market file.
    """
    if source == EMBEDDED:
        data = resources.files("eigen2.market").joinpath("data", _EMBEDDED_FILE).read_bytes()
        return bars_of([rows_of(_csv_table(data, EMBEDDED, EMBEDDED))], EMBEDDED)
    path = Path(source)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise DataError(f"{source}: there is no such file or folder; `{EMBEDDED}` names the embedded data")
    return bars_of([rows_of(_table(path, allow_pickle))], source)


def _read_folder(folder: Path) -> Bars:
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if _is_text(path)]
    if not files:
        raise DataError(f"{folder}: has no .csv or .txt file, one for each ticker")
    bars = bars_of([_rows_of_one(path) for path in files], str(folder))
    others = [path.name for path in visible if path not in files]
    notes = (*dict.fromkeys(bars.notes), *(f"{name} is not a CSV file: left out" for name in others))
    return replace(bars, notes=notes)


def _rows_of_one(path: Path) -> Rows:
    rows = rows_of(_table(path, allow_pickle=False))
    if len(rows.columns) > 1:
        raise DataError(f"{path}: has {len(rows.columns)} tickers; in a folder each file holds one")
    ticker = _stem(path)
    return Rows(rows.source, (ticker,), rows.frame.assign(ticker=ticker), rows.notes)


def _is_text(path: Path) -> bool:
    return path.is_file() and path.name.lower().removesuffix(".gz").endswith(_TEXT)


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".gz", *_TEXT):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name


def _table(path: Path, allow_pickle: bool) -> Table:
    suffix = path.suffix.lower()
    if suffix in _PICKLE:
        return _frame_table(_read_pickle(path, allow_pickle), path)
    if suffix in _PARQUET:
        return _frame_table(_read_parquet(path), path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from error
    return _csv_table(data, str(path), _stem(path))


def _read_pickle(path: Path, allow_pickle: bool) -> pd.DataFrame:
    if not allow_pickle:
        raise DataError(
            f"{path}: is a pickle, and reading one runs code that is in it; "
            "if the file is of your own making, set data.allow_pickle to true"
        )
    try:
        frame = pd.read_pickle(path)
    except _BROKEN_PICKLE as error:
        raise DataError(f"{path}: is no pickle that can be read ({error})") from error
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{path}: holds a {type(frame).__name__}, not a pandas DataFrame")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: is no Parquet file that can be read ({error})") from error


def _frame_table(frame: pd.DataFrame, path: Path) -> Table:
    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis(index="date")
    named = [name for name in frame.index.names if name is not None]
    if named:
        frame = frame.reset_index(drop=any(name in frame.columns for name in named))
    if not isinstance(frame.columns, pd.MultiIndex):
        return _numbered(frame, path, tuple(str(name) for name in frame.columns), None)
    if frame.columns.nlevels != 2:
        raise DataError(f"{path}: has {frame.columns.nlevels} header rows; one, or yfinance's two, are understood")
    first, second = (tuple(str(name) for name in frame.columns.get_level_values(level)) for level in (0, 1))
    if not is_field_row(first[1:]) and not is_field_row(second[1:]):
        raise DataError(f"{path}: has two header rows, but neither names open, high, low, close")
    return _numbered(frame, path, first, second)


def _numbered(frame: pd.DataFrame, path: Path, header: tuple[str, ...], second: tuple[str, ...] | None) -> Table:
    return Table(str(path), _stem(path.with_suffix("")), header, second, frame.set_axis(range(len(header)), axis=1))


def _csv_table(data: bytes, source: str, stem: str) -> Table:
    text = _text(data, source)
    if not text.strip():
        raise DataError(f"{source}: is empty")
    try:
        rows = [tuple(row) for row in csv.reader(text.split("\n", 3)[:3])]
    except csv.Error as error:
        raise DataError(f"{source}: has a header that can't be read ({error})") from error
    if len(rows) == 3 and _is_yfinance(rows):
        return Table(source, stem, rows[0], rows[1], _cells(text, 3, source, len(rows[0]), []))
    return Table(source, stem, rows[0], None, _cells(text, 1, source, len(rows[0]), text_columns(rows[0])))


def _text(data: bytes, source: str) -> str:
    try:
        text = (gzip.decompress(data) if data[:2] == _GZIP else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{source}: is a damaged .gz file ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: is not a text file in UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")


def _is_yfinance(rows: list[tuple[str, ...]]) -> bool:
    first, second, third = rows
    same = len(first) == len(second) > 1
    dated = third[:1] != () and third[0].strip().lower() == "date" and not any(cell.strip() for cell in third[1:])
    return same and dated and (is_field_row(first[1:]) or is_field_row(second[1:]))


def _cells(text: str, header_lines: int, source: str, width: int, texts: Sequence[int]) -> pd.DataFrame:
    """The cells under the header, in columns 0 .. width - 1; those of `texts` stay text."""
    missing: Any = {at: _MISSING_TEXTS for at in range(width) if at not in texts}  # the stubs want str keys
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # pandas only warns of cells it drops
            return pd.read_csv(
                io.StringIO(text),
                header=None,
                skiprows=header_lines,
                names=range(width),
                index_col=False,
                dtype=dict.fromkeys(texts, str),
                na_values=missing,
                keep_default_na=False,
                low_memory=False,
            )
    except pd.errors.ParserWarning as error:
        raise DataError(f"{source}: its rows have more cells than its header") from error
    except (ValueError, OverflowError) as error:
        raise DataError(f"{source}: is no CSV that can be read ({str(error).strip()})") from error
