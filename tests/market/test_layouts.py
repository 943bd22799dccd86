"""Which columns of a file are prices, and of what: a column that is none is never a stock."""

import gzip

import numpy as np
import pandas as pd
import pytest

from eigen2.errors import DataError
from eigen2.market.readers import read_bars
from tests.market.tables import FIELDS, frame, long


@pytest.fixture
def read(tmp_path):
    """Bars of a table written as a CSV file of a name."""

    def reading(table, name="m.csv", **options):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        table.to_csv(path, **{"index": table.index.name is not None} | options)
        return read_bars(str(path), allow_pickle=False)

    return reading


def refusal(read, table, **options):
    with pytest.raises(DataError) as caught:
        read(table, **options)
    return str(caught.value)


def one(bars, ticker, source):
    assert bars.columns == (ticker,)
    assert not bars.closes_only
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(getattr(bars, name)[:, 0], source[name.title()], rtol=1e-9)


BARS = frame()


@pytest.mark.parametrize(
    "names",
    [
        ("Open", "High", "Low", "Price", "Vol."),  # Investing.com
        ("open", "high", "low", "last", "volume"),
        ("Open", "High", "Low", "Close/Last", "Volume"),  # Nasdaq
        ("1. open", "2. high", "3. low", "4. close", "5. volume"),  # Alpha Vantage
        ("1a. open (USD)", "2a. high (USD)", "3a. low (USD)", "4a. close (USD)", "5. volume"),
        ("PX_OPEN", "PX_HIGH", "PX_LOW", "PX_LAST", "PX_VOLUME"),
        ("o", "h", "l", "c", "v"),
    ],
)
def test_names_of_fields(read, names):
    table = BARS.set_axis(names, axis=1)
    one(read(table), "m", BARS)
    one(read(table[list(reversed(names))]), "m", BARS)


@pytest.mark.parametrize(
    "pattern",
    ["AAPL.{}", "{}_AAPL", "AAPL_{}", "AAPL {}", "{} AAPL", "AAPL:{}", "('{}', 'AAPL')", "('AAPL', '{}')"],
)
def test_names_of_a_ticker_and_a_field(read, pattern):
    one(read(BARS.rename(columns=pattern.format)), "AAPL", BARS)


@pytest.mark.parametrize("pattern", ["{1}_{0}", "{0}_{1}"])
def test_a_ticker_that_is_a_field_too(read, pattern):
    parts = [
        frame(seed=seed).rename(columns=lambda f, t=t: pattern.format(t, f)) for seed, t in enumerate(["LOW", "KO"])
    ]
    bars = read(pd.concat(parts, axis=1))
    assert bars.columns == ("LOW", "KO")
    np.testing.assert_allclose(bars.high[:, 0], frame(seed=0)["High"])
    np.testing.assert_allclose(bars.close[:, 1], frame(seed=1)["Close"])


def test_volumes_beside_closes_are_no_stocks(read):
    table = pd.DataFrame({"BTC": BARS["Close"], "BTC:volume": BARS["Volume"], "ETH": BARS["Open"]})
    bars = read(table)
    assert bars.columns == ("BTC", "ETH")
    np.testing.assert_array_equal(bars.volume[:, 0], BARS["Volume"])
    bars = read(pd.DataFrame({"AAPL": BARS["Close"], "total volume": BARS["Volume"], "Volume": BARS["Volume"]}))
    assert bars.columns == ("AAPL",)
    assert bars.notes == ("columns that are no prices were left out: total volume, Volume",)


def test_columns_that_count_or_repeat_the_date_are_no_stocks(read):
    days = BARS.index
    others = {
        "Unnamed: 0": range(60), "": range(60), "n": range(1, 61), "year": days.year, "month": days.month,
        "dow": days.day_of_week, "currency": "USD", "vwap": BARS["Open"],
    }  # fmt: skip
    bars = read(BARS[["Close"]].set_axis(["AAPL"], axis=1).assign(**others))
    assert bars.columns == ("AAPL",)
    assert "Unnamed: 0, one without a name, n, year, month, dow, currency, vwap" in bars.notes[0]


