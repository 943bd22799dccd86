"""Nothing up to a day depends on what comes after it: from the bars of a file to the numbers of a report.

Other prices come after day t; all that is known on day t must stay the same to the bit. Days of training are not tried
on the whole chain: what is fitted, networks and normalisation alike, has seen all training days. The indicators
themselves are, on every day.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eigen2.config import Config, FeaturesConfig
from eigen2.evaluation.env import TradingEnv
from eigen2.evaluation.examination import Segment, equity_of, examine, trades_of
from eigen2.evaluation.scores import curve_figures, daily_returns
from eigen2.evaluation.slices import training_slices, validation_slices
from eigen2.learning.agent import Agent, MarketView
from eigen2.market.bars import Bars
from eigen2.market.build import market_from_bars
from eigen2.market.indicators import compute
from eigen2.market.market import Market
from eigen2.trading.ledger import Slices
from eigen2.trading.rules import settle
from tests.synthetic import random_walk
from tests.training.small import small_config

DAYS, LAST_TRAINING = 220, 129
CONFIG = small_config(validation_days=40, holdout_days=40, embargo_days=5, max_target_pct=6.0)
COLUMNS = ("A", "B", "C", "D", "^I")


@dataclass(frozen=True)
class World:
    """A market and everything that is made of it without training."""

    market: Market
    agent: Agent

    @classmethod
    def of(cls, bars: Bars, config: Config = CONFIG) -> "World":
        market, _ = market_from_bars(
            bars, config.data, config.features, config.splits, config.agent.context_days, config.slice_days
        )
        view = MarketView.of(market, config.rules, torch.device("cpu"))
        return cls(market, Agent(config.agent, config.ddpg, config.rules, view, seed=3))

    def segments(self) -> list[Segment]:
        return examine(self.market, CONFIG, self.agent.act, (0.0, 20.0))

    def episode(self, start: int) -> list[tuple[NDArray[np.float32], float]]:
        """Observation and reward of each step of an environment under fixed actions."""
        env, rng = TradingEnv(self.market, CONFIG, "holdout"), np.random.default_rng(0)
        seen = [(env.reset(options={"start": start})[0], 0.0)]
        for _ in range(CONFIG.slice_days):
            observation, reward, *_ = env.step(rng.uniform(-1, 1, (len(self.market.stocks), 2)))
            seen.append((observation, reward))
        return seen


def bars_of(seed: int) -> Bars:
    walk = random_walk(np.random.default_rng(seed), DAYS, len(COLUMNS))
    dates = np.datetime64("2015-01-01") + np.arange(DAYS)
    return Bars(dates, COLUMNS, walk.open, walk.high, walk.low, walk.close)


def with_other_prices(bars: Bars, day: int, seed: int, columns: NDArray[np.bool_]) -> Bars:
    """Other bars of these columns after `day`, at another level and as wild as they come."""
    rng = np.random.default_rng(seed)
    other = random_walk(rng, DAYS, len(COLUMNS), volatility=0.05)
    level = rng.uniform(0.6, 1.5)
    after = (np.arange(DAYS) > day)[:, None] & columns
    chosen = {
        name: np.where(after, level * getattr(other, name), getattr(bars, name))
        for name in ("open", "high", "low", "close")
    }
    return replace(bars, **chosen)


days = st.integers(LAST_TRAINING, DAYS - 2)
seeds = st.integers(0, 2**16)
some_columns = st.lists(st.booleans(), min_size=5, max_size=5).filter(any).map(np.array)


def differs(one: Any, two: Any) -> bool:
    return not np.array_equal(one, two, equal_nan=True)


@settings(max_examples=15, deadline=None)
@given(days, seeds, some_columns)
def test_nothing_up_to_a_day_depends_on_later_prices(day: int, seed: int, columns: NDArray[np.bool_]) -> None:
    bars = bars_of(seed)
    before, after = World.of(bars), World.of(with_other_prices(bars, day, seed + 1, columns))
    assert differs(before.market.prices.close, after.market.prices.close)
    _compare_markets(before.market, after.market, day)
    _compare_actions(before, after, day)
    _compare_environments(before, after, day)
    for one, two in zip(before.segments(), after.segments(), strict=True):
        _compare_reports(one, two, before.market, after.market, day)


def _compare_markets(one: Market, two: Market, day: int) -> None:
    assert one.splits == two.splits
    assert one.splits.training.last == LAST_TRAINING
    np.testing.assert_array_equal(one.features[: day + 1], two.features[: day + 1])
    np.testing.assert_array_equal(one.prices.last_close[: day + 1], two.prices.last_close[: day + 1])
    for generation in range(3):
        starts = [training_slices(market, CONFIG, generation).starts for market in (one, two)]
        np.testing.assert_array_equal(*starts)
    np.testing.assert_array_equal(validation_slices(one, CONFIG).starts, validation_slices(two, CONFIG).starts)


def _compare_actions(one: World, two: World, day: int) -> None:
    slices = Slices(np.array([LAST_TRAINING + 1, 150]), 60, 6)
    known = slices.trading <= day
    mine, theirs = one.agent.act(slices), two.agent.act(slices)
    np.testing.assert_array_equal(mine.conviction[known], theirs.conviction[known])
    np.testing.assert_array_equal(mine.target_pct[known], theirs.target_pct[known])
    rewards = [
        settle(world.market.stock_prices, slices, actions.conviction, actions.target_pct, CONFIG.rules, 0.99).rewards
        for world, actions in ((one, mine), (two, theirs))
    ]
    np.testing.assert_array_equal(rewards[0][slices.days <= day], rewards[1][slices.days <= day])


def _compare_environments(one: World, two: World, day: int) -> None:
    start = one.market.splits.holdout.first
    for step, (mine, theirs) in enumerate(zip(one.episode(start), two.episode(start), strict=True)):
        # the observation after step s is of day start + s, the reward with it of the day before
        if start + step <= day:
            np.testing.assert_array_equal(mine[0], theirs[0])
        if start + step - 1 <= day:
            assert mine[1] == theirs[1]


def _compare_reports(one: Segment, two: Segment, market: Market, other: Market, day: int) -> None:
    known = int((one.days <= day).sum())
    for name, curve in one.curves.items():
        np.testing.assert_array_equal(curve[:known], two.curves[name][:known])
        if known > 1:
            assert curve_figures(curve[:known], 252) == curve_figures(two.curves[name][:known], 252)
    np.testing.assert_array_equal(one.random_curves[:, :known], two.random_curves[:, :known])
    np.testing.assert_array_equal(*(daily_returns(segment.random_curves)[:, :known] for segment in (one, two)))
    assert equity_of(one, market)[:known] == equity_of(two, other)[:known]
    today = market.dates[day]
    mine, theirs = (
        [trade for trade in trades_of(*of) if trade["entry_date"] <= today] for of in ((one, market), (two, other))
    )
    entries = ("stock", "decided", "entry_date", "entry_price", "coefficient", "target_pct")
    assert [[trade[name] for name in entries] for trade in mine] == [
        [trade[name] for name in entries] for trade in theirs
    ]
    assert [trade for trade in mine if trade["exit_date"] <= today] == [
        trade for trade in theirs if trade["exit_date"] <= today
    ]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, DAYS - 2), seeds)
def test_indicators_do_not_look_ahead_on_any_day(day: int, seed: int) -> None:
    bars = bars_of(seed)
    other = with_other_prices(bars, day, seed + 1, np.ones(5, dtype=bool))
    one, two = (compute(each.close, FeaturesConfig().features)[: day + 1] for each in (bars, other))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("day", [LAST_TRAINING, 150, 185])
def test_the_comparison_would_see_a_day_more(day: int) -> None:
    """With the prices of day t itself changed, everything that must not see day t + 1 shows that it sees day t."""
    bars = bars_of(1)
    before, after = World.of(bars), World.of(with_other_prices(bars, day - 1, 2, np.ones(5, dtype=bool)))
    assert differs(before.market.features[: day + 1], after.market.features[: day + 1])
    slices = Slices(np.array([day - 20]), 30, 6)
    known = slices.trading <= day
    assert differs(before.agent.act(slices).conviction[known], after.agent.act(slices).conviction[known])
    for one, two in zip(before.segments(), after.segments(), strict=True):
        if one.days[0] < day <= one.days[-1]:
            known = one.days <= day
            for name in one.curves.keys() - {"champion"}:
                assert differs(one.curves[name][known], two.curves[name][known])
