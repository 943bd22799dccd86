from dataclasses import replace

import numpy as np
import pytest

from eigen2.errors import DataError
from eigen2.market.bars import Bars
from eigen2.market.cleaning import clean

NAN = np.nan


def closes(*columns, source="m.csv"):
    names = [chr(65 + c) for c in range(len(columns))]
    dates = np.datetime64("2004-01-01") + np.arange(len(columns[0]))
    return Bars.from_closes(dates, names, np.array(columns, dtype=float).T, source)


GOOD = (10, 11, 9, 10)


def candles(*rows):
    """Column A has the rows, each open, high, low, close; column B is good every day."""
    grid = np.stack([np.array(rows, dtype=float), np.tile(np.array(GOOD, dtype=float), (len(rows), 1))], axis=1)
    dates = np.datetime64("2004-01-01") + np.arange(len(rows))
    return Bars(dates, ("A", "B"), *(grid[..., k] for k in range(4)), source="m.csv")


def found(report, part):
    return [(f.column, str(f.date), f.count) for f in report.findings if part in f.what]


def test_good_bars_are_unchanged():
    bars = candles(GOOD, GOOD, GOOD)
    cleaned, report = clean(bars, 60)
    np.testing.assert_array_equal(cleaned.close, bars.close)
    assert report.findings == ()
    assert report.counts["bars"] == (3, 3)
    assert "nothing found" in report.to_text()


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ((10, 8, 9, 10), "high below low"),
        ((0, 11, 9, 10), "zero price"),
        ((10, 11, 0, 10), "zero price"),
        ((NAN, 11, 9, 10), "some of its prices missing"),
        ((10, 11, 9, NAN), "some of its prices missing"),
        ((11.02, 11, 9, 10), "open or close outside"),
        ((10, 11, 9, 8.98), "open or close outside"),
        ((10, np.inf, 9, 10), "too small or large"),
        ((1e-12, 1, 1e-12, 1), "too small or large"),
    ],
)
def test_a_bad_bar_is_removed_and_counted_once(row, what):
    cleaned, report = clean(candles(GOOD, row, GOOD), 60)
    for prices in (cleaned.open, cleaned.high, cleaned.low, cleaned.close):
        np.testing.assert_array_equal(np.isnan(prices), [[False, False], [True, False], [False, False]])
    assert found(report, what) == [("A", "2004-01-02", 1)]
    assert report.counts["bad_bars"] == (1, 0)


def test_rounding_of_adjusted_prices_is_tolerated():
    row = (11.01, 11, 9, 8.992)  # 0.09 % above, 0.089 % below
    cleaned, report = clean(candles(GOOD, row), 60)
    assert cleaned.open[1, 0] == 11.01
    assert report.findings == ()


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_negative_price_is_refused_with_the_remedy(place):
    row = [10.0, 11.0, 9.0, 10.0]
    row[place] = -1
    with pytest.raises(DataError, match=r"m.csv: column A on 2004-01-02: .* is -1, and a price can't be negative"):
        clean(candles(GOOD, row), 60)
    with pytest.raises(DataError, match=r"data.investable, or only observe it by naming it in data.context"):
        clean(candles(GOOD, row), 60, context=["B"])


def test_a_negative_price_of_what_is_only_observed_is_removed():
    cleaned, report = clean(candles(GOOD, (10, 11, -37.6, 10), GOOD), 60, context=["A"])
    assert np.isnan(cleaned.close[1, 0])
    assert found(report, "negative price: removed") == [("A", "2004-01-02", 1)]


def test_a_column_of_mostly_contradicting_bars_is_refused_with_the_cause():
    wrong = (10, 11, 9, 12)
    said = r"m.csv: column A: 3 of 5 bars removed: open or close outside low to high, first on 2004-01-02"
    with pytest.raises(DataError, match=said):
        clean(candles(GOOD, wrong, wrong, wrong, GOOD), 60)
    assert clean(candles(GOOD, wrong, wrong, GOOD, GOOD), 60)[1].counts["bad_bars"] == (2, 0)


def test_zeros_before_a_listing_are_removed_however_many():
    _, report = clean(closes([0, 0, 0, 1, 1], [1, 1, 1, 1, 1]), 60)
    assert report.counts["days_before_first"] == (3, 0)