@pytest.mark.parametrize(
    ("names", "stocks"),
    [
        ("Y,ETH,BTC market cap,BTC trades,BTC", "Y,ETH,BTC"),
        ("Y,ETH-USD,ETH-USD_trades,ETH-USD_amount,AvgVolume", "Y,ETH-USD"),
        ("Y,AAPL,AAPL_bid,AAPL_ask,AAPL_shares", "Y,AAPL"),
        ("Y,AAPL,Volume AAPL,Dollar Volume,X_turnover", "Y,AAPL"),
        ("Y,AAPL,Shares AAPL,AAPL Volume (USD),bid-AAPL", "Y,AAPL"),
        ("Y,AAPL,X_bid,X_ask,total trades", "Y,AAPL"),
        ("Y,BTC price,BTC market cap,ETH trades,ETH price", "Y,BTC price,ETH price"),
        ("Y,NYSE:BID,ASK.DE,SPDR Gold Shares,SPX Total Return", "Y,NYSE:BID,ASK.DE,SPDR Gold Shares,SPX Total Return"),
    ],
)
def test_columns_beside_prices_are_no_stocks(read, names, stocks):
    table = pd.concat([frame(seed=seed)["Close"] for seed in range(5)], axis=1).set_axis(names.split(","), axis=1)
    bars = read(table)
    assert bars.columns == tuple(stocks.split(","))
    read_as_fields = {*bars.columns, "Volume AAPL", "AAPL Volume (USD)"}
    left = [name for name in names.split(",") if name not in read_as_fields]
    assert [note.partition(": ")[2] for note in bars.notes if "no prices" in note] == (
        [", ".join(left)] if left else []
    )


def test_weeks_days_and_columns_that_never_change_are_no_stocks(read):
    days = BARS.index
    others = {"week": days.isocalendar().week.to_numpy(), "day_of_year": days.day_of_year, "nth": days.day_of_year,
              "label": 7.0, "quarters": days.quarter}  # fmt: skip
    bars = read(BARS[["Close"]].set_axis(["AAPL"], axis=1).assign(**others))
    assert bars.columns == ("AAPL",)
    assert "week, day_of_year, nth, label, quarters" in bars.notes[0]


def test_the_index_column_of_pandas_before_the_date(read):
    wide = pd.DataFrame({"AAPL": BARS["Close"], "MSFT": BARS["Open"]}).reset_index()
    bars = read(wide.reset_index(names="Unnamed: 0"))
    assert bars.columns == ("AAPL", "MSFT")
    assert "Unnamed: 0" in bars.notes[0]


@pytest.mark.parametrize(
    "names",
    [
        "LOW OPEN AAPL",
        "AAPL.US LOW.US",
        "LAST AAPL",
        "C V T",
        "LOW V",
        "ASK.L BID-USD CHANGE/USDT PRICE-USD",
        "600000 000001",
        "COIN LOW",
    ],
)
def test_tickers_that_look_like_fields_are_stocks(read, names):
    table = pd.concat([frame(seed=seed)["Close"] for seed in range(len(names.split()))], axis=1)
    bars = read(table.set_axis(names.split(), axis=1))
    assert bars.columns == tuple(names.split())
    assert bars.notes == ()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["Open", "High", "Low", "Other", "Volume"],
            "has the columns Open, High, Low, Volume, but none that is a close",
        ),
        (["A Open", "A High", "A Low", "B", "A Volume"], "names a high and a low of A, but no close"),
        (["A", "A.Close", "B", "C", "D"], "the header names A close twice"),
        (["Volume", "Year", "Count", "Bid", "Ask"], "has the columns Volume, but none that is a close"),
        (["Return", "Year", "Count", "Bid", "Ask"], "is not one of a market file"),
    ],
)
def test_headers_without_a_close_are_refused(read, names, said):
    assert said in refusal(read, BARS.set_axis(names, axis=1))


def test_a_ticker_column_without_a_close_is_refused(read):
    table = pd.DataFrame({"date": BARS.index, "tic": "AAPL", "ret": BARS["Close"].to_numpy()})
    assert "`tic` holds tickers, but no column is a close" in refusal(read, table)


