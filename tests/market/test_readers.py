import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigen2.errors import DataError
from eigen2.market.cleaning import clean
from eigen2.market.readers import read_bars

OHLCV6 = str(Path(__file__).parents[1] / "data" / "ohlcv6_2000_2013.csv.gz")

LONG = """date,tic,open,high,low,close,volume
2004-01-02,B,10,12,9,11,100
2004-01-02,A,1,2,0.5,1.5,7
2004-01-05,A,1.5,3,1,2,8
"""
WIDE = """Date,AAPL,LOW,^GSPC
2004-01-02,1,2,3
2004-01-05,4,,6
"""
YAHOO = """Date,Open,High,Low,Close,Adj Close,Volume
2004-01-02,10,20,8,16,4,100
2004-01-05,20,24,16,20,10,200
"""
STOOQ = """<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>
KO.US,D,20040102,000000,10,12,9,11,100,0
KO.US,D,20040105,000000,11,13,10,12,150,0
"""
YFINANCE = """Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume
Ticker,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL
Date,,,,,,,,,,
2004-01-02,11,1.5,12,2,9,1,10,1.2,100,7
2004-01-05,12,,13,,10,,11,,150,
"""


def read(source, allow_pickle=False):
    return read_bars(source, allow_pickle)


def refusal(source, allow_pickle=False):
    with pytest.raises(DataError) as caught:
        read(source, allow_pickle)
    return str(caught.value)


def test_embedded_data():
    bars = read("sp20")
    assert bars.close.shape == (4781, 21)
    assert bars.columns[0] == "AAPL"
    assert bars.columns[-1] == "^GSPC"
    assert bars.dates[0] == np.datetime64("2004-01-02")
    assert bars.close[0, 0] == 0.323
    assert bars.close[1, -1] == 1122.22
    assert bars.closes_only
    assert bars.high is bars.close
    assert np.isfinite(bars.close).all()


def test_long_file(write):
    bars = read(write("m.csv", LONG))
    assert bars.columns == ("A", "B")
    assert bars.dates.astype(str).tolist() == ["2004-01-02", "2004-01-05"]
    np.testing.assert_array_equal(bars.close, [[1.5, 11], [2, np.nan]])
    np.testing.assert_array_equal(bars.high, [[2, 12], [3, np.nan]])
    np.testing.assert_array_equal(bars.volume, [[7, 100], [8, np.nan]])
    assert not bars.closes_only
    assert bars.notes == ()


def test_header_names_in_other_spellings(write):
    text = LONG.replace("date,tic,open,high,low,close,volume", "DATE, Symbol ,Open,HIGH,_low,Close,Vol")
    np.testing.assert_array_equal(read(write("m.csv", text)).close, read(write("n.csv", LONG)).close)


@pytest.mark.parametrize("ticker", ["NA", "TRUE", "0700", "nan"])
def test_tickers_stay_text(write, ticker):
    assert read(write("m.csv", f"date,ticker,close\n2004-01-02,{ticker},1\n")).columns == (ticker,)


def test_late_listing_is_nan_before():
    bars = read(OHLCV6)
    google = bars.columns.index("GOOG")
    first = int(np.flatnonzero(bars.dates == np.datetime64("2004-08-19"))[0])
    assert np.isnan(bars.close[:first, google]).all()
    assert np.isnan(bars.open[:first, google]).all()
    assert np.isfinite(bars.close[first:, google]).all()
    assert bars.close[first, google] == 50.322842
    assert bars.low[first, google] == 48.128568


def test_wide_closes_keep_their_order_and_holes(write):
    bars = read(write("m.csv", WIDE))
    assert bars.columns == ("AAPL", "LOW", "^GSPC")
    np.testing.assert_array_equal(bars.close, [[1, 2, 3], [4, np.nan, 6]])
    assert bars.closes_only


def test_wide_under_a_blank_date_header(write):
    assert read(write("m.csv", WIDE.replace("Date", ""))).columns == ("AAPL", "LOW", "^GSPC")


def test_dates_out_of_order_are_sorted_and_said(write):
    bars = read(write("m.csv", "date,A,B\n2004-01-05,4,5\n2004-01-02,1,2\n2004-01-06,7,8\n"))
    np.testing.assert_array_equal(bars.close[:, 0], [1, 4, 7])
    assert any("out of order" in note for note in bars.notes)


def test_adjusted_close_scales_the_other_prices(write):
    bars = read(write("KO.csv", YAHOO))
    assert bars.columns == ("KO",)
    np.testing.assert_array_equal(bars.open[:, 0], [2.5, 10])
    np.testing.assert_array_equal(bars.high[:, 0], [5, 12])
    np.testing.assert_array_equal(bars.low[:, 0], [2, 8])
    np.testing.assert_array_equal(bars.close[:, 0], [4, 10])
    assert any("adj_close / close" in note for note in bars.notes)


