"""The deflated Sharpe ratio against its paper's example, and backtest overfitting where the answer is known."""

from itertools import combinations
from math import sqrt
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigen2.evaluation.overfitting import (
    BLOCKS,
    deflated_sharpe,
    distinct,
    expected_best_sharpe,
    moments,
    overfitting,
    probabilistic_sharpe,
)
from eigen2.evaluation.scores import sharpe_ratios


def noise(seed: int, candidates: int = 40, days: int = 252) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, (candidates, days))


def test_the_papers_example() -> None:
    """Bailey and Lopez de Prado (2014): 100 trials of variance 1/2 a year, 1 250 days, Sharpe ratio 2.5 a year."""
    best = expected_best_sharpe(0.5 / 250, 100)
    assert best == pytest.approx(0.1132, abs=5e-5)
    assert probabilistic_sharpe(2.5 / sqrt(250), best, 1250, -3, 10) == pytest.approx(0.9004, abs=5e-5)


def test_the_papers_example_with_fewer_trials() -> None:
    """With 46 trials the paper's discovery would have been significant at 95 %, with 100 it is not."""
    best = expected_best_sharpe(0.5 / 250, 46)
    assert probabilistic_sharpe(2.5 / sqrt(250), best, 1250, -3, 10) == pytest.approx(0.9505, abs=5e-4)


def test_expected_best_is_what_the_best_of_many_has() -> None:
    best = np.random.default_rng(0).normal(0, 0.3, (20_000, 50)).max(axis=1).mean()
    assert expected_best_sharpe(0.09, 50) == pytest.approx(best, rel=0.02)
    assert expected_best_sharpe(0.09, 1) == 0


def test_moments_of_known_returns() -> None:
    assert moments(np.array([1.0, -1.0, 1.0, -1.0])) == (0.0, 1.0)
    assert moments(np.array([0.0, 0.0, 0.0, 4.0])) == pytest.approx((2 / sqrt(3), 7 / 3))
    assert moments(np.zeros(5)) == (0.0, 3.0)


def test_the_best_of_noise_is_not_called_skill_and_its_plain_ratio_would_be() -> None:
    """Chosen by its Sharpe ratio from 100 without any, the best looks good until it is deflated."""
    plain, deflated = [], []
    for seed in range(60):
        candidates = noise(seed, 100)
        chosen = candidates[sharpe_ratios(candidates, 252).argmax()]
        plain.append(deflated_sharpe(chosen, candidates, 1, 252).probability >= 0.95)
        deflated.append(deflated_sharpe(chosen, candidates, 100, 252).probability >= 0.95)
    assert mean(plain) > 0.9
    assert mean(deflated) < 0.05


def test_more_trials_of_a_sweep_deflate_more() -> None:
    candidates = noise(3, 20)
    probabilities = [
        deflated_sharpe(candidates[0], candidates, 20 * trials, 252).probability for trials in (1, 10, 100)
    ]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len(set(probabilities)) == 3


def test_ratios_are_told_a_year() -> None:
    candidates = noise(4, 20)
    told = deflated_sharpe(candidates[0], candidates, 20, 252)
    assert told.sharpe_ratio == pytest.approx(float(sharpe_ratios(candidates[0], 252)))
    spread = float(np.var(sharpe_ratios(candidates, 252), ddof=1))
    assert told.expected_best_sharpe == pytest.approx(expected_best_sharpe(spread, 20))
    assert (told.days, told.trials) == (252, 20)


def test_a_champion_that_never_traded_has_no_evidence() -> None:
    candidates = np.vstack([np.zeros(100), noise(0, 5, 100)])
    assert deflated_sharpe(candidates[0], candidates, 6, 252).probability < 0.5


def test_overfitting_of_noise_is_near_a_half() -> None:
    found = [overfitting(noise(seed)) for seed in range(60)]
    assert mean(each.probability for each in found if each) == pytest.approx(0.5, abs=0.07)
    assert {(each.splits, each.blocks) for each in found if each} == {(924, BLOCKS)}


def test_a_candidate_with_skill_is_not_overfitting() -> None:
    candidates = noise(5)
    candidates[11] += 0.004
    found = overfitting(candidates)
    assert found
    assert found.probability < 0.01


def test_candidates_of_which_half_fail_where_the_others_win_are_overfitting() -> None:
    """One half of the days says the opposite of the other: the best inside is the worst outside."""
    sign = np.repeat([1.0, -1.0] * 6, 10)
    strengths = np.linspace(-0.002, 0.002, 9)[:, None]
    found = overfitting(strengths * sign + np.tile(noise(6, 1, 120), (9, 1)))
    assert found
    assert found.probability > 0.6


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(4, 15), st.integers(0, 2**32 - 1))
def test_overfitting_equals_the_plain_loop(candidates: int, days: int, seed: int) -> None:
    returns = noise(seed, candidates, days)
    found = overfitting(returns)
    blocks = min(BLOCKS, days // 2) // 2 * 2
    length = days // blocks
    cut = np.split(returns[:, days - blocks * length :], blocks, axis=1)
    below = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = sharpe_ratios(np.hstack([cut[block] for block in chosen]), 252)
        outside = sharpe_ratios(np.hstack([cut[block] for block in range(blocks) if block not in chosen]), 252)
        rank = 1 + int((outside < outside[inside.argmax()]).sum())
        below.append(rank / (candidates + 1) <= 0.5)
    assert found
    assert found.probability == pytest.approx(mean(below))
    assert (found.splits, found.blocks) == (len(below), blocks)


@pytest.mark.parametrize("shape", [(1, 100), (5, 3)])
def test_where_there_is_nothing_to_choose_from_it_is_not_known(shape: tuple[int, int]) -> None:
    assert overfitting(noise(0, *shape)) is None


def test_a_clone_is_not_another_candidate() -> None:
    candidates = noise(0, 3, 10)
    np.testing.assert_array_equal(distinct(candidates[[2, 0, 2, 1, 0]]), candidates[[2, 0, 1]])
