"""The account: against a plain loop over days and trades, never leveraged, never below zero, never NaN."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eigen2.config import RulesConfig
from eigen2.evaluation.scores import daily_returns, score_slices
from eigen2.trading.account import RUIN, account_of
from eigen2.trading.ledger import Slices
from tests.synthetic import make_prices
from tests.trading.test_rules_property import Game, games, random_game

MANY = settings(max_examples=300, deadline=None)

harsh_rules = st.builds(
    RulesConfig,
    fill=st.sampled_from(["next_open", "close"]),
    cost_bps=st.sampled_from([0.0, 50.0, 2_000.0, 9_999.0]),
    max_holding_period=st.integers(1, 4),
    min_target_pct=st.just(1.0),
    max_target_pct=st.sampled_from([4.0, 400.0]),
    max_coefficient=st.just(1.5),
)
harsh_games = st.builds(
    random_game,
    st.integers(0, 2**32 - 1),
    stocks=st.integers(1, 5),
    slices=st.integers(1, 3),
    trading_days=st.integers(5, 60),
    settlement_days=st.integers(1, 5),
    rules=harsh_rules,
)


def wild(game: Game, scale: float) -> Game:
    """The same game with daily moves `scale` times as large."""
    prices = game.prices
    bars = (np.exp(scale * np.log(bar / 100)) for bar in (prices.open, prices.high, prices.low, prices.close))
    return replace(game, prices=make_prices(*bars))


def plain_equity(game: Game) -> NDArray[np.float64]:
    """Slice by slice and day by day, with positions in a list."""
    ledger, rules, slices = game.settle(), game.rules, game.slices
    fee, at_once = rules.cost_bps / 1e4, rules.max_holding_period + rules.fill_lag
    equity = np.zeros((len(slices.starts), slices.length))
    for k, days in enumerate(slices.days):
        cash, worth, positions = 1.0, 1.0, []

        def order(step: int, cash: float, worth: float, k: int = k, positions: list = positions) -> float:  # type: ignore[type-arg]
            if not ledger.bought[k, step] or worth <= RUIN:
                return cash
            spent = min(worth * ledger.coefficient[k, step] / rules.max_coefficient / at_once, cash)
            positions.append((step, spent / (ledger.entry_price[k, step] * (1 + fee))))
            return cash - spent

        for number, day in enumerate(days):
            if rules.fill == "next_open" and 0 < number <= slices.trading_days:
                cash = order(number - 1, cash, worth)
            for step, units in list(positions):
                if ledger.exit_day[k, step] == day:
                    cash += units * ledger.exit_price[k, step] * (1 - fee)
                    positions.remove((step, units))
            worth = cash + sum(u * game.prices.last_close[day, ledger.stock[k, s]] for s, u in positions)
            if rules.fill == "close" and number < slices.trading_days:
                cash = order(number, cash, worth)
            value = sum(u * game.prices.last_close[day, ledger.stock[k, s]] for s, u in positions)
            equity[k, number] = max(cash + value, RUIN)
    return equity


@MANY
@given(games)
def test_equity_equals_the_plain_loop(game: Game) -> None:
    account = account_of(game.settle(), game.prices, game.rules)
    np.testing.assert_allclose(account.equity, plain_equity(game), rtol=1e-9)


@MANY
@given(harsh_games, st.sampled_from([1.0, 5.0, 12.0]))
def test_an_account_is_never_leveraged_nor_below_zero(game: Game, scale: float) -> None:
    game = wild(game, scale)
    ledger = game.settle()
    account = account_of(ledger, game.prices, game.rules)
    np.testing.assert_allclose(account.equity, plain_equity(game), rtol=1e-9)
    assert account.equity.min() >= RUIN
    assert account.invested.min() >= 0
    assert (account.invested <= account.equity * (1 + 1e-9)).all()
    assert (account.share <= 1).all()
    assert (daily_returns(account.equity) > -1).all()
    for score in score_slices(ledger, game.prices, game.rules, 252):
        assert all(np.isfinite(value) for value in score.as_dict().values())
        assert 0 <= score.max_drawdown_pct <= 100
        assert 0 <= score.exposure <= 1 + 1e-9
        assert score.total_return_pct >= -100


def steady(daily_pct: float, days: int, stocks: int, rules: RulesConfig) -> Game:
    """All prices move by `daily_pct` a day; the agent always wants to buy, at full size."""
    close = np.repeat(100 * (1 + daily_pct / 100) ** np.arange(days)[:, None], stocks, axis=1)
    slices = Slices(np.array([0]), days - 10, 10)
    wanted = np.full((1, days - 10, stocks), 50.0)
    return Game(make_prices(close, close, close, close), slices, wanted, wanted, rules)


def test_costs_alone_wear_the_equity_down_by_compounding() -> None:
    """Held one day at 50 bps a side: half of the equity is bought each day, and loses 1 % on the way."""
    rules = RulesConfig(fill="close", max_holding_period=1, cost_bps=50.0)
    game = steady(0.0, 262, 3, rules)
    account = account_of(game.settle(), game.prices, rules)
    kept = (1 - 0.005) / (1 + 0.005)
    assert account.equity[0, -1] == pytest.approx(kept**252, rel=1e-3)
    assert account.equity[0, -1] == pytest.approx(0.08, abs=0.001)


def test_after_losses_purchases_shrink_with_the_equity() -> None:
    rules = RulesConfig(fill="close", max_holding_period=5, cost_bps=0.0, min_target_pct=10.0)
    game = steady(-5.0, 110, 8, rules)
    account = account_of(game.settle(), game.prices, rules)
    exposure = account.invested[0] / account.equity[0]
    assert exposure.max() <= 1
    assert exposure[10:99].mean() > 0.8  # fully invested all along, though a fifth of the equity is left
    assert account.equity[0, -1] == pytest.approx(np.prod(1 - 0.05 * exposure[:-1]), rel=1e-6)


def test_a_ruined_account_buys_nothing_more() -> None:
    rules = RulesConfig(fill="close", max_holding_period=1, cost_bps=9_999.0)
    game = steady(0.0, 120, 3, rules)
    account = account_of(game.settle(), game.prices, rules)
    assert account.equity[0, -1] == RUIN
    ruined = int((account.equity[0] <= RUIN).argmax())
    assert account.share[0, : ruined - 1].min() > 0
    assert account.share[0, ruined + 1 :].max() == 0
