"""Opening market files: CSV, compressed CSV, Parquet, a folder of them, and the embedded data."""

import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eigen2.errors import DataError, brief_name
from eigen2.market.bars import Bars
from eigen2.market.cells import Table
from eigen2.market.formats import Rows, bars_of, by_ticker, rows_of
from eigen2.market.headers import is_field_row
from eigen2.market.text import LARGEST_TEXT, READABLE, text_table, too_large

EMBEDDED = "sp20"
LARGEST_TABLE = 2 * 10**9  # bytes of a Parquet file's cells in memory; pandas makes as many again
_EMBEDDED_FILE = "sp20_close_2004_2022.csv.gz"
_TEXT = (".csv", ".txt")
_PARQUET = (".parquet", ".pq")
_PICKLE = (".pkl", ".pickle")
_EXCEL = (".xlsx", ".xlsm", ".xls", ".ods")
_MONTH_OR_DAY = re.compile(r"(?P<ticker>.+)[-_.](?:19|20)\d\d-(?:0[1-9]|1[0-2])(?:-\d\d)?")  # BTCUSDT-1d-2017-01
_CELL = 8  # bytes of a number
_DECIMAL = 16
_BROKEN_PICKLE = (
    pickle.UnpicklingError, EOFError, ImportError, AttributeError, LookupError, ValueError, TypeError, OSError
)  # fmt: skip


def read_bars(source: str, allow_pickle: bool, date_format: str | None = None) -> Bars:
    """The bars of `source`: `sp20` (embedded), a file, or a folder with one file a ticker, or one a ticker and month.

    A file is recognised by its header names. Pickles are read only where `allow_pickle` is true. `date_format` is the
    form of all dates, as in `strptime`; none: they are recognised.
    Raises DataError, naming the file, where it can't be read or isn't a market file.
    """
    if source == EMBEDDED:
        data = resources.files("eigen2.market").joinpath("data", _EMBEDDED_FILE).read_bytes()
        return bars_of([rows_of(text_table(data, EMBEDDED, EMBEDDED))], EMBEDDED)
    path = Path(source)
    if path.is_dir():
        return _read_folder(path, date_format)
    if not path.is_file():
        raise DataError(f"{source}: there is no such file or folder; `{EMBEDDED}` names the embedded data")
    return bars_of([rows_of(_table(path, allow_pickle, date_format))], source)


def _read_folder(folder: Path, date_format: str | None) -> Bars:
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if path.is_file() and _stem(path) != path.name]
    if not files:
        raise DataError(f"{folder}: has no .csv, .txt or .parquet file, one for each ticker; {READABLE} read")
    owners: dict[str, Path] = {}
    for path in files:
        if other := owners.get(_stem(path)):
            raise DataError(f"{folder}: {other.name} and {path.name} are both of {_stem(path)}: remove or rename one")
        owners[_stem(path)] = path
    tickers = _tickers_of(files)
    parts = [_rows_of_one(path, tickers[path], date_format) for path in files]
    notes = by_ticker({ticker: _notes_of(folder, ticker, parts) for ticker in dict.fromkeys(tickers.values())})
    notes += [f"{path.name} is no CSV or Parquet file: left out" for path in visible if path not in files]
    bars = bars_of([replace(part, notes=()) for part in parts], str(folder))
    return replace(bars, notes=(*notes, *bars.notes))


def _tickers_of(files: Sequence[Path]) -> dict[Path, str]:
    """The ticker of each file: its stem; without a month or day at its end where several files then have one ticker."""
    short = {
        path: dated["ticker"] if (dated := _MONTH_OR_DAY.fullmatch(_stem(path))) else _stem(path) for path in files
    }
    joined = len(set(short.values())) < len(files)
    return short if joined else {path: _stem(path) for path in files}


