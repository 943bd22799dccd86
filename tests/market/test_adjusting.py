"""Splits that a file lists: applied where the prices still show them, else only noted."""

import numpy as np
import pytest

from eigen2.market.cleaning import clean
from eigen2.market.readers import read_bars
from tests.market.tables import FIELDS, frame

DAY = 30
PRICES = list(FIELDS[:4])


def listed(ratio, column="Stock Splits", none=0.0, adjusted=False, straddling=False):
    """Bars with a split on day 30: the prices before it are `ratio` times as high, unless they are adjusted."""
    table = frame()
    before = table.copy()
    if not adjusted:
        table.iloc[:DAY, :4] *= ratio
    if straddling:
        table.iloc[DAY, [0, 1]] *= ratio
    table[column] = none
    table.iloc[DAY, table.columns.get_loc(column)] = ratio
    return table, before


def bars_of(tmp_path, table):
    table.to_csv(tmp_path / "A.csv")
    return read_bars(str(tmp_path / "A.csv"), allow_pickle=False)


@pytest.mark.parametrize("ratio", [2, 1.5, 7, 0.1, 20])
@pytest.mark.parametrize(("column", "none"), [("Stock Splits", 0.0), ("split_coefficient", 1.0), ("splits", None)])
def test_a_split_is_applied_to_the_prices_before(tmp_path, ratio, column, none):
    table, before = listed(ratio, column, none)
    bars = bars_of(tmp_path, table)
    for name in PRICES:
        np.testing.assert_allclose(getattr(bars, name.lower())[:, 0], before[name], rtol=1e-9)
    np.testing.assert_allclose(bars.volume[:DAY, 0], before["Volume"][:DAY] * ratio)
    written = {2: "2-for-1", 1.5: "3-for-2", 7: "7-for-1", 0.1: "1-for-10", 20: "20-for-1"}[ratio]
    assert bars.notes == (f"A: a split {written} on 2014-02-13: applied to the prices before",)


@pytest.mark.parametrize("ratio", [2, 1.5, 0.1])
def test_adjusted_prices_are_left(tmp_path, ratio):
    table, before = listed(ratio, adjusted=True)
    bars = bars_of(tmp_path, table)
    np.testing.assert_array_equal(bars.close[:, 0], before["Close"])
    assert len(bars.notes) == 1
    assert bars.notes[0].endswith("the prices are adjusted already")


def test_an_adjusted_close_that_knows_the_split_is_left(tmp_path):
    table, before = listed(4, "split_coefficient", 1.0)
    bars = bars_of(tmp_path, table.assign(adjusted_close=before["Close"]))
    np.testing.assert_allclose(bars.close[:, 0], before["Close"])
    assert "the prices are adjusted already" in bars.notes[-1]


def test_several_splits_of_one_column(tmp_path):
    table = frame()
    before = table.copy()
    table.iloc[:20, :4] *= 6
    table.iloc[20:40, :4] *= 2
    table["splits"] = 0.0
    table.iloc[[20, 40], 5] = 3, 2
    bars = bars_of(tmp_path, table)
    np.testing.assert_allclose(bars.close[:, 0], before["Close"])
    assert bars.notes == ("A: 2 splits, the first 3-for-1 on 2014-01-30: applied to the prices before",)


def test_a_split_on_a_day_without_a_bar_counts_on_the_next(tmp_path):
    table, before = listed(2)
    table.iloc[DAY, :4] = np.nan
    bars = bars_of(tmp_path, table)
    np.testing.assert_allclose(np.delete(bars.close[:, 0], DAY), np.delete(before["Close"].to_numpy(), DAY))


def test_a_bar_that_spans_its_split_is_removed(tmp_path):
    table, _ = listed(2, straddling=True)
    bars, report = clean(bars_of(tmp_path, table), 60.0)
    assert len(bars.dates) == 59
    assert (bars.high / bars.low < 1.2).all(), "no gain of 100 % within a day"
    assert any(
        "a bar that spans the price before and after it was removed" in str(finding) for finding in report.findings
    )


def test_zeros_list_no_split(tmp_path):
    bars = bars_of(tmp_path, frame().assign(**{"Stock Splits": 0.0, "Dividends": 0.5}))
    assert bars.notes == ()


def test_a_column_that_lists_too_many_is_not_one_of_splits(tmp_path):
    bars = bars_of(tmp_path, frame().assign(splits=2.0))
    np.testing.assert_array_equal(bars.close[:, 0], frame()["Close"])
    first = "A: 59 splits, the first 2-for-1 on 2014-01-03"
    assert bars.notes == (f"{first}: not used, since no share is split more often than every 20 days",)