@pytest.mark.parametrize("name", ["code", "Stock", "ts_code", "Symbol", "Name", "security", "coin", "pair"])
def test_names_of_the_ticker_column(read, name):
    table = long("000001 000002").rename(columns={"ticker": name})
    bars = read(table)
    assert bars.columns == ("000001", "000002")
    assert bars.notes == ()


def test_two_tickers_are_never_joined_into_one(read):
    table = long().rename(columns={"ticker": "Firm"})
    said = "no ticker column recognised; is it `Firm`? Then rename it `ticker`, else remove it"
    assert said in refusal(read, table)
    assert said in refusal(read, pd.concat([table, table[:1]])), "with a row that stands twice, too"
    assert "is it `Id`?" in refusal(read, table.assign(Id=table["Firm"].eq("AAPL") + 7).drop(columns="Firm"))
    one_after_the_other = pd.concat([table[:30], table[90:]])
    assert not one_after_the_other["date"].duplicated().any()
    assert said in refusal(read, one_after_the_other)


def test_tickers_as_numbers_one_after_the_other_are_never_joined(read):
    one_after_the_other = pd.concat([BARS[:30], BARS[30:] * 3]).assign(foo=[1] * 30 + [2] * 30)
    said = "no ticker column recognised; is it `foo`? Then rename it `ticker`, else remove it"
    assert said in refusal(read, one_after_the_other)
    assert said in refusal(read, one_after_the_other[::-1])


def test_numbers_of_one_asset_are_not_taken_for_tickers(read):
    others = BARS.assign(flag=[0] * 30 + [1] * 30, one=1, month=BARS.index.month, rate=[0.5] * 20 + [0.75] * 40)
    one(read(others), "m", BARS)
    jump = pd.concat([BARS[:20] * 3, BARS[20:]])
    one(read(jump.assign(flag=[0] * 30 + [1] * 30, n=range(0, 600, 10))), "m", jump)


def test_columns_of_one_asset_are_not_taken_for_tickers(read):
    weekdays = BARS.assign(weekday=BARS.index.day_name(), currency="USD", regime=["up", "down", "up"] * 20)
    bars = read(weekdays)
    one(bars, "m", BARS)
    assert bars.notes == ("columns not read: weekday, currency, regime",)


def test_a_folder_holds_each_ticker_once(read, tmp_path):
    read(BARS, "f/AAPL.csv")
    (tmp_path / "f" / "AAPL.csv.gz").write_bytes(gzip.compress((tmp_path / "f" / "AAPL.csv").read_bytes()))
    with pytest.raises(DataError, match=r"AAPL.csv and AAPL.csv.gz are both of AAPL: remove or rename one"):
        read_bars(str(tmp_path / "f"), allow_pickle=False)


def test_a_folder_with_a_file_a_month(read, tmp_path):
    for ticker, table in (("BTC-1d", BARS), ("ETH-1d", frame(seed=1))):
        read(table[:21], f"f/{ticker}-2014-01.csv")
        read(table[21:], f"f/{ticker}-2014-02.csv")
    read(frame(seed=2), "f/SOL-1d-2014-01-02.csv")
    bars = read_bars(str(tmp_path / "f"), allow_pickle=False)
    assert bars.columns == ("BTC-1d", "ETH-1d", "SOL-1d")
    np.testing.assert_array_equal(bars.close[:, 0], BARS["Close"])
    assert "joined from 2 files (BTC-1d, ETH-1d)" in bars.notes
    read(BARS[20:], "f/BTC-1d-2014-02.csv")
    said = f"BTC-1d-2014-01.csv and BTC-1d-2014-02.csv both hold {BARS.index[20]:%Y-%m-%d} of BTC-1d: remove the day"
    with pytest.raises(DataError, match=said):
        read_bars(str(tmp_path / "f"), allow_pickle=False)


def test_a_month_with_closes_only(read, tmp_path):
    read(BARS[:21], "f/A-2014-01.csv")
    read(BARS[21:][["Close"]], "f/A-2014-02.csv")
    bars = read_bars(str(tmp_path / "f"), allow_pickle=False)
    np.testing.assert_array_equal(bars.close[:, 0], BARS["Close"])
    assert bars.notes == ("joined from 2 files", "some tickers have closes only: all are read as closes")


