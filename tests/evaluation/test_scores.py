"""Figures of an equity curve, by hand."""

import numpy as np
import pytest

from eigen2.evaluation.scores import curve_figures, daily_returns, sharpe_ratios


def test_figures_by_hand() -> None:
    figures = curve_figures(np.array([1.1, 0.99, 1.188]), 252)  # +10 %, -10 %, +20 %
    returns = np.array([0.1, -0.1, 0.2])
    assert figures["total_return_pct"] == pytest.approx(18.8)
    assert figures["max_drawdown_pct"] == pytest.approx(10)
    assert figures["sharpe_ratio"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252))
    assert figures["sortino_ratio"] == pytest.approx(returns.mean() / np.sqrt(0.01 / 3) * np.sqrt(252))


def test_a_curve_that_never_moves_has_no_ratio() -> None:
    assert curve_figures(np.ones(5), 252)["sharpe_ratio"] == 0
    np.testing.assert_array_equal(sharpe_ratios(np.zeros((3, 5)), 252), 0)


def test_returns_start_from_one_unit() -> None:
    np.testing.assert_allclose(daily_returns(np.array([[1.1, 1.1], [0.5, 1.0]])), [[0.1, 0.0], [-0.5, 1.0]])