def _notes_of(folder: Path, ticker: str, parts: Sequence[Rows]) -> list[str]:
    """The notes of the files of a ticker. Raises DataError where two of them hold the same day."""
    own = [part for part in parts if part.columns == (ticker,)]
    owners: dict[pd.Timestamp, str] = {}
    for part in own if len(own) > 1 else ():
        name = Path(part.source).name
        for day in part.frame["date"].unique():
            if other := owners.get(day):
                raise DataError(
                    f"{folder}: {other} and {name} both hold {day:%Y-%m-%d} of {ticker}: remove the day from one"
                )
        owners |= dict.fromkeys(part.frame["date"], name)
    joined = [f"joined from {len(own)} files"] if len(own) > 1 else []
    return list(dict.fromkeys([*joined, *(note for part in own for note in part.notes)]))


def _rows_of_one(path: Path, ticker: str, date_format: str | None) -> Rows:
    rows = rows_of(_table(path, allow_pickle=False, date_format=date_format))
    if len(rows.columns) > 1:
        raise DataError(f"{path}: has {len(rows.columns)} tickers; in a folder each file holds one")
    return Rows(rows.source, (ticker,), rows.frame.assign(ticker=ticker), rows.notes)


def _stem(path: Path) -> str:
    """A file's name without the end that tells a readable kind."""
    name = path.name
    for suffix in (".gz", *_TEXT, *_PARQUET):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
    return name


def _table(path: Path, allow_pickle: bool, date_format: str | None) -> Table:
    suffix = path.suffix.lower()
    if suffix in _PICKLE:
        return replace(_frame_table(_read_pickle(path, allow_pickle), path), date_format=date_format)
    if suffix in _PARQUET:
        return replace(_frame_table(_read_parquet(path), path), date_format=date_format)
    if suffix in _EXCEL:
        raise DataError(f"{path}: is an Excel file; Excel is not read: save the sheet as CSV or Parquet")
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise DataError(f"{path}: has more than {too_large(LARGEST_TEXT)}, or save it as Parquet")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from error
    return text_table(data, str(path), _stem(path), date_format)


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
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            for field in schema:
                if not _is_readable(field.type):
                    raise DataError(
                        f"{path}: column {brief_name(field.name)} holds {field.type}; a column holds numbers, dates, "
                        "times, booleans or text: leave it out or convert it"
                    )
            texts = [field.name for field in schema if _is_text(field.type)]
            size = _size_unpacked(file.metadata, schema)
        if size > LARGEST_TABLE:
            raise DataError(f"{path}: unpacks to {size // 10**6} MB, more than {too_large(LARGEST_TABLE)}")
        # a text that stands in many cells stays one until its length is known
        table = pq.read_table(path, read_dictionary=texts)
        if sum(map(_text_size, table.columns)) > LARGEST_TABLE:
            raise DataError(f"{path}: its texts unpack to more than {too_large(LARGEST_TABLE)}")
        return _without_decimals(table).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: is no Parquet file that can be read ({error})") from error


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary)
    return any(is_kind(kind) for is_kind in kinds)


def _is_readable(kind: pa.DataType) -> bool:
    """Whether the size of a column of this type in memory is known before it is read, or once its texts are."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal128(kind)
    is_plain = pa.types.is_temporal(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    return bool(is_number or is_plain or _is_text(kind))


def _size_unpacked(metadata: pq.FileMetaData, schema: pa.Schema) -> int:
    """Bytes of a Parquet file's cells in memory, at least: repeated cells take no room in the file."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    cells = [_DECIMAL if pa.types.is_decimal(field.type) else _CELL for field in schema]
    return sum(
        max(group.column(place).num_values * cell, group.column(place).total_uncompressed_size)
        for group in groups
        for place, cell in enumerate(cells)
    )


def _without_decimals(table: pa.Table) -> pa.Table:
    """Decimals as floats: pandas would make a Python object of each."""
    kinds = [pa.float64() if pa.types.is_decimal(field.type) else field.type for field in table.schema]
    return table.cast(
        pa.schema(
            [field.with_type(kind) for field, kind in zip(table.schema, kinds, strict=True)], table.schema.metadata
        )
    )


def _text_size(column: pa.ChunkedArray) -> int:
    """Bytes of the texts of a column, each counted as often as the longest could be."""
    if not pa.types.is_dictionary(column.type):
        return 0
    longest = max((pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0 for chunk in column.chunks), default=0)
    return int(longest) * len(column)


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
    return Table(str(path), _stem(path), header, second, frame.set_axis(range(len(header)), axis=1))