def test_files_of_a_day_that_are_no_parts_keep_their_names(read, tmp_path):
    for name in ("A-2014-01-02", "B-2014-01-02"):
        read(BARS, f"f/{name}.csv")
    assert read_bars(str(tmp_path / "f"), allow_pickle=False).columns == ("A-2014-01-02", "B-2014-01-02")


def test_a_folder_of_parquet_files(tmp_path):
    for seed, name in enumerate(["A.parquet", "B.pq"]):
        frame(seed=seed).to_parquet(tmp_path / name)
    bars = read_bars(str(tmp_path), allow_pickle=False)
    assert bars.columns == ("A", "B")
    np.testing.assert_allclose(bars.close[:, 1], frame(seed=1)["Close"])


def test_yfinance_without_a_line_for_the_date(read):
    columns = pd.MultiIndex.from_product([["Close", "Open"], ["AAPL", "KO"]])
    table = pd.concat([BARS["Close"]] * 4, axis=1).set_axis(columns, axis=1).rename_axis(None)
    bars = read(table, index=True)
    assert bars.columns == ("AAPL", "KO")
    np.testing.assert_allclose(bars.close[:, 1], BARS["Close"])


@pytest.mark.parametrize("kind", ["long", "wide"])
def test_days_of_two_exchanges_in_one_file(read, kind):
    tokyo = [f"{day - pd.Timedelta(days=1):%Y-%m-%d} 15:00:00+00:00" for day in BARS.index]
    york = [f"{day:%Y-%m-%d} 05:00:00+00:00" for day in BARS.index]
    close = [*BARS["Close"], *BARS["Open"]]
    table = pd.DataFrame({"date": [*tokyo, *york], "ticker": ["7203.T"] * 60 + ["AAPL"] * 60, "close": close})
    if kind == "wide":
        table = table.pivot(index="date", columns="ticker", values="close").reset_index()
    bars = read(table)
    np.testing.assert_array_equal(bars.dates, BARS.index.to_numpy(dtype="datetime64[D]"))
    np.testing.assert_allclose(bars.close, BARS[["Close", "Open"]])
    assert [note.endswith(ticker) for note, ticker in zip(bars.notes, ["(7203.T)", "(AAPL)"], strict=True)] == [
        True,
        True,
    ]


def test_exact_copies_of_rows_are_left_out_and_counted(read):
    table = long()
    bars = read(pd.concat([table, table[5:8]]))
    np.testing.assert_array_equal(bars.close, read(table).close)
    assert "3 rows were exact copies of others: left out" in bars.notes


def test_rows_that_differ_on_a_day_are_refused_with_what_they_hold(read):
    table = long()
    table.loc[1, "date"] = table.loc[0, "date"]
    closes = f"{table.loc[0, 'close']:g} and {table.loc[1, 'close']:g}"
    said = refusal(read, table)
    assert f"column AAPL has more than one row on 2014-01-02, with the closes {closes}; bars must be daily" in said


def test_bars_within_a_day_are_refused_with_their_times(read):
    hours = frame(96, step="h")
    assert "has more than one row on 2014-01-02: 24, at 00:00, 01:00, 02:00, ...; bars must be daily" in refusal(
        read, hours
    )
    flat = hours.assign(**dict.fromkeys(FIELDS, 1.0))
    assert "bars must be daily" in refusal(read, flat), "hours of equal bars are no copies"


def test_some_tickers_with_closes_only(read):
    table = BARS.rename(columns=lambda name: f"A.{name}").assign(B=BARS["Close"])
    bars = read(table)
    assert bars.closes_only
    assert bars.notes == ("some tickers have closes only: all are read as closes",)


@pytest.mark.parametrize("name", ["A\x1b[31mB", "A\u202eB", "A" * 256])
def test_a_ticker_that_a_terminal_would_obey_is_refused(read, tmp_path, name):
    wide = pd.DataFrame({name: BARS["Close"], "B": BARS["Open"]})
    for said in (refusal(read, wide), refusal(read, long(name))):
        assert "rename it" in said or "shorten it" in said
        assert said.isprintable()
    wide.to_parquet(tmp_path / "m.parquet")
    with pytest.raises(DataError, match="the ticker"):
        read_bars(str(tmp_path / "m.parquet"), allow_pickle=False)
