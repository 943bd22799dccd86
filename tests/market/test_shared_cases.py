"""Inputs from public bug reports and layouts, each with what is right; they lie beside a checkout.

EIGEN2_CASES names another folder.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eigen2.config import load_config
from eigen2.errors import DataError
from eigen2.market.build import load_market

SHARED = Path(os.environ.get("EIGEN2_CASES") or Path(__file__).parents[2].parent / "shared" / "cases")
CASES = SHARED / "market"
SMALL = ["validation_days=40", "holdout_days=40", "trading_days=15", "max_holding_period=5", "context_days=16"]

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the shared cases are not beside this checkout: {CASES}")


def load(source, *more):
    return load_market(load_config(None, [f"data.source={source}", *SMALL, *more]))


@pytest.mark.parametrize(
    ("name", "stocks", "found"),
    [
        ("b01_investing_price.csv", ["b01_investing_price"], []),
        ("b03_quantmod.csv", ["AAPL"], []),
        ("b04_flattened_yf.csv", ["AAPL"], []),
        ("b06_ccy_close.csv", ["b06_ccy_close"], []),
        ("d11_wide_with_index_col.csv", ["AAPL", "MSFT"], ["no prices were left out: Unnamed: 0"]),
        ("btc_monthly.csv", ["btc_monthly"], ["the median step between bars is 31 days"]),
        ("a05_weekly.csv", ["a05_weekly"], ["the median step between bars is 7 days"]),
        ("a04_tokyo_utc.csv", ["a04_tokyo_utc"], ["times of day (15:00) were dropped", "bars at weekends"]),
        ("folder_tz", ["7203.T", "AAPL"], ["times of day (15:00) were dropped", "bars at weekends"]),
        ("a06_split_2to1_unadjusted.csv", ["a06_split_2to1_unadjusted"], ["a split 2-for-1 on 2018-07-02: applied"]),
        ("a07_split_3to2_unadjusted.csv", ["a07_split_3to2_unadjusted"], ["a split 3-for-2 on 2018-07-02: applied"]),
        ("d01_gap_100_bars_single.csv", ["d01_gap_100_bars_single"], ["gap of 142 days (100 of them workdays)"]),
        ("plotly_Stock_column.csv", ["AAPL", "TSLA"], []),
        ("b07_code_column.csv", ["000001", "000002"], []),
        ("b08_stock_column.csv", ["AAPL", "IBM"], []),
        ("c12_comment_line.csv", ["c12_comment_line"], ["the line before the header: not read"]),
        ("cryptodatadownload_comment_line.csv", ["BTCUSD"], ["the line before the header: not read"]),
    ],
)
def test_what_is_read(name, stocks, found):
    market, report = load(CASES / name)
    assert list(market.stock_names) == stocks
    text = report.to_text()
    assert [part for part in found if part not in text] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a09_close_unadjusted_ohl_adjusted.csv", "258 of 260 bars removed: open or close outside low to high"),
        ("c19_hl_swapped_float32.csv", "260 of 260 bars removed: open or close outside low to high"),
        ("a11_negative_oil.csv", "leave the column out by naming the others in data.investable, or only observe it"),
        ("x1.xlsx", "Excel is not read: save the sheet as CSV or Parquet"),
    ],
)
def test_what_is_refused(name, said):
    with pytest.raises(DataError) as caught:
        load(CASES / name)
    assert said in str(caught.value)


def test_the_remedies_for_a_negative_price_work():
    source = CASES / "a11_negative_oil.csv"
    assert load(source, "data.investable=[AAPL]", "data.context=[^GSPC]")[0].stock_names == ("AAPL",)
    market, report = load(source, "data.context=[CL=F, ^GSPC]")
    assert market.stock_names == ("AAPL",)
    assert "CL=F: negative price: removed" in report.to_text()


def test_every_layout_of_users_is_read_or_refused_with_the_remedy(tmp_path):
    subprocess.run([sys.executable, "-W", "ignore", str(SHARED / "make_user_files.py")], cwd=tmp_path, check=True)
    stocks, refused = {}, {}
    for path in sorted(tmp_path.iterdir()):
        try:
            stocks[path.name] = len(load(path)[0].stocks)
        except DataError as error:
            refused[path.name] = str(error)
    remedies = {
        "hourly.csv": "make one bar a day of them",
        "minute.csv": "make one bar a day of them",
        "long.feather": "Feather file, which is not read",
        "long.json": "JSON file, which is not read",
        "prices.xlsx": "save the sheet as CSV or Parquet",
        "stooq_new": "has no .csv, .txt or .parquet file",
    }
    assert {name: remedies.get(name, "") in said for name, said in refused.items()} == dict.fromkeys(remedies, True)
    single = {"alpha_py", "one_stock.csv", "two_cols_date_close.csv", "yf_history.csv", "yf_single.csv",
              "yf_single_flat.csv"}  # fmt: skip
    others = {"binance": 4, "crypto.csv": 4, "funny_names.csv": 4, "mixed.csv": 9}
    assert {name: count for name, count in stocks.items() if count != 5} == others | dict.fromkeys(single, 1)
