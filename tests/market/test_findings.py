"""Findings about bars that are kept, each with its true place and number."""

import numpy as np
import pandas as pd
import pytest

from eigen2.market.bars import Bars
from eigen2.market.cleaning import clean
from eigen2.market.readers import read_bars

NAN = np.nan


def bars_on(days, *columns):
    dates = np.array(days, dtype="datetime64[D]")
    close = np.array(columns, dtype=float).T if columns else walk(len(dates))[:, None]
    return Bars.from_closes(dates, [chr(65 + c) for c in range(close.shape[1])], close, "m.csv")


def walk(days, seed=0):
    return 100 * np.exp(np.random.default_rng(seed).normal(0, 0.01, days).cumsum())


def findings(bars):
    return [str(finding) for finding in clean(bars, 60.0)[1].findings]


@pytest.mark.parametrize(("step", "days"), [("W-FRI", 7), ("ME", 31), ("2D", 2)])
def test_bars_that_are_not_daily(step, days):
    dates = pd.date_range("2014-01-01", periods=60, freq=step).to_numpy(dtype="datetime64[D]")
    assert findings(bars_on(dates)) == [
        f"m.csv: the median step between bars is {days} days: what rules, splits and reports call days are bars"
    ]


def test_a_missing_bar_of_weeks_is_no_missing_day():
    weeks = pd.date_range("2014-01-01", periods=20, freq="W-FRI").to_numpy(dtype="datetime64[D]")
    column = walk(20)
    column[7] = NAN
    what = f"m.csv: B: bar missing, inside the column's life: left missing on {weeks[7]}"
    assert what in findings(bars_on(weeks, walk(20, 1), column))


@pytest.mark.parametrize("step", ["B", "D"])
def test_daily_bars_have_no_findings(step):
    assert findings(bars_on(pd.date_range("2014-01-01", periods=300, freq=step).to_numpy(dtype="datetime64[D]"))) == []


def test_a_long_gap_of_the_whole_file():
    days = np.delete(pd.bdate_range("2018-01-01", periods=200).to_numpy(dtype="datetime64[D]"), slice(80, 180))
    assert findings(bars_on(days)) == [
        "m.csv: gap of 142 days (100 of them workdays) without a bar, from 2018-04-20 to 2018-09-10: left as it is"
    ]


def test_a_long_gap_of_one_column():
    days = pd.bdate_range("2018-01-01", periods=100).to_numpy(dtype="datetime64[D]")
    column = walk(100)
    column[40:60] = NAN
    found = findings(bars_on(days, walk(100, 1), column))
    what = "gap of 30 days (20 of them workdays) without a bar, from 2018-02-23 to 2018-03-26: left as it is"
    assert f"m.csv: B: {what}" in found


def test_holidays_are_no_long_gap():
    days = np.delete(pd.bdate_range("2018-01-01", periods=60).to_numpy(dtype="datetime64[D]"), slice(20, 28))
    assert findings(bars_on(days)) == []


def test_bars_at_weekends():
    days = pd.bdate_range("2018-01-01", periods=50).to_numpy(dtype="datetime64[D]")
    with_sunday = np.sort(np.append(days, [np.datetime64("2018-01-14"), np.datetime64("2018-01-20")]))
    assert findings(bars_on(with_sunday)) == ["m.csv: A: bar at a weekend: kept (2 times), first on 2018-01-14"]
    every = pd.date_range("2018-01-01", periods=70).to_numpy(dtype="datetime64[D]")
    stock = np.where(np.is_busday(every), walk(70, 1), NAN)
    found = findings(bars_on(every, walk(70), stock))
    assert found[0] == "m.csv: A: bar at a weekend: kept (20 times), first on 2018-01-06"


def test_many_columns_at_weekends_are_one_finding():
    every = pd.date_range("2018-01-01", periods=30).to_numpy(dtype="datetime64[D]")
    stock = np.where(np.is_busday(every), walk(30), NAN)
    found = findings(bars_on(every, stock, *[walk(30, seed) for seed in range(30)]))
    weekends = [text for text in found if "weekend" in text]
    assert weekends == ["m.csv: bar at a weekend, in 30 of 31 columns: kept (240 times), first on 2018-01-06"]


@pytest.mark.parametrize(("factor", "ratio"), [
    (2, "2-for-1"), (1.5, "3-for-2"), (7, "7-for-1"), (0.1, "1-for-10"), (7 / 3, "7-for-3"), (1.25, "5-for-4"),
    (4 / 3, "4-for-3"), (1.2, "6-for-5"), (5 / 3, "5-for-3"), (9, "9-for-1"), (12, "12-for-1"), (30, "30-for-1"),
    (1 / 40, "1-for-40"), (100, "100-for-1"),
])  # fmt: skip
def test_moves_like_those_of_splits(factor, ratio):
    close = walk(100)
    close[:50] *= factor
    days = pd.bdate_range("2018-01-01", periods=100).to_numpy(dtype="datetime64[D]")
    what = f"m.csv: A: move like that of a {ratio} split, for which the prices are not adjusted: kept on {days[50]}"
    assert what in findings(bars_on(days, close))


@pytest.mark.parametrize("factor", [1.15, 0.66, 1.8])
def test_other_moves_are_not_taken_for_splits(factor):
    close = walk(100)
    close[:50] *= factor
    days = pd.bdate_range("2018-01-01", periods=100).to_numpy(dtype="datetime64[D]")
    assert not any("split" in found for found in findings(bars_on(days, close)))


def test_crashes_are_not_taken_for_small_splits():
    close = walk(300)
    close[:100] *= 1.25
    close[200:] *= 0.87
    days = pd.bdate_range("2018-01-01", periods=300).to_numpy(dtype="datetime64[D]")
    assert not any("split" in found for found in findings(bars_on(days, close)))
    assert not any("split" in str(found) for found in clean(read_bars("sp20", False), 60.0)[1].findings)


def test_wild_moves_are_not_taken_for_splits():
    close = 100 * np.exp(np.random.default_rng(0).normal(0, 0.25, 300).cumsum())
    days = pd.bdate_range("2018-01-01", periods=300).to_numpy(dtype="datetime64[D]")
    assert not any("split" in found for found in findings(bars_on(days, close)))
