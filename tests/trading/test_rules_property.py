"""The batched rules against a plain loop, and their causality, on random prices with holes."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eigen2.config import RulesConfig
from eigen2.market.market import Prices
from eigen2.trading.ledger import NO_STOCK, ExitReason, Ledger, Slices
from eigen2.trading.rules import Book, settle
from tests.synthetic import make_prices, random_walk
from tests.trading import plain_rules

GAMMA = 0.9


@dataclass(frozen=True)
class Game:
    """Everything a ledger depends on."""

    prices: Prices
    slices: Slices
    conviction: NDArray[np.float64]
    target_pct: NDArray[np.float64]
    rules: RulesConfig

    def settle(self) -> Ledger:
        return settle(self.prices, self.slices, self.conviction, self.target_pct, self.rules, GAMMA)

    def play_plainly(self) -> list[plain_rules.Diary]:
        return plain_rules.play(self.prices, self.slices, self.conviction, self.target_pct, self.rules, GAMMA)


def rough_prices(rng: np.random.Generator, days: int, stocks: int) -> Prices:
    """Wild walks in whole units, so that prices meet each other exactly; late, ended and missing bars."""
    walk = random_walk(rng, days, stocks, volatility=0.04)
    day = np.arange(days)[:, None]
    first = rng.integers(0, days, stocks) * (rng.random(stocks) < 0.3)
    last = np.where(rng.random(stocks) < 0.3, rng.integers(0, days, stocks), days - 1)
    gone = (day < first) | (day > last) | (rng.random((days, stocks)) < 0.15)
    return make_prices(*(np.where(gone, np.nan, bar.round()) for bar in (walk.open, walk.high, walk.low, walk.close)))


def random_game(
    seed: int, *, stocks: int, slices: int, trading_days: int, settlement_days: int, rules: RulesConfig
) -> Game:
    rng = np.random.default_rng(seed)
    days = trading_days + settlement_days + 10
    conviction = rng.normal(0, 3, (slices, trading_days, stocks)).round()  # rounded: ties
    return Game(
        rough_prices(rng, days, stocks),
        Slices(rng.integers(0, 11, slices), trading_days, settlement_days),
        conviction,
        rng.uniform(0, 20, conviction.shape),
        rules,
    )


rule_configs = st.builds(
    RulesConfig,
    fill=st.sampled_from(["next_open", "close"]),
    cost_bps=st.sampled_from([0.0, 5.0, 100.0]),
    max_holding_period=st.integers(1, 8),
    min_target_pct=st.sampled_from([1.0, 4.0]),
    max_target_pct=st.sampled_from([4.0, 12.0]),
    max_coefficient=st.sampled_from([1.5, 2.0, 10.0]),
    loss_penalty_multiplier=st.sampled_from([0.0, 1.0, 3.0]),
    inaction_penalty=st.sampled_from([0.0, 1.0]),
    zero_trades_penalty=st.sampled_from([0.0, 100.0]),
)
# settlement may be shorter than the holding period here, so that the slice's end closes positions too
games = st.builds(
    random_game,
    st.integers(0, 2**32 - 1),
    stocks=st.integers(1, 5),
    slices=st.integers(1, 3),
    trading_days=st.integers(1, 14),
    settlement_days=st.integers(1, 9),
    rules=rule_configs,
)


def assert_same(ledger: Ledger, diaries: list[plain_rules.Diary]) -> None:
    np.testing.assert_allclose(ledger.rewards, [diary.rewards for diary in diaries], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ledger.credits, [diary.credits for diary in diaries], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ledger.fitness, [sum(diary.rewards) for diary in diaries], rtol=1e-9, atol=1e-9)
    assert int(ledger.bought.sum()) == sum(len(diary.trades) for diary in diaries)
    for k, diary in enumerate(diaries):
        for trade in diary.trades:
            assert_same_trade(ledger, k, trade)


def assert_same_trade(ledger: Ledger, k: int, trade: plain_rules.Trade) -> None:
    position, at = trade.position, (k, trade.position.step)
    whole = (ledger.stock[at], ledger.entry_day[at], ledger.exit_day[at], ledger.reason[at])
    assert whole == (position.stock, position.entry_day, trade.exit_day, trade.reason)
    real = (
        ledger.coefficient[at],
        ledger.target_pct[at],
        ledger.entry_price[at],
        ledger.exit_price[at],
        ledger.gain_pct[at],
    )
    expected = (position.coefficient, position.target_pct, position.entry_price, trade.exit_price, trade.gain_pct)
    assert real == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(games)
def test_ledger_equals_the_plain_loop(game: Game) -> None:
    assert_same(game.settle(), game.play_plainly())


@pytest.mark.parametrize("fill", ["next_open", "close"])
def test_random_games_reach_every_outcome(fill: Literal["next_open", "close"]) -> None:
    """Otherwise the comparison above would compare nothing."""
    rules = RulesConfig(fill=fill, max_holding_period=4, min_target_pct=2, max_target_pct=12)
    sold: Counter[int] = Counter()
    lapsed = 0
    for seed in range(40):
        game = random_game(seed, stocks=3, slices=2, trading_days=12, settlement_days=3, rules=rules)
        sold.update(game.settle().reason.ravel().tolist())
        lapsed += sum(diary.lapsed for diary in game.play_plainly())
    assert min(sold[reason] for reason in ExitReason) >= 10, sold
    assert (lapsed >= 10) == (fill == "next_open"), lapsed


def other_future(game: Game, day: int, seed: int) -> Game:
    """The same game up to the close of `day`, other prices and actions from the next day on."""
    rng = np.random.default_rng(seed)
    other = rough_prices(rng, *game.prices.close.shape)
    # that a stock's data have ended is known on the day after its last bar: it stays ended, and no other stock does
    ended = game.prices.last_day < day
    paused = ~ended & ~game.prices.valid[day]
    bars = [
        np.vstack([old[: day + 1], np.where(ended, np.nan, new[day + 1 :])])
        for old, new in (
            (game.prices.open, other.open),
            (game.prices.high, other.high),
            (game.prices.low, other.low),
            (game.prices.close, other.close),
        )
    ]
    for bar in bars:
        bar[-1, paused] = 100.0
    known = (game.slices.trading <= day)[:, :, None]
    return replace(
        game,
        prices=make_prices(*bars),
        conviction=np.where(known, game.conviction, rng.normal(0, 3, game.conviction.shape)),
        target_pct=np.where(known, game.target_pct, rng.uniform(0, 20, game.target_pct.shape)),
    )


def availability(game: Game) -> NDArray[np.bool_]:
    """Which stocks could be bought on each trading day, [K, D, S]."""
    book = Book(game.prices, game.slices, game.rules, GAMMA)
    available = np.zeros(game.conviction.shape, dtype=bool)
    for step in range(game.slices.trading_days):
        available[:, step] = book.available(step)
        book.decide(step, game.conviction[:, step], game.target_pct[:, step])
    return available


@settings(max_examples=300, deadline=None)
@given(games, st.integers(0, 2**32 - 1), st.data())
def test_nothing_up_to_a_day_depends_on_later_prices(game: Game, seed: int, data: st.DataObject) -> None:
    day = data.draw(st.integers(0, len(game.prices.close) - 2))
    changed = other_future(game, day, seed)
    before, after = game.settle(), changed.settle()

    due = game.slices.days <= day
    np.testing.assert_array_equal(before.rewards[due], after.rewards[due])
    decided = game.slices.trading <= day
    np.testing.assert_array_equal(availability(game)[decided], availability(changed)[decided])
    filled = game.slices.trading + game.rules.fill_lag <= day
    for name in ("stock", "coefficient", "target_pct", "entry_price"):
        np.testing.assert_array_equal(getattr(before, name)[filled], getattr(after, name)[filled])
    # an order waiting for the next open may lapse there, but can't turn into another one
    ordered = decided & before.bought & after.bought
    for name in ("stock", "coefficient", "target_pct"):
        np.testing.assert_array_equal(getattr(before, name)[ordered], getattr(after, name)[ordered])


@settings(max_examples=100, deadline=None)
@given(games)
def test_without_discount_credits_sum_to_fitness(game: Game) -> None:
    ledger = settle(game.prices, game.slices, game.conviction, game.target_pct, game.rules, gamma=1.0)
    np.testing.assert_allclose(ledger.credits.sum(axis=1), ledger.fitness, rtol=1e-9, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(games)
def test_no_stock_is_held_twice_at_a_time(game: Game) -> None:
    ledger = game.settle()
    for k in range(len(game.slices.starts)):
        for stock in set(ledger.stock[k].tolist()) - {NO_STOCK}:
            mine = ledger.stock[k] == stock
            assert (ledger.entry_day[k, mine][1:] >= ledger.exit_day[k, mine][:-1]).all()
