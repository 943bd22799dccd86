import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigen2.config import DataConfig, FeaturesConfig, SplitsConfig
from eigen2.errors import ConfigError, DataError
from eigen2.market.bars import Bars
from eigen2.market.build import build_market, market_from_bars, normalise
from eigen2.market.indicators import compute
from eigen2.market.market import Span

OHLCV6 = str(Path(__file__).parents[1] / "data" / "ohlcv6_2000_2013.csv.gz")
SPLITS = SplitsConfig(validation_days=30, holdout_days=20)


def build(bars, data=None, features=None, context_days=8, slice_days=25, splits=None):
    data, features = data or DataConfig(), features or FeaturesConfig()
    return market_from_bars(bars, data, features, splits or SPLITS, context_days, slice_days)


def arrays(market):
    prices = [getattr(market.prices, field.name) for field in dataclasses.fields(market.prices)]
    return [market.dates, market.stocks, market.features, *prices]


def test_embedded_market():
    market, report = build_market(DataConfig(), FeaturesConfig(), SplitsConfig(), 64, 146)
    assert market.features.shape == (4781, 21, 7)
    assert market.features.dtype == np.float32
    assert market.stock_names[0] == "AAPL"
    assert len(market.stocks) == 20
    assert market.columns[market.index] == "^GSPC"
    assert market.splits.training == Span(34 + 63, 4277)
    assert market.splits.validation == Span(4278, 4529)
    assert market.splits.holdout == Span(4530, 4780)
    assert market.prices.high is market.prices.close
    assert report.findings == ()


def test_late_listing_is_masked_until_its_features_have_values():
    market, report = build_market(DataConfig(source=OHLCV6), FeaturesConfig(), SplitsConfig(), 64, 146)
    google = market.columns.index("GOOG")
    first = int(np.flatnonzero(market.dates == np.datetime64("2004-08-19"))[0])
    assert np.isnan(market.prices.open[:first, google]).all()
    assert np.isnan(market.prices.last_close[:first, google]).all()
    assert market.prices.last_close[first, google] == 50.322842
    assert not market.observed[: first + 34, google].any()
    assert market.observed[first + 34 :, google].all()
    assert (market.features[: first + 34, google] == 0).all()
    assert (market.features[first + 34, google] != 0).all()
    assert [(f.column, str(f.date)) for f in report.findings] == [("GOOG", "2004-08-19")]
    assert market.columns[market.index] == "^GSPC"


def test_splits_divide_all_days(walk):
    market, _ = build(walk(200))
    assert market.splits.training == Span(34 + 7, 149)
    assert market.splits.validation == Span(150, 179)
    assert market.splits.holdout == Span(180, 199)


def test_too_few_days_says_how_many_are_needed(walk):
    needed = 34 + 7 + 25 + 30 + 20
    market, _ = build(walk(needed))
    assert market.splits.training.days == 25
    with pytest.raises(DataError, match=rf"arrays: has {needed - 1} days, but {needed} are needed: 34 before"):
        build(walk(needed - 1))
    with pytest.raises(DataError, match="has 30 days, too few for the first value of every feature"):
        build(walk(30))


def test_too_few_days_names_the_bars_that_were_removed(walk):
    bars = walk(120)
    bars.close[20:60] = 0
    with pytest.raises(
        DataError, match=r"has 80 days, but 116 are needed.*; arrays: A: zero price: removed \(40 times\)"
    ):
        build(bars)


def test_a_negative_price_may_be_observed_and_not_bought(walk):
    bars = walk(200)
    bars.close[7, 1] = -3
    with pytest.raises(DataError, match=r"data\.context"):
        build(bars)
    market, report = build(bars, DataConfig(context=("B", "^I")))
    assert market.stock_names == ("A",)
    assert np.isnan(market.prices.close[7, 1])
    assert [f.what for f in report.findings if f.column == "B"] == ["negative price: removed"]


def test_arrays_are_read_only_and_not_the_callers(walk):
    bars = walk(200)
    market, _ = build(bars)
    assert not any(array.flags.writeable for array in arrays(market))
    bars.close[0, 0] = 7
    assert market.prices.close[0, 0] != 7


def test_last_close_and_last_day(walk):
    bars = walk(200)
    bars.close[:3, 0] = np.nan
    bars.close[50:52, 0] = np.nan
    bars.close[190:, 1] = np.nan
    prices = build(bars)[0].prices
    assert np.isnan(prices.last_close[:3, 0]).all()
    assert np.isnan(prices.close[50:52, 0]).all()
    assert (prices.last_close[50:52, 0] == prices.close[49, 0]).all()
    assert (prices.last_close[190:, 1] == prices.close[189, 1]).all()
    assert prices.last_day.tolist() == [199, 189, 199]


def test_normalised_by_training_days_over_all_columns(walk):
    bars = walk(200)
    market, _ = build(bars)
    raw = compute(bars.close, FeaturesConfig().features)
    seen = raw[34:150].reshape(-1, 6)
    expected = (raw[34:] - seen.mean(axis=0)) / seen.std(axis=0)
    np.testing.assert_allclose(market.features[34:, :, :-1], np.clip(expected, -10, 10), rtol=1e-5, atol=1e-6)


def test_normalise_by_hand():
    raw = np.array([[[1.0]], [[np.nan]], [[3.0]], [[100.0]], [[2.5]]])
    observed = np.array([[True], [False], [True], [True], [True]])
    np.testing.assert_array_equal(normalise(raw, observed, 2)[:, 0, 0], [-1, 0, 1, 10, 0.5])


