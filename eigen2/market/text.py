"""Text files as tables: their encoding, comment lines, header, separator and decimal sign."""

import csv
import gzip
import io
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from eigen2.errors import DataError
from eigen2.market.cells import MISSING, Table, has_commas
from eigen2.market.headers import ROLES, is_field_row, plain, text_columns

LARGEST_TEXT = 500 * 10**6  # bytes, unpacked: 20 years of 1 600 stocks
READABLE = "CSV (also packed with gzip) and Parquet are"
_GZIP = b"\x1f\x8b"
_OTHER_KINDS = {
    b"ARROW1": "a Feather file", b"FEA1": "a Feather file", b"\xd0\xcf\x11\xe0": "an Excel file",
    b"PK\x03\x04": "a zip archive", b"BZh": "packed with bzip2", b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd", b"\x89HDF": "an HDF5 file", b"SQLite": "a SQLite database",
    b"PAR1": "a Parquet file whose name does not end with .parquet",
}  # fmt: skip
_SEPARATORS = ",;\t|"
_LOOKED_AT = 1000  # lines that tell the decimal sign
_FEW = 50  # lines that tell the separator
_MOST_COMMENTS = 20  # lines before a header
_MISSING_TEXTS = sorted({form for text in MISSING for form in (text, text.upper(), text.title(), "NaN")})
_KLINES = (
    "open time", "open", "high", "low", "close", "volume", "close time", "quote volume", "count", "taker buy volume",
    "taker buy quote volume", "ignore",
)  # fmt: skip
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", re.I)
_STAMP = re.compile(r"\d{13}|\d{16}")
_DATE = re.compile(
    r"\d{4}[-/.]?\d{2}[-/.]?\d{2}.*|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}.*|\d{4}[-/]\d{2}|\d{10}|\d{13}|\d{16}"
)


class _Layout(NamedTuple):
    """How a text is laid out: its separator, its header and perhaps a second row of it, the lines down to the cells."""

    separator: str
    header: tuple[str, ...]
    second: tuple[str, ...] | None
    skipped: int
    notes: tuple[str, ...] = ()


def text_table(data: bytes, source: str, stem: str, date_format: str | None = None) -> Table:
    """The table of a text file, `data`, perhaps packed with gzip. Raises DataError for anything else."""
    text = _text(data, source)
    if not text.strip():
        raise DataError(f"{source}: is empty")
    _refuse_marked(text, source)
    lines = text.split("\n", _LOOKED_AT)[:_LOOKED_AT]
    separator = max(_SEPARATORS, key=lambda sign: _regular(lines[:_FEW], sign))
    try:
        rows = [tuple(row) for row in csv.reader(lines, delimiter=separator)]
    except csv.Error as error:
        raise DataError(f"{source}: has a header that can't be read ({error})") from error
    layout = _layout(rows, separator, source)
    body = rows[layout.skipped :]
    comma = separator != "," and has_commas([cell for row in body for cell in row[1:]])
    frame = _cells(text, layout, body, comma, source)
    return Table(source, stem, layout.header, layout.second, frame, date_format, comma, layout.notes)


def _text(data: bytes, source: str) -> str:
    data = _unpacked(data, source)
    kind = next((kind for mark, kind in _OTHER_KINDS.items() if data.startswith(mark)), None)
    if kind == "a zip archive" and (b"xl/" in data or source.lower().endswith((".xlsx", ".xlsm"))):
        kind = "an Excel file"
    if kind == "an Excel file":
        raise DataError(f"{source}: is an Excel file; Excel is not read: save the sheet as CSV or Parquet")
    if kind is not None:
        raise DataError(f"{source}: is {kind}, which is not read; {READABLE}: save it as one of these")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: is not a text file in UTF-8 or UTF-16; save it as CSV in UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")


