"""The planted markets are what they say, and their observers infer what can be inferred."""

from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import markets
from benchmarks.markets import MARKETS, kalman_deviation, mean_of_last, planted, regime_odds, write_csv
from eigen2.market.readers import read_bars


@pytest.mark.parametrize("name", MARKETS)
def test_a_market_comes_from_its_seed_and_never_drifts(name: str) -> None:
    made, again, other = planted(name, 3), planted(name, 3), planted(name, 4)
    np.testing.assert_array_equal(made.bars.close, again.bars.close)
    assert not np.array_equal(made.bars.close, other.bars.close)
    returns = np.log(made.bars.close[1:] / made.bars.close[:-1])
    growth = np.exp(returns).mean(axis=0) - 1
    assert abs(growth.mean()) < 4 * returns.std() / np.sqrt(len(returns))
    assert (made.bars.low <= made.bars.open).all()
    assert (made.bars.open <= made.bars.high).all()


def test_the_kalman_filter_is_the_conditional_mean() -> None:
    days, phi = 6, markets.DEVIATION_PHI
    lag = np.abs(np.subtract.outer(np.arange(days), np.arange(days)))
    deviation = markets.DEVIATION_STD**2 / (1 - phi**2) * phi**lag
    # the walk starts wherever the first price says, so only differences from it are known
    steps = np.tril(np.ones((days - 1, days - 1)))
    differences = np.hstack([-np.ones((days - 1, 1)), np.eye(days - 1)])
    of_prices = differences @ deviation @ differences.T + markets.WALK_STD**2 * steps @ steps.T
    moved = np.random.default_rng(0).normal(0, 0.03, days - 1)
    expected = deviation[-1] @ differences.T @ np.linalg.solve(of_prices, moved)
    log_price = np.concatenate([[1.7], 1.7 + moved])[:, None]
    assert kalman_deviation(log_price)[-1, 0] == pytest.approx(expected, rel=1e-9)


def test_the_odds_of_a_regime_are_those_of_all_histories() -> None:
    returns = np.random.default_rng(1).normal(0, 0.01, 6)
    weight = {-1: 0.0, 1: 0.0}
    for history in product((-1, 1), repeat=len(returns)):
        flips = sum(a != b for a, b in pairwise(history))
        stays = len(history) - 1 - flips
        prior = (1 / markets.REGIME_DAYS) ** flips * (1 - 1 / markets.REGIME_DAYS) ** stays
        error = (returns - markets.DRIFT * np.array(history)) / markets.REGIME_NOISE_STD
        weight[history[-1]] += prior * np.exp(-0.5 * (error**2).sum())
    assert regime_odds(returns[:, None])[-1, 0] == pytest.approx(np.log(weight[1] / weight[-1]), rel=1e-9)


@pytest.mark.parametrize("infer", [kalman_deviation, regime_odds, lambda values: mean_of_last(3, values)])
def test_no_observer_looks_ahead(infer: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
    values = np.random.default_rng(2).normal(0, 0.01, (40, 2))
    changed = values.copy()
    changed[25:] += 1
    np.testing.assert_array_equal(infer(changed)[:25], infer(values)[:25])
    assert not np.array_equal(infer(changed)[25:], infer(values)[25:])


@pytest.mark.parametrize("name", ["reversion", "momentum", "context"])
def test_the_next_day_pays_the_oracle_most_and_the_rule_more_than_chance(name: str) -> None:
    made = planted(name, 0)
    assert made.observer is not None
    assert made.rule is not None
    stocks = made.bars.close[:, -markets.STOCKS :]
    rises = stocks[1:] / stocks[:-1] - 1
    oracle, observer, rule = (
        np.take_along_axis(rises, policy[:-1].argmax(axis=1)[:, None], axis=1).mean()
        for policy in (made.oracle, made.observer, made.rule)
    )
    assert rises.mean() < rule < oracle
    assert rises.mean() < observer < 1.1 * oracle


def test_a_market_written_as_a_file_is_read_as_it_was(tmp_path: Path) -> None:
    made = planted("context", 0)
    write_csv(made.bars.on_days(np.arange(len(made.bars.dates)) < 50), tmp_path / "context.csv")
    read = read_bars(str(tmp_path / "context.csv"), allow_pickle=False)
    order = [read.columns.index(name) for name in made.bars.columns]
    np.testing.assert_allclose(read.close[:, order], made.bars.close[:50], atol=1e-6)
    np.testing.assert_array_equal(read.dates, made.bars.dates[:50])
