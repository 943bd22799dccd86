"""Mutation grows on a plateau of the best validation fitness and returns to its base on progress."""

import pytest

from eigen2.config import EvolutionConfig
from eigen2.evolution.plan import MutationStrength

CONFIG = EvolutionConfig(
    mutation_rate=0.2,
    mutation_std=0.02,
    plateau_generations=3,
    plateau_improvement=0.02,
    mutation_growth=1.5,
    max_mutation_rate=0.4,
    max_mutation_std=0.05,
)


def after(*best: float, config: EvolutionConfig = CONFIG) -> MutationStrength:
    """The strength once these best validation scores were seen, one a generation."""
    strength = MutationStrength.base(config)
    for value in best:
        strength = strength.after(value, config)
    return strength


def test_it_starts_at_the_base() -> None:
    assert after() == MutationStrength(0.2, 0.02, None, 0)
    assert after(-100.0) == MutationStrength(0.2, 0.02, -100.0, 0)


def test_it_grows_by_its_factor_after_three_generations_without_progress() -> None:
    assert after(100, 100, 100) == MutationStrength(0.2, 0.02, 100, 2)
    grown = after(100, 100, 100, 100)
    assert (grown.rate, grown.std) == (pytest.approx(0.3), pytest.approx(0.03))
    assert after(*[100] * 6) == MutationStrength(grown.rate, grown.std, 100, 5)


def test_it_grows_no_further_than_its_caps() -> None:
    capped = after(*[100] * 40)
    assert (capped.rate, capped.std) == (0.4, 0.05)


def test_a_base_above_the_cap_stays() -> None:
    config = CONFIG.model_copy(update={"mutation_rate": 0.6})
    assert after(*[100] * 40, config=config).rate == 0.6


def test_progress_returns_it_to_the_base() -> None:
    assert after(100, 100, 100, 100, 200) == MutationStrength(0.2, 0.02, 200, 0)


@pytest.mark.parametrize(
    ("before", "now", "progress"),
    [
        (100, 101.9, False),
        (100, 102.1, True),
        (-100, -98.1, False),
        (-100, -97.9, True),
        (-100, 50, True),
        (-100, -300, False),
        (0, 0.001, True),
        (0, 0, False),
    ],
)
def test_progress_is_a_gain_of_two_percent_of_the_best(before: float, now: float, progress: bool) -> None:
    assert (after(before, now).stagnant == 0) == progress


def test_small_gains_add_up_to_progress() -> None:
    assert after(100, 101.5).best == 100
    assert after(100, 101.5, 103).stagnant == 0
