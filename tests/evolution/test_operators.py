"""Properties of the genetic operators."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigen2.evolution.operators import Genome, diversity, mutate
from tests.evolution.genomes import assert_identical, copied, normal_genome, parents

FEW = settings(max_examples=50, deadline=None)
WEIGHTS = 200 * 201


def touched(before: Genome, after: Genome) -> np.ndarray:
    """Changes of the weights that differ, [n]."""
    change = np.concatenate([(after[name].astype(np.float64) - before[name]).ravel() for name in before])
    return change[change != 0]


@FEW
@given(parents(1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32))
def test_mutation_leaves_its_parent_untouched_and_keeps_its_layout(
    genomes: list[Genome], rate: float, std: float, seed: int
) -> None:
    (parent,) = genomes
    before = copied(parent)
    child = mutate(parent, rate, std, np.random.default_rng(seed))
    assert [(name, value.dtype, value.shape) for name, value in child.items()] == [
        (name, value.dtype, value.shape) for name, value in before.items()
    ]
    for value in child.values():
        value[...] = 7
    assert_identical(parent, before)


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_mutation_touches_its_share_of_the_weights(rate: float, seed: int) -> None:
    parent = normal_genome(seed, 200)
    count = len(touched(parent, mutate(parent, rate, 0.5, np.random.default_rng(seed))))
    assert abs(count - rate * WEIGHTS) < 5 * np.sqrt(WEIGHTS * rate * (1 - rate))


def test_mutation_with_rate_0_changes_nothing() -> None:
    parent = normal_genome(0)
    assert_identical(mutate(parent, 0.0, 1.0, np.random.default_rng(0)), parent)


@pytest.mark.parametrize("std", [0.01, 0.5])
def test_mutation_noise_is_normal_around_zero_with_the_std_asked_for(std: float) -> None:
    parent = normal_genome(3, 200)
    change = touched(parent, mutate(parent, 1.0, std, np.random.default_rng(3)))
    assert abs(change.mean()) < 5 * std / np.sqrt(len(change))
    assert change.std() == pytest.approx(std, rel=0.02)
    assert (np.abs(change) < 2 * std).mean() == pytest.approx(0.9545, abs=0.01)


def test_the_same_stream_makes_the_same_child_and_another_stream_another() -> None:
    parent = normal_genome(0)
    child, again, other = (mutate(parent, 0.2, 0.1, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert_identical(child, again)
    assert child["layer.weight"].tobytes() != other["layer.weight"].tobytes()


def test_clones_have_no_diversity() -> None:
    assert diversity([normal_genome(0)] * 4) == pytest.approx(0, abs=1e-6)
    assert diversity([normal_genome(0)]) == 0


def test_diversity_grows_with_the_distance_of_the_genomes() -> None:
    base = normal_genome(0)
    spread = [
        diversity([mutate(base, 1.0, std, np.random.default_rng(seed)) for seed in range(4)]) for std in (0.01, 0.1, 1)
    ]
    assert spread == sorted(spread)
    assert spread[0] > 0


def test_diversity_is_the_mean_distance_relative_to_the_mean_genome() -> None:
    assert diversity([{"w": np.array([3.0, 0.0])}, {"w": np.array([3.0, 4.0])}]) == pytest.approx(2 / np.sqrt(13))