def _unpacked(data: bytes, source: str) -> bytes:
    if data[:2] != _GZIP:
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            text = packed.read(LARGEST_TEXT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{source}: is a damaged .gz file ({error})") from error
    if len(text) > LARGEST_TEXT:
        raise DataError(f"{source}: unpacks to more than {too_large(LARGEST_TEXT)}")
    return text


def too_large(bound: int) -> str:
    """The bound of a file's size, and what to do about a larger one."""
    return f"{bound // 10**6} MB, the most that is read: leave out stocks or years"


def _refuse_marked(text: str, source: str) -> None:
    start = text[:200].lstrip().lower()
    if start.startswith(("{", "[")):
        raise DataError(f"{source}: is a JSON file, which is not read; {READABLE}: save it as one of these")
    if start.startswith(("<!doctype", "<html", "<?xml")):
        raise DataError(f"{source}: is a page of HTML or XML, not the file it may link to; {READABLE} read")


def _layout(rows: Sequence[tuple[str, ...]], separator: str, source: str) -> _Layout:
    if count := _lines_of_yfinance(rows):
        return _Layout(separator, rows[0], rows[1], count)
    at = next((at for at, row in enumerate(rows[:_MOST_COMMENTS]) if _is_header(row)), 0)
    if at:
        comments = "; ".join(", ".join(row) for row in rows[:at])
        lines = "the line" if at == 1 else f"{at} lines"
        return _Layout(separator, rows[at], None, at + 1, (f"{lines} before the header: not read ('{comments[:80]}')",))
    first = rows[0]
    if len(first) < 2 or not _DATE.fullmatch(first[0].strip()) or not all(map(_NUMBER.fullmatch, first[1:])):
        return _Layout(separator, first, None, 1)
    if _STAMP.fullmatch(first[0]) and len(first) == len(_KLINES):
        return _Layout(separator, _KLINES, None, 0, ("no header: read as Binance klines",))
    raise DataError(f"{source}: has no header; add a first line with names, such as date,open,high,low,close,volume")


def _regular(lines: Sequence[str], separator: str) -> tuple[int, int]:
    """How many lines agree in their number of cells, and on how many, if `separator` separates them."""
    try:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=separator) if len(row) > 1)
    except csv.Error:
        return 0, 0
    return max(((count, width) for width, count in widths.items()), default=(0, 0))


def _is_header(row: Sequence[str]) -> bool:
    dated = any(plain(cell) in ROLES["date"] for cell in row)
    return dated and sum(bool(cell.strip()) for cell in row) > 1


def _lines_of_yfinance(rows: Sequence[tuple[str, ...]]) -> int:
    """The header lines of a file with yfinance's header: fields, tickers and perhaps a line with `Date`; else 0."""
    if len(rows) < 3:
        return 0
    first, second, third = rows[:3]
    if len(first) != len(second) or len(first) < 2 or not (is_field_row(first[1:]) or is_field_row(second[1:])):
        return 0
    if third and third[0].strip().lower() in ("date", "datetime") and not any(cell.strip() for cell in third[1:]):
        return 3
    return 2 if third and _DATE.fullmatch(third[0].strip()) and not second[0].strip() else 0


def _cells(text: str, layout: _Layout, body: Sequence[tuple[str, ...]], comma: bool, source: str) -> pd.DataFrame:
    """The cells under the header, in columns 0 .. width - 1; dates and tickers stay text, decimal commas too."""
    width = len(layout.header)
    texts: Sequence[int] = [] if layout.second else text_columns(layout.header)
    if comma:
        texts = range(width)
    missing: Any = {at: _MISSING_TEXTS for at in range(width) if at not in texts}  # the stubs want str keys
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # pandas only warns of cells it drops
            frame = pd.read_csv(
                io.StringIO(text),
                sep=layout.separator,
                header=None,
                skiprows=layout.skipped,
                names=range(width),
                index_col=False,
                dtype=dict.fromkeys(texts, str),
                na_values=missing,
                keep_default_na=False,
                low_memory=False,
            )
    except pd.errors.ParserWarning as error:
        wide = next((f" (data row {at} has {len(row)}, the header {width})" for at, row in enumerate(body, 1)
                     if len(row) > width), "")  # fmt: skip
        raise DataError(
            f"{source}: its rows have more cells than its header{wide}: name every column in the header"
        ) from error
    except (ValueError, OverflowError) as error:
        raise DataError(f"{source}: is no CSV that can be read ({str(error).strip()})") from error
    return _without_blank_rows(frame)


def _without_blank_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a cell: spreadsheets write rows of separators alone."""
    blank = frame[0].isna() | frame[0].astype(str).str.strip().eq("")
    if not blank.any():
        return frame
    suspects = frame[blank]
    empty = (suspects.isna() | (suspects.astype(str) == "")).all(axis=1)
    return frame.drop(index=suspects.index[empty]).reset_index(drop=True)
