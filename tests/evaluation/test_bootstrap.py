"""The stationary bootstrap: blocks, their length, and intervals that hold what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigen2.evaluation.bootstrap import interval, optimal_block_days, probability_of_beating, resampled_days


def autoregression(phi: float, days: int = 500) -> np.ndarray:
    shocks, series = np.random.default_rng(7).normal(0, 1, days), np.zeros(days)
    for day in range(days):
        series[day] = phi * series[day - 1] + shocks[day]
    return series


@pytest.mark.parametrize(("phi", "days"), [(0.0, 1.21092037), (0.5, 8.23960991), (0.9, 26.8474494), (-0.4, 11.6389098)])
def test_block_length_is_that_of_the_published_choice(phi: float, days: float) -> None:
    """Figures of arch 8.0.0's optimal_block_length, which follows the authors' own program."""
    assert optimal_block_days(autoregression(phi)) == pytest.approx(days, rel=1e-6)


def test_returns_that_never_move_have_blocks_of_a_day() -> None:
    assert optimal_block_days(np.zeros(100)) == 1.0


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 300), st.integers(0, 2**32 - 1))
def test_blocks_are_neither_shorter_than_a_day_nor_longer_than_a_third(days: int, seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0, 0.01, days).cumsum()
    assert 1 <= optimal_block_days(returns) <= max(np.ceil(days / 3), 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.floats(1, 30), st.integers(0, 2**32 - 1))
def test_resamples_are_made_of_days_that_follow_each_other(days: int, block_days: float, seed: int) -> None:
    drawn = resampled_days(days, block_days, 400, np.random.default_rng(seed))
    assert drawn.shape == (400, days)
    assert ((drawn >= 0) & (drawn < days)).all()
    follows = (np.diff(drawn, axis=1) % days == 1).mean()
    # a block ends with probability 1 / block_days, and even then the next may begin where it ended
    expected = 1 - (1 - 1 / days) / block_days
    assert follows == pytest.approx(expected, abs=5 * np.sqrt(0.25 / (400 * (days - 1))))


def test_every_day_is_drawn_as_often_as_any_other() -> None:
    drawn = resampled_days(20, 5.0, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / 20_000, 1.0, rtol=0.06)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        returns = rng.normal(0.001, 0.01, 250)
        resamples = resampled_days(250, optimal_block_days(returns), 400, rng)
        low, high = interval(returns[resamples].mean(axis=1), 0.9)
        held += low <= 0.001 <= high
    assert 0.83 <= held / 300 <= 0.95


def test_better_on_every_day_always_beats_and_the_same_is_even() -> None:
    rng = np.random.default_rng(2)
    mine = rng.normal(0, 0.01, 100)
    resamples = resampled_days(100, 3.0, 200, rng)
    assert probability_of_beating(mine, mine[None] - 1e-4, resamples) == 1.0
    assert probability_of_beating(mine, mine[None] + 1e-4, resamples) == 0.0
    assert probability_of_beating(mine, mine[None], resamples) == 0.5


def test_equals_are_met_in_turns() -> None:
    mine = np.zeros(50)
    others = np.stack([np.full(50, 0.01), np.full(50, -0.01), np.full(50, -0.02), np.full(50, -0.03)])
    resamples = resampled_days(50, 1.0, 400, np.random.default_rng(0))
    assert probability_of_beating(mine, others, resamples) == 0.75
