import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from eigen2.errors import ConfigError, DataError
from eigen2.market.fetch import fetch_bars


class RefusedError(Exception):
    pass


def yahoo_frame(tickers, absent=()):
    """What yfinance.download returns for two days: every field of every ticker, NaN for the absent ones."""
    fields = ["Close", "High", "Low", "Open", "Volume"]
    columns = pd.MultiIndex.from_product([fields, sorted(tickers)], names=["Price", "Ticker"])
    days = pd.DatetimeIndex(["2004-01-02", "2004-01-05"], name="Date")
    frame = pd.DataFrame(np.arange(1.0, 2 * len(columns) + 1).reshape(2, -1), index=days, columns=columns)
    for ticker in absent:
        frame.loc[:, (slice(None), ticker)] = np.nan
    return frame


@pytest.fixture
def yahoo(monkeypatch):
    """A stand-in for the yfinance module; `answer` makes what download returns, `asked` is what it was given."""
    module = SimpleNamespace(exceptions=SimpleNamespace(YFException=RefusedError), answer=yahoo_frame, asked={})

    def download(tickers, **options):
        module.asked = {"tickers": tickers, **options}
        return module.answer(tickers)

    module.download = download
    monkeypatch.setitem(sys.modules, "yfinance", module)
    return module


def fetch(out, tickers=("KO", "^GSPC"), start="2004-01-01", end="2004-02-01"):
    return fetch_bars(tickers, start, end, out)


@pytest.mark.parametrize("name", ["m.csv", "m.csv.gz"])
def test_fetched_bars_are_written_and_read_back(yahoo, tmp_path, name):
    bars = fetch(tmp_path / "new" / name, tickers=("ko", "^GSPC", "KO"))
    assert bars.columns == ("KO", "^GSPC")
    np.testing.assert_array_equal(bars.close, [[1, 2], [11, 12]])
    np.testing.assert_array_equal(bars.open, [[7, 8], [17, 18]])
    np.testing.assert_array_equal(bars.volume, [[9, 10], [19, 20]])
    assert yahoo.asked["tickers"] == ["KO", "^GSPC"]
    assert (yahoo.asked["start"], yahoo.asked["end"], yahoo.asked["auto_adjust"]) == ("2004-01-01", "2004-02-01", True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_the_file_is_a_long_csv(yahoo, tmp_path):
    fetch(tmp_path / "m.csv")
    lines = (tmp_path / "m.csv").read_text().splitlines()
    assert lines[0] == "date,tic,open,high,low,close,volume"
    assert lines[1] == "2004-01-02,KO,7.0,3.0,5.0,1.0,9.0"
    assert len(lines) == 5


def test_an_existing_file_is_kept(yahoo, tmp_path):
    (tmp_path / "m.csv").write_text("mine")
    with pytest.raises(DataError, match="exists, and is not overwritten"):
        fetch(tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text() == "mine"
    assert yahoo.asked == {}


def test_a_ticker_without_bars_is_named(yahoo, tmp_path):
    yahoo.answer = lambda tickers: yahoo_frame(tickers, absent=["XQZ"])
    with pytest.raises(DataError, match="nothing came back from Yahoo Finance for XQZ"):
        fetch(tmp_path / "m.csv", tickers=("KO", "XQZ"))
    assert list(tmp_path.iterdir()) == []


def test_no_network(yahoo, tmp_path):
    yahoo.answer = lambda tickers: yahoo_frame(tickers).iloc[:0]
    with pytest.raises(DataError, match="check the names, the dates and the network"):
        fetch(tmp_path / "m.csv")


@pytest.mark.parametrize("error", [ConnectionError("no route"), RefusedError("too many requests")])
def test_errors_of_yahoo(yahoo, tmp_path, error):
    def fail(tickers):
        raise error

    yahoo.answer = fail
    with pytest.raises(DataError, match=f"can't be reached or refused: {error}"):
        fetch(tmp_path / "m.csv")


def test_without_yfinance(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(DataError, match=r"pip install 'eigen2\[fetch\]'"):
        fetch(tmp_path / "m.csv")


def test_a_write_that_fails_leaves_nothing(yahoo, tmp_path, monkeypatch):
    def full(self, path, **options):
        path.write_text("date,tic")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(DataError, match="No space left on device"):
        fetch(tmp_path / "m.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tickers": ()}, "at least one ticker"),
        ({"tickers": ("KO", " ")}, "none blank"),
        ({"start": "1/2/2004"}, "'1/2/2004' is not a date"),
        ({"end": "2004-02-30"}, "'2004-02-30' is not a date"),
        ({"start": "2004-02-01"}, "must be before the end"),
    ],
)
def test_wrong_requests(yahoo, tmp_path, changes, said):
    with pytest.raises(ConfigError, match=said):
        fetch(tmp_path / "m.csv", **changes)
    with pytest.raises(ConfigError, match=r"end the name with .csv or .csv.gz"):
        fetch(tmp_path / "m.parquet")
