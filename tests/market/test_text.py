"""Text files as programs export them: separators, comments, missing headers, encodings; and what is no text."""

import gzip
import zlib
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eigen2.errors import DataError
from eigen2.market import readers, text
from eigen2.market.readers import read_bars
from tests.market.tables import frame, long

LONG = long()


def read(path):
    return read_bars(str(path), allow_pickle=False)


def refusal(path):
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def same(bars, source=LONG):
    assert bars.columns == tuple(sorted(set(source["ticker"])))
    for at, name in enumerate(bars.columns):
        own = source[source["ticker"] == name]
        np.testing.assert_array_equal(bars.dates, own["date"].to_numpy(dtype="datetime64[D]"))
        np.testing.assert_allclose(bars.close[:, at], own["close"])
        np.testing.assert_allclose(bars.low[:, at], own["low"])


@pytest.mark.parametrize(
    "options",
    [
        {"sep": ";", "decimal": ","},
        {"sep": ";"},
        {"sep": "\t"},
        {"sep": "|"},
        {"encoding": "utf-16"},
        {"encoding": "utf-8-sig"},
        {"sep": ";", "decimal": ",", "encoding": "utf-16", "date_format": "%d.%m.%Y"},
        {"date_format": "%b %d, %Y"},
        {"date_format": "%d/%m/%Y"},
        {"date_format": "%m/%d/%Y"},
        {"quoting": 1, "decimal": ","},
    ],
    ids=str,
)
def test_exports_are_read_as_plain_csv_is(tmp_path, options):
    LONG.to_csv(tmp_path / "m.csv", index=False, **options)
    bars = read(tmp_path / "m.csv")
    same(bars)
    assert bars.notes == ()


def test_rows_of_separators_alone_are_no_rows(tmp_path):
    LONG.to_csv(tmp_path / "m.csv", index=False, sep=";", decimal=",")
    with (tmp_path / "m.csv").open("a") as file:
        file.write(";;;;;;\n;;;;;;\n")
    same(read(tmp_path / "m.csv"))


def test_seconds_and_milliseconds_since_1970(tmp_path):
    seconds = (LONG["date"] - pd.Timestamp(0)) // pd.Timedelta("1s")
    for factor in (1, 1000):
        LONG.assign(date=seconds * factor).to_csv(tmp_path / "m.csv", index=False)
        same(read(tmp_path / "m.csv"))


def test_dollars_and_thousands(tmp_path):
    exported = LONG.assign(close=LONG["close"].map("${:,.3f}".format), volume=LONG["volume"].map("{:,}".format))
    exported.to_csv(tmp_path / "m.csv", index=False)
    same(read(tmp_path / "m.csv"))


@pytest.mark.parametrize(
    "comment", ["made by a program\n", "made on 10-17-2019,https://a.b\n", "# one\n# two, three\n\n"]
)
def test_lines_before_the_header_are_noted(tmp_path, comment):
    (tmp_path / "m.csv").write_text(comment + LONG.to_csv(index=False))
    bars = read(tmp_path / "m.csv")
    same(bars)
    assert len(bars.notes) == 1
    assert "before the header: not read" in bars.notes[0]


@pytest.mark.parametrize("factor", [10**3, 10**6])
def test_klines_without_a_header(tmp_path, factor):
    bars = frame()
    start = (bars.index - pd.Timestamp(0)) // pd.Timedelta("1s") * factor
    lines = pd.DataFrame(bars.set_index(start)).assign(end=start + 1, q=1.5, n=3, tb=0.5, tq=0.25, ignore=0)
    lines.to_csv(tmp_path / "BTCUSDT.csv", header=False)
    found = read(tmp_path / "BTCUSDT.csv")
    assert found.columns == ("BTCUSDT",)
    np.testing.assert_allclose(found.close[:, 0], bars["Close"])
    np.testing.assert_allclose(found.volume[:, 0], bars["Volume"])
    assert found.notes == ("no header: read as Binance klines",)


def test_another_file_without_a_header_is_refused(tmp_path):
    frame().to_csv(tmp_path / "m.csv", header=False)
    assert "has no header; add a first line with names, such as date,open,high,low,close,volume" in refusal(
        tmp_path / "m.csv"
    )
    (tmp_path / "months.csv").write_text("2004-01,1.5\n2004-02,1.6\n")
    assert "has no header" in refusal(tmp_path / "months.csv")