def test_gaps_late_listing_and_early_end():
    bars = closes([1, 1, 1, 1, 1, 1], [NAN, NAN, 2, NAN, 2, NAN])
    cleaned, report = clean(bars, 60)
    np.testing.assert_array_equal(cleaned.close, bars.close)
    assert report.counts["missing_days"] == (0, 1)
    assert report.counts["days_before_first"] == (0, 2)
    assert report.counts["days_after_last"] == (0, 1)
    assert found(report, "inside the column's life") == [("B", "2004-01-04", 1)]
    assert found(report, "listed late") == [("B", "2004-01-03", 1)]
    assert found(report, "ends early") == [("B", "2004-01-05", 1)]


def test_a_removed_bar_is_not_a_missing_day_too():
    _, report = clean(closes([1, 0, NAN, 1], [1, 1, 1, 1]), 60)
    assert report.counts["bad_bars"] == (1, 0)
    assert report.counts["missing_days"] == (1, 0)


def test_spikes_are_kept_and_reported_over_a_gap_too():
    cleaned, report = clean(closes([10, 15.9, NAN, 26, 10.1], [1, 1, 1, 1, 1]), 60)
    assert cleaned.close[3, 0] == 26
    assert found(report, "move beyond 60 %") == [("A", "2004-01-04", 2)]  # +63.5 % and -61.2 %
    assert report.counts["spikes"] == (2, 0)


def test_a_day_without_any_bar_is_left_out():
    cleaned, report = clean(closes([1, NAN, 2], [3, 0, 4]), 200)
    assert cleaned.dates.astype(str).tolist() == ["2004-01-01", "2004-01-03"]
    np.testing.assert_array_equal(cleaned.close, [[1, 3], [2, 4]])
    assert found(report, "day without a bar in any column") == [(None, "2004-01-02", 1)]
    assert report.counts["missing_days"] == (0, 0)
    assert report.counts["bad_bars"] == (0, 1)


@pytest.mark.parametrize(
    ("bars", "said"),
    [
        (closes([1, 2, 3], [NAN, NAN, NAN]), "column B has no price at all"),
        (closes([1, 2, 3], [0, 0, 0]), "column B: 3 of 3 bars removed: zero price, first on 2004-01-01"),
        (closes([1]), "has 1 days, too few"),
        (closes([1, NAN, NAN]), "1 days with a bar are too few"),
        (replace(closes([1, 2]), dates=np.array(["2004-01-02"] * 2, dtype="datetime64[D]")), "aren't ascending"),
    ],
)
def test_refusals(bars, said):
    with pytest.raises(DataError) as caught:
        clean(bars, 60)
    assert str(caught.value).startswith("m.csv: ")
    assert said in str(caught.value)


def test_columns_without_a_flaw_are_summed_up():
    days = 5
    many = [[1.0] * days for _ in range(500)]
    many[7][2] = 0.0
    many[9][2] = NAN
    lines = clean(closes(*many), 60)[1].to_text().splitlines()
    names = [line.split()[0] for line in lines[2:5]]
    assert names == ["column", chr(65 + 7), chr(65 + 9)]
    assert lines[5] == "498 other columns have 5 bars each, and no flaw"
    assert lines[6:] == [
        "",
        "- m.csv: H: zero price: removed on 2004-01-03",
        "- m.csv: bar at a weekend, in 500 of 500 columns: kept (998 times), first on 2004-01-03",
        "- m.csv: J: day without a bar, inside the column's life: left missing on 2004-01-03",
    ]
    flawless = clean(closes(*[[1.0] * days] * 500), 60)[1].to_text().splitlines()
    assert flawless[2:] == ["500 columns have 5 bars each, and no flaw", "", "nothing found"]


def test_the_text_of_a_report_obeys_nothing_from_a_file():
    bars = replace(closes([1, 2]), source="a\x1b[31m.csv", notes=("columns not read: \x1b]0;x\x07",))
    assert all(line.isprintable() for line in clean(bars, 200)[1].to_text().splitlines())


def test_text_of_the_report():
    bars = replace(closes([1, 2, 2], [NAN, 0, 3]), notes=("dates were sorted",))
    lines = clean(bars, 60)[1].to_text().splitlines()
    assert lines[0] == "m.csv: 3 days, 2004-01-01 to 2004-01-03, 2 columns"
    assert lines[2].split("  ")[0].strip() == "column"
    assert lines[3].split() == ["A", "3", "0", "0", "1", "0", "0"]
    assert lines[4].split() == ["B", "1", "0", "1", "0", "2", "0"]
    assert lines[6:] == [
        "- m.csv: dates were sorted",
        "- m.csv: B: zero price: removed on 2004-01-02",
        "- m.csv: A: move beyond 60 % from bar to bar: kept on 2004-01-02",
        "- m.csv: B: listed late: its first bar is on 2004-01-03",
    ]