def test_adjusted_prices_are_used_where_all_are_there(write):
    header = "date,ticker,open,high,low,close,volume,adj_open,adj_high,adj_low,adj_close,adj_volume\n"
    bars = read(write("m.csv", header + "2004-01-02,A,10,20,8,16,5,1,2,0.5,1.5,50\n"))
    cell = [float(array[0, 0]) for array in (bars.open, bars.high, bars.low, bars.close, bars.volume)]
    assert cell == [1, 2, 0.5, 1.5, 5]


def test_zero_close_is_left_for_cleaning(write):
    bars = read(write("KO.csv", YAHOO.replace("20,8,16,4", "20,8,0,4")))
    assert bars.close[0, 0] == 0


def test_prices_without_all_four_become_closes(write):
    bars = read(write("m.csv", "date,tic,high,close\n2004-01-02,A,2,1\n2004-01-05,A,3,2\n"))
    assert bars.closes_only
    assert any("high" in note for note in bars.notes)


def test_folder_of_yahoo_and_stooq_files(write, tmp_path):
    write("f/AAPL.csv", YAHOO)
    write("f/ko.us.txt", STOOQ)
    write("f/readme.md", "hello")
    (tmp_path / "f" / "IBM.csv.gz").write_bytes(gzip.compress(YAHOO.replace("Adj Close", "Other").encode()))
    bars = read(str(tmp_path / "f"))
    assert bars.columns == ("AAPL", "IBM", "ko.us")
    np.testing.assert_array_equal(bars.close, [[4, 16, 11], [10, 20, 12]])
    np.testing.assert_array_equal(bars.high[0], [5, 20, 12])
    assert bars.notes == (
        "open, high and low were adjusted by adj_close / close (AAPL)",
        "columns not read: Other (IBM)",
        "readme.md is no CSV or Parquet file: left out",
    )


def test_folder_with_a_closes_only_file_is_closes_only(write, tmp_path):
    write("f/AAPL.csv", YAHOO)
    write("f/KO.csv", "Date,Close\n2004-01-02,3\n")
    bars = read(str(tmp_path / "f"))
    assert bars.closes_only
    assert any("closes only" in note for note in bars.notes)
    np.testing.assert_array_equal(bars.close, [[4, 3], [10, np.nan]])


def test_folder_refusals(write, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "has no .csv" in refusal(str(tmp_path / "empty"))
    write("f/all.csv", LONG)
    assert "2 tickers" in refusal(str(tmp_path / "f"))


def test_stooq_ascii_file_names_its_ticker(write):
    bars = read(write("x.csv", STOOQ))
    assert bars.columns == ("KO.US",)
    np.testing.assert_array_equal(bars.close[:, 0], [11, 12])


def test_yfinance_three_row_header(write):
    bars = read(write("m.csv", YFINANCE))
    assert bars.columns == ("MSFT", "AAPL")
    np.testing.assert_array_equal(bars.close, [[11, 1.5], [12, np.nan]])
    np.testing.assert_array_equal(bars.low, [[9, 1], [10, np.nan]])


def frame_of(group_by):
    columns = pd.MultiIndex.from_product([["Close", "High", "Low", "Open"], ["B", "A"]], names=["Price", "Ticker"])
    days = pd.DatetimeIndex(["2004-01-02", "2004-01-05"], name="Date")
    frame = pd.DataFrame(np.arange(1.0, 17.0).reshape(2, 8), index=days, columns=columns)
    return frame if group_by == "column" else frame.swaplevel(axis=1)


@pytest.mark.parametrize("group_by", ["column", "ticker"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "pkl"])
def test_yfinance_frames_in_every_container(tmp_path, group_by, kind):
    path = tmp_path / f"m.{kind}"
    frame = frame_of(group_by)
    {"csv": frame.to_csv, "parquet": frame.to_parquet, "pkl": frame.to_pickle}[kind](path)
    bars = read(str(path), allow_pickle=True)
    assert bars.columns == ("B", "A")
    np.testing.assert_array_equal(bars.close, [[1, 2], [9, 10]])
    np.testing.assert_array_equal(bars.open, [[7, 8], [15, 16]])


def test_parquet_long_and_wide(tmp_path, write):
    long = pd.read_csv(write("l.csv", LONG), parse_dates=["date"])
    long.to_parquet(tmp_path / "long.parquet")
    np.testing.assert_array_equal(read(str(tmp_path / "long.parquet")).close, [[1.5, 11], [2, np.nan]])
    wide = pd.read_csv(write("w.csv", WIDE), index_col=0, parse_dates=True)
    wide.index.name = None
    wide.tz_localize("America/New_York").to_parquet(tmp_path / "wide.parquet")
    bars = read(str(tmp_path / "wide.parquet"))
    assert bars.dates.astype(str).tolist() == ["2004-01-02", "2004-01-05"]
    np.testing.assert_array_equal(bars.close, [[1, 2, 3], [4, np.nan, 6]])


def test_pickle_only_when_allowed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(Bomb()))
    assert "data.allow_pickle" in refusal(str(path))
    assert not (tmp_path / "ran").exists()
    assert "not a pandas DataFrame" in refusal(str(path), allow_pickle=True)
    path.write_bytes(b"\x80\x05nonsense")
    assert "no pickle" in refusal(str(path), allow_pickle=True)