def test_the_row_with_too_many_cells_is_named(tmp_path):
    (tmp_path / "m.csv").write_text("date,A\n2004-01-02,1,2\n2004-01-05,1,2\n")
    assert "(data row 1 has 3, the header 2): name every column in the header" in refusal(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.xlsx", b"anything", "Excel is not read: save the sheet as CSV or Parquet"),
        ("m.csv", b"PK\x03\x04 xl/workbook.xml", "Excel is not read: save the sheet as CSV or Parquet"),
        ("m.csv", b"\xd0\xcf\x11\xe0\xa1\xb1", "Excel is not read: save the sheet as CSV or Parquet"),
        ("m.zip", b"PK\x03\x04 m.csv", "is a zip archive, which is not read"),
        ("m.feather", b"ARROW1\x00\x00", "is a Feather file, which is not read"),
        ("m.csv.bz2", b"BZh91AY", "is packed with bzip2, which is not read"),
        ("m.csv.xz", b"\xfd7zXZ\x00", "is packed with xz, which is not read"),
        ("m.h5", b"\x89HDF\r\n", "is an HDF5 file, which is not read"),
        ("m.csv", b"PAR1\x15\x04", "is a Parquet file whose name does not end with .parquet"),
        ("m.json", b' [{"date": "2004-01-02", "A": 1}]', "is a JSON file, which is not read"),
        ("m.csv", b"<!DOCTYPE html><html></html>", "is a page of HTML or XML"),
        ("m.csv", "date,Müller\n2004-01-02,1\n".encode("latin-1"), "save it as CSV in UTF-8"),
    ],
)
def test_other_kinds_are_refused_with_what_is_read(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path / name)
    assert said in message
    assert "CSV" in message


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path, monkeypatch):
    bound = 10**6
    monkeypatch.setattr(text, "LARGEST_TEXT", bound)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = packer.compress(b"date,A\n2004-01-02,1" + b"0" * 10 * bound) + packer.flush()
    assert len(data) < bound / 50
    (tmp_path / "m.csv.gz").write_bytes(data)
    assert "unpacks to more than 1 MB, the most that is read" in refusal(tmp_path / "m.csv.gz")


def test_nothing_is_unpacked_beyond_the_bound(monkeypatch):
    asked = []

    class Packed(gzip.GzipFile):
        def read(self, size=-1):
            asked.append(size)
            return super().read(size)

    monkeypatch.setattr(gzip, "GzipFile", Packed)
    monkeypatch.setattr(text, "LARGEST_TEXT", 100)
    with pytest.raises(DataError, match="unpacks to more than"):
        text.text_table(gzip.compress(b"date,A\n" * 1000), "m", "m")
    assert asked == [101]


def test_a_huge_text_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LARGEST_TEXT", 100)
    (tmp_path / "m.csv").write_text("date,A\n" * 20)
    assert "the most that is read" in refusal(tmp_path / "m.csv")
    assert "Parquet" in refusal(tmp_path / "m.csv")


def test_a_parquet_file_of_repeated_cells_is_refused_by_its_size_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LARGEST_TABLE", 10**6)
    columns = {"date": np.zeros(100_000, dtype="int64"), "A": np.ones(100_000)}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet", compression="zstd")
    assert (tmp_path / "m.parquet").stat().st_size < 10**4
    assert "unpacks to 1 MB, more than 1 MB, the most that is read" in refusal(tmp_path / "m.parquet")


def test_a_parquet_file_of_one_long_text_in_many_cells_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LARGEST_TABLE", 10**6)
    names = pa.DictionaryArray.from_arrays(np.zeros(1000, dtype="int32"), pa.array(["A" * 5000]))
    columns = {"date": ["2004-01-02"] * 1000, "ticker": names, "close": np.ones(1000)}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet", store_schema=False)
    assert (tmp_path / "m.parquet").stat().st_size < 10**5
    assert "its texts unpack to more than 1 MB" in refusal(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"x" * 2000] * 2, pa.binary(2000)),
        pa.array([b"x"] * 2, pa.large_binary()),
        pa.array([[1.0], [2.0]]),
        pa.array([{"a": 1}] * 2),
        pa.array([Decimal(1)] * 2, pa.decimal256(60)),
    ],
    ids=lambda column: str(column.type).partition("<")[0],
)
def test_a_parquet_column_of_another_kind_is_refused_unread(tmp_path, column):
    columns = {"date": ["2004-01-02", "2004-01-05"], "A": [1.0, 2.0], "B": column}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    said = refusal(tmp_path / "m.parquet")
    assert f"column B holds {str(column.type).partition('<')[0]}" in said
    assert "a column holds numbers" in said


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_long_texts_of_each_kind_are_counted(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(readers, "LARGEST_TABLE", 10**6)
    names = pa.array(["A" * 5000] * 1000).cast(kind)
    pq.write_table(pa.table({"date": ["2004-01-02"] * 1000, "ticker": names}), tmp_path / "m.parquet")
    assert "its texts unpack to more than 1 MB" in refusal(tmp_path / "m.parquet")


def test_parquet_with_decimals_is_read_as_numbers(tmp_path):
    closes = pa.array([Decimal("1.5"), None, Decimal("2.25")], pa.decimal128(10, 2))
    columns = {"date": ["2004-01-02", "2004-01-05", "2004-01-06"], "A": closes, "B": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    np.testing.assert_array_equal(read(tmp_path / "m.parquet").close, [[1.5, 1], [np.nan, 2], [2.25, 3]])


def test_parquet_with_categories_is_read(tmp_path):
    LONG.astype({"ticker": "category"}).to_parquet(tmp_path / "m.parquet")
    same(read(tmp_path / "m.parquet"))


@pytest.mark.parametrize(
    "content", ["date,A\n2004-01-02,\x1b]0;x\x07\n2004-01-05,1\n", "date,A\n\x1b[2J,1\n", "\x1b[2J,A\n1,2\n"]
)
def test_messages_obey_nothing_from_a_file(tmp_path, content):
    (tmp_path / "m.csv").write_text(content)
    message = refusal(tmp_path / "m.csv")
    assert message.isprintable()
    assert "\\x1b" in message


def test_a_folder_name_is_shown_without_effect(tmp_path):
    folder = tmp_path / "a\x1b[31m"
    folder.mkdir()
    (folder / "A.csv").write_text("date,A\n2004-01-02,x\n")
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value).isprintable()
