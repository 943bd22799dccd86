"""Walk-forward windows: which days each trains on and is tested on, and one curve of all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigen2.config import Config, DataConfig, SplitsConfig
from eigen2.errors import ConfigError, DataError
from eigen2.evaluation.walk_forward import stitched, window_configs
from eigen2.market.bars import Bars
from eigen2.market.build import market_from_bars
from eigen2.market.market import Market
from tests.training.small import small_config

DAYS = 400
DATES = np.datetime64("2010-01-01") + np.arange(DAYS)
CONFIG = small_config(validation_days=40, holdout_days=50)


def market_of(config: Config) -> Market:
    close = 100 * np.exp(np.random.default_rng(0).normal(0, 0.02, (DAYS, 3)).cumsum(axis=0))
    bars = Bars.from_closes(DATES, ("A", "B", "^I"), close)
    return market_from_bars(
        bars, config.data, config.features, config.splits, config.agent.context_days, config.slice_days
    )[0]


def test_hold_outs_follow_each_other_without_a_gap_to_the_last_day() -> None:
    markets = [market_of(config) for config in window_configs(CONFIG, DATES, 4)]
    tested = np.concatenate([m.dates[m.splits.holdout.first : m.splits.holdout.last + 1] for m in markets])
    np.testing.assert_array_equal(tested, DATES[-200:])


def test_no_trade_of_training_or_validation_reaches_the_next_days() -> None:
    needed = CONFIG.rules.max_holding_period + CONFIG.rules.fill_lag
    for config in window_configs(CONFIG, DATES, 4):
        splits = market_of(config).splits
        assert splits.validation.first - splits.training.last - 1 == needed
        assert splits.holdout.first - splits.validation.last - 1 == needed
        assert (splits.validation.days, splits.holdout.days) == (40, 50)


def test_an_embargo_that_is_longer_already_stays() -> None:
    longer = CONFIG.model_copy(update={"splits": SplitsConfig(validation_days=40, holdout_days=50, embargo_days=9)})
    assert {config.splits.embargo_days for config in window_configs(longer, DATES, 2)} == {9}


def test_only_days_and_splits_differ_from_the_config() -> None:
    for config in window_configs(CONFIG, DATES, 3):
        back = config.model_copy(update={"data": CONFIG.data, "splits": CONFIG.splits})
        assert back == CONFIG


def test_a_window_knows_nothing_of_later_days() -> None:
    """Its market is the same to the byte as that of a file that ends with it."""
    config = window_configs(CONFIG, DATES, 3)[0]
    market, whole = market_of(config), market_of(CONFIG)
    assert len(market.dates) == DAYS - 100
    np.testing.assert_array_equal(market.prices.close, whole.prices.close[: DAYS - 100])
    assert (market.prices.last_day == DAYS - 101).all()
    # normalised by its own training days
    assert not np.array_equal(market.features, whole.features[: DAYS - 100])


def test_more_windows_than_there_are_days_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"9 windows of splits\.holdout_days 50 need 450 days of testing alone"):
        window_configs(CONFIG, DATES, 9)


def test_a_window_without_days_to_train_on_says_what_it_needs() -> None:
    with pytest.raises(DataError, match=r"and twice 6 for splits\.embargo_days"):
        market_of(window_configs(CONFIG, DATES, 7)[0])


def test_a_last_date_before_the_data_is_refused() -> None:
    before = CONFIG.model_copy(update={"data": DataConfig(last_date="2009-12-31")})
    with pytest.raises(ConfigError, match=r"data\.last_date is 2009-12-31, but arrays begins on 2010-01-01"):
        market_of(before)


curves = st.lists(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=6), min_size=1, max_size=5)


@settings(max_examples=100, deadline=None)
@given(curves)
def test_a_stitched_curve_has_the_returns_of_its_parts(parts: list[list[float]]) -> None:
    whole = stitched([{"champion": np.array(part)} for part in parts])["champion"]
    assert len(whole) == sum(map(len, parts))
    assert whole[-1] == pytest.approx(np.prod([part[-1] for part in parts]))
    first = len(parts[0])
    np.testing.assert_array_equal(whole[:first], parts[0])
    if len(parts) > 1:
        np.testing.assert_allclose(whole[first : first + len(parts[1])] / whole[first - 1], parts[1])


def test_only_who_was_there_in_every_window_is_stitched() -> None:
    assert set(stitched([{"a": np.ones(2), "b": np.ones(2)}, {"a": np.ones(2)}])) == {"a"}