def test_pickle_under_another_name_is_not_run(tmp_path):
    path = tmp_path / "m.csv"
    pd.DataFrame({"date": ["2004-01-02"], "A": [1.0]}).to_pickle(path)
    assert str(path) in refusal(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("date\n2004-01-02\n", "one column"),
        ("date,A\n", "no rows"),
        ("name,age,city\nA,3,B\n", "the header 'name, age, city' is not one of a market file"),
        ("date,A\n2004-01-02,1\n2004-01-02,2\n", "column A has more than one row on 2004-01-02"),
        (LONG + "2004-01-05,A,1,1,1,1,1\n", "column A has more than one row on 2004-01-05"),
        ("date,A,B\n2004-01-02,1,2\n2004-01-05,1,x7\n", "column B on 2004-01-05: close is 'x7', not a number"),
        (LONG.replace("12,9,11", "12,low,11"), "column B on 2004-01-02: low is 'low', not a number"),
        ("date,A\n2004-01-02,True\n2004-01-05,False\n", "close is 'True', not a number"),
        ("date,A\n2004-01-02,1\n1/5/2004,2\n", "'1/5/2004' may begin with the day or with the month"),
        ("date,A\n2004-01-02,1\n2004-02-30,2\n", "'2004-02-30' in data row 2 is not a date"),
        ("date,A\n2004-01-02,1\n,2\n", "data row 2 is not a date"),
        ("date,A\n2004-01-02,1,2\n", "rows have more cells than its header"),
        ("date,A\n2004-01-02,1\n2004-01-05,1,2\n", "Expected 2 fields in line 3, saw 3"),
        ("date,A,A\n2004-01-02,1,2\n", "the header names A twice"),
        ("date,tic,Close,close\n2004-01-02,A,1,2\n", "the header names close twice"),
        ("date,tic,close\n2004-01-02,,1\n", "data row 1 has no ticker"),
        (YFINANCE.replace("Date,,", "Day,,"), "not one of a market file"),
    ],
)
def test_refusals_name_file_and_place(write, text, said):
    source = write("bad.csv", text)
    message = refusal(source)
    assert message.startswith(source)
    assert said in message


def test_damaged_containers(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(LONG.encode())[:-9])
    assert "damaged .gz" in refusal(str(tmp_path / "a.csv.gz"))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    assert "no Parquet file" in refusal(str(tmp_path / "a.parquet"))
    (tmp_path / "a.csv").write_bytes(b"\xff\xfa\x00d")
    assert "UTF-8" in refusal(str(tmp_path / "a.csv"))
    assert "no such file" in refusal(str(tmp_path / "absent.csv"))


PAIRS = "Date,A.Open,A.High,A.Low,A.Close,B,B volume\n01/30/2004,1,2,0.5,1.5,7,9\n02/02/2004,1,2,1,2,8,9\n"
GERMAN = "Datum;Close;Stock\n30.01.2004;1.234,5;A\n02.02.2004;1.235,5;A\n"
SPLIT = "made by me\ntime,close,splits\n1075507200,4,0\n1075593600,2,2\n1075680000,2.1,0\n"
PIECES = st.text(alphabet="0123456789.,-+eE\"'\n\r\t \x00<>/:;abNn^é∞$%|\x1b", max_size=12)
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), PIECES), max_size=4)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "m.csv"


@settings(max_examples=300, deadline=None)
@given(base=st.sampled_from([LONG, WIDE, YAHOO, STOOQ, YFINANCE, PAIRS, GERMAN, SPLIT]), damage=DAMAGE)
def test_damaged_text_is_refused_or_read_clean(scratch, base, damage):
    text = base
    for where, cut, piece in damage:
        at = int(where * len(text))
        text = text[:at] + piece + text[at + cut :]
    scratch.write_bytes(text.encode())
    refused = None
    try:
        bars, report = clean(read(str(scratch)), 60.0)
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert str(scratch) in refused
        return
    assert (np.diff(bars.dates) > np.timedelta64(0)).all()
    assert bars.close.shape == (len(bars.dates), len(bars.columns))
    for prices in (bars.open, bars.high, bars.low, bars.close):
        assert np.array_equal(np.isfinite(prices), bars.valid)
        assert (prices[bars.valid] > 0).all()
    assert (bars.high >= bars.low)[bars.valid].all()
    assert sum(report.counts["bars"]) == bars.valid.sum()


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(scratch, data):
    scratch.write_bytes(data)
    assert str(scratch) in refusal(str(scratch))
