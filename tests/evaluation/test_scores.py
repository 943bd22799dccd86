"""Equity and its figures: against a plain loop over trades, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from eigen2.evaluation.scores import curve_figures, daily_returns, equity_curves, position_share, sharpe_ratios
from tests.trading.test_rules_property import Game, games


def plain_equity(game: Game) -> NDArray[np.float64]:
    """Position by position, day by day."""
    ledger, rules = game.settle(), game.rules
    share = position_share(ledger, rules)
    equity = np.ones((len(game.slices.starts), game.slices.length))
    for k, step in zip(*np.nonzero(ledger.bought), strict=True):
        for number, day in enumerate(game.slices.days[k]):
            if day >= ledger.exit_day[k, step]:
                equity[k, number] += share[k, step] * ledger.gain_pct[k, step] / 100
            elif day >= ledger.entry_day[k, step]:
                paid = ledger.entry_price[k, step] * (1 + rules.cost_bps / 1e4)
                equity[k, number] += share[k, step] * (game.prices.last_close[day, ledger.stock[k, step]] / paid - 1)
    return equity


@settings(max_examples=200, deadline=None)
@given(games)
def test_equity_equals_the_plain_loop(game: Game) -> None:
    np.testing.assert_allclose(equity_curves(game.settle(), game.prices, game.rules), plain_equity(game), rtol=1e-12)


def test_figures_by_hand() -> None:
    figures = curve_figures(np.array([1.1, 0.99, 1.188]))  # +10 %, -10 %, +20 %
    returns = np.array([0.1, -0.1, 0.2])
    assert figures["total_return_pct"] == pytest.approx(18.8)
    assert figures["max_drawdown_pct"] == pytest.approx(10)
    assert figures["sharpe_ratio"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252))
    assert figures["sortino_ratio"] == pytest.approx(returns.mean() / np.sqrt(0.01 / 3) * np.sqrt(252))


def test_a_curve_that_never_moves_has_no_ratio() -> None:
    assert curve_figures(np.ones(5))["sharpe_ratio"] == 0
    np.testing.assert_array_equal(sharpe_ratios(np.zeros((3, 5))), 0)


def test_returns_start_from_one_unit() -> None:
    np.testing.assert_allclose(daily_returns(np.array([[1.1, 1.1], [0.5, 1.0]])), [[0.1, 0.0], [-0.5, 1.0]])