def test_a_constant_feature_is_centred():
    ones = np.ones((4, 2, 1))
    assert (normalise(ones, np.ones((4, 2), dtype=bool), 3) == 0).all()


def test_one_missing_feature_hides_the_whole_entry(walk):
    market, _ = build(walk(200), features=FeaturesConfig(features=("log_return", "trix")))
    assert market.feature_names == ("log_return", "trix", "observed")
    assert not market.observed[33].any()
    assert (market.features[33] == 0).all()
    assert market.observed[34].all()


@pytest.mark.parametrize(
    ("data", "columns", "stocks", "index"),
    [
        ({}, "A B C ^I", "A B C", "^I"),
        ({"investable": ("B",)}, "A B C ^I", "B", "^I"),
        ({"investable": ("B", "^I")}, "A B C ^I", "B ^I", None),
        ({"investable": ("B", "^I"), "context": ("C",)}, "B C ^I", "B ^I", "C"),
        ({"investable": ("B",), "context": ("A", "^I")}, "A B ^I", "B", "^I"),
        ({"context": ("C", "A")}, "A B C ^I", "B ^I", "C"),
        ({"context": ()}, "A B C ^I", "A B C ^I", None),
        ({"investable": ("C", "A"), "context": ("^I",)}, "A C ^I", "A C", "^I"),
        ({"index": "B"}, "A B C ^I", "A B C", "B"),
    ],
)
def test_choice_of_columns(walk, data, columns, stocks, index):
    market, _ = build(walk(200, columns=4), DataConfig(**data))
    assert market.columns == tuple(columns.split())
    assert market.stock_names == tuple(stocks.split())
    assert (None if market.index is None else market.columns[market.index]) == index
    assert np.isfinite(market.stock_prices.close).all()


@pytest.mark.parametrize(("step", "given", "expected"), [(1, None, 365), (7, None, 52), (7, 26.0, 26)])
def test_periods_per_year_follow_from_the_dates_unless_given(walk, step, given, expected):
    bars = walk(200)
    bars = dataclasses.replace(bars, dates=bars.dates[0] + step * np.arange(200))
    market, _ = build(bars, DataConfig(periods_per_year=given))
    assert market.periods_per_year == expected


def test_figures_are_annualised_by_the_calendar_of_the_days_that_are_judged(walk):
    """Daily bars first, weekly ones over validation and hold-out."""
    bars = walk(400)
    steps = np.where(np.arange(400) < 200, 1, 7)
    bars = dataclasses.replace(bars, dates=bars.dates[0] + np.cumsum(steps))
    market, report = build(bars, DataConfig(), splits=SplitsConfig(validation_days=60, holdout_days=60))
    assert (market.periods_per_year, market.bar_unit) == (52, "bars")
    assert any("bars a year change from 365 in the first third of the days to 52" in f.what for f in report.findings)


def test_left_out_columns_are_said_and_not_judged(walk):
    bars = walk(200, columns=4)
    bars.close[7, 1] = -3
    _, report = build(bars, DataConfig(investable=("A", "C"), context=("^I",)))
    assert [f.what for f in report.findings] == ["columns left out, being neither investable nor context: B"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"investable": ("AAPK",)}, "data.investable names AAPK, which is no column of m; did you mean AAPL?"),
        ({"context": ("^GSCP",)}, "data.context names ^GSCP, which is no column of m; did you mean ^GSPC?"),
        ({"index": "GSPC"}, "data.index names GSPC, which is no column of m; did you mean ^GSPC?"),
        ({"investable": ()}, "no column of m may be bought"),
        ({"context": ("AAPL", "^GSPC")}, "no column of m may be bought"),
        ({"investable": ("AAPL",), "context": ("AAPL",)}, "AAPL can't be both"),
        ({"investable": ("AAPL",), "context": (), "index": "^GSPC"}, "neither in data.investable nor in data.context"),
    ],
)
def test_wrong_columns(walk, data, said):
    bars = dataclasses.replace(walk(200, columns=2), columns=("AAPL", "^GSPC"), source="m")
    with pytest.raises(ConfigError) as caught:
        build(bars, DataConfig(**data))
    assert said in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), factor=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_later_prices_change_nothing_seen_before(data, factor, seed):
    days, last_training = 160, 109
    day = data.draw(st.integers(last_training, days - 2))
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, (days, 3)), axis=0))
    dates = np.datetime64("2001-01-01") + np.arange(days)
    changed = close.copy()
    changed[day + 1 :, data.draw(st.integers(0, 2))] *= factor
    before, _ = build(Bars.from_closes(dates, ("A", "B", "^I"), close))
    after, _ = build(Bars.from_closes(dates, ("A", "B", "^I"), changed))
    assert before.splits == after.splits
    assert before.splits.training.last == last_training
    np.testing.assert_array_equal(before.features[: day + 1], after.features[: day + 1])
    np.testing.assert_array_equal(before.observed, after.observed)
    np.testing.assert_array_equal(before.prices.last_close[: day + 1], after.prices.last_close[: day + 1])


def test_ending_before_the_file_ends_changes_nothing_seen_before(walk):
    bars = walk(200)
    delisted = bars.close.copy()
    delisted[160:, 0] = np.nan
    before, _ = build(bars)
    after, _ = build(dataclasses.replace(bars, open=delisted, high=delisted, low=delisted, close=delisted))
    np.testing.assert_array_equal(before.features[:160], after.features[:160])
    assert not after.observed[160:, 0].any()
