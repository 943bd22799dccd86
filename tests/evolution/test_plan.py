"""The plan of a generation: who stays, who gives way, who the parents are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from eigen2.config import EvolutionConfig
from eigen2.evolution.plan import (
    Champion,
    Counts,
    Cross,
    Keep,
    Mutate,
    MutationStrength,
    Recipe,
    leads,
    on_evidence,
    plan,
)

FEW = settings(max_examples=60, deadline=None)
SIZES = st.integers(1, 64)
STRENGTH = MutationStrength(0.2, 0.025)


@st.composite
def configs(draw: Any) -> EvolutionConfig:
    elite = draw(st.floats(0.01, 1))
    blend = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return EvolutionConfig(
        population_size=draw(SIZES),
        elite_share=elite,
        crossover_share=draw(st.floats(0, 1 - elite)),
        tournament_size=draw(st.integers(1, 8)),
        min_blend=blend[0],
        max_blend=blend[1],
    )


def planned(fitness: list[float], config: EvolutionConfig, seed: int = 0) -> list[Recipe]:
    return plan(fitness, STRENGTH, config, np.random.default_rng(seed))


def drawn_fitness(config: EvolutionConfig, seed: int) -> list[float]:
    return np.random.default_rng(seed).normal(0, 100, config.population_size).tolist()


def slots_of(recipes: list[Recipe], *kinds: type) -> list[int]:
    return [slot for slot, recipe in enumerate(recipes) if isinstance(recipe, kinds)]


@FEW
@given(configs())
def test_the_counts_add_up_to_the_population(config: EvolutionConfig) -> None:
    counts = Counts.of(config)
    assert counts.elites + counts.crossed + counts.mutants == config.population_size
    assert counts.elites >= 1
    assert min(counts.crossed, counts.mutants) >= 0


@pytest.mark.parametrize("size", range(1, 65))
def test_every_slot_of_every_population_gets_a_recipe_as_counted(size: int) -> None:
    config = EvolutionConfig(population_size=size)
    recipes, counts = planned(drawn_fitness(config, size), config), Counts.of(config)
    assert len(recipes) == size
    assert len(slots_of(recipes, Keep, Champion)) == counts.elites
    assert len(slots_of(recipes, Cross)) == counts.crossed
    assert len(slots_of(recipes, Mutate)) == counts.mutants


@FEW
@given(configs(), st.integers(0, 1000))
def test_the_fittest_stay_in_their_slots_and_the_last_of_them_gives_way_to_the_champion(
    config: EvolutionConfig, seed: int
) -> None:
    fitness = drawn_fitness(config, seed)
    recipes = planned(fitness, config, seed)
    elites = np.argsort(fitness)[::-1][: Counts.of(config).elites].tolist()
    injected = 1 < len(elites) < config.population_size
    kept, champion = (elites[:-1], elites[-1:]) if injected else (elites, [])
    assert slots_of(recipes, Keep) == sorted(kept)
    assert slots_of(recipes, Champion) == champion


def test_a_population_of_one_keeps_its_member() -> None:
    assert planned([-5.0], EvolutionConfig(population_size=1)) == [Keep()]


@FEW
@given(configs(), st.integers(0, 1000))
def test_parents_are_slots_of_the_population_and_alpha_lies_in_its_range(config: EvolutionConfig, seed: int) -> None:
    slots = range(config.population_size)
    for recipe in planned(drawn_fitness(config, seed), config, seed):
        if isinstance(recipe, Cross):
            assert recipe.first in slots
            assert recipe.second in slots
            assert config.min_blend <= recipe.alpha <= config.max_blend


@FEW
@given(configs(), st.integers(0, 1000))
def test_mutants_come_from_elites_with_the_strength_given(config: EvolutionConfig, seed: int) -> None:
    fitness = drawn_fitness(config, seed)
    recipes = planned(fitness, config, seed)
    elites = slots_of(recipes, Keep, Champion)
    for recipe in recipes:
        if isinstance(recipe, Mutate):
            assert recipe.parent in elites
            assert (recipe.rate, recipe.std) == (STRENGTH.rate, STRENGTH.std)


@FEW
@given(configs(), st.integers(0, 1000), st.randoms())
def test_the_plan_depends_on_fitness_by_slot_and_seed_alone(config: EvolutionConfig, seed: int, order: Any) -> None:
    fitness = drawn_fitness(config, seed)
    arrived = list(enumerate(fitness))
    order.shuffle(arrived)
    by_slot = dict(arrived)
    collected = [by_slot[slot] for slot in range(config.population_size)]
    assert planned(collected, config, seed) == planned(fitness, config, seed)


def test_another_seed_makes_another_plan() -> None:
    config = EvolutionConfig(population_size=16)
    fitness = drawn_fitness(config, 0)
    assert planned(fitness, config, seed=1) != planned(fitness, config, seed=2)


def test_only_the_order_of_the_fitness_counts() -> None:
    config = EvolutionConfig(population_size=16)
    fitness = drawn_fitness(config, 0)
    assert planned([value**3 - 1e6 for value in fitness], config) == planned(fitness, config)


def test_of_equals_the_lower_slot_is_the_fitter() -> None:
    config = EvolutionConfig(population_size=8, elite_share=0.375, crossover_share=0.375)
    recipes = planned([1.0] * 8, config)
    assert slots_of(recipes, Keep) == [0, 1]
    assert slots_of(recipes, Champion) == [2]
    assert slots_of(recipes, Cross) == [3, 4, 5]


@pytest.mark.parametrize("size", [1, 3])
def test_tournaments_are_won_as_often_as_their_size_says(size: int) -> None:
    """Of 64 ranks, the best quarter wins a tournament of k with chance 1 - 0.75^k."""
    config = EvolutionConfig(population_size=64, elite_share=0.01, crossover_share=0.98, tournament_size=size)
    fitness = drawn_fitness(config, 0)
    best = set(np.argsort(fitness)[::-1][:16].tolist())
    won = [
        parent in best
        for seed in range(20)
        for recipe in planned(fitness, config, seed)
        if isinstance(recipe, Cross)
        for parent in (recipe.first, recipe.second)
    ]
    chance = 1 - 0.75**size
    assert abs(np.mean(won) - chance) < 5 * np.sqrt(chance * (1 - chance) / len(won))


# --- evidence -----------------------------------------------------------------------------------------------------

SCORES = np.array([[3.0, 5.0, 4.0], [1.0, 3.0, 2.5], [0.0, 9.0, 1.0]])  # the first leads, of the third it isn't sure
CHILDREN: list[Recipe] = [Keep(), Cross(0, 1, 0.5), Mutate(0, 0.2, 0.025)]


def test_a_lead_is_the_paired_t_statistic() -> None:
    for slot in (1, 2):
        expected = ttest_rel(SCORES[0], SCORES[slot]).statistic
        assert leads(SCORES)[slot] == pytest.approx(expected)
    assert leads(SCORES)[0] == 0


def test_a_member_gives_way_only_to_a_clear_lead() -> None:
    assert on_evidence(CHILDREN, SCORES, min_lead=2.0) == [Keep(), CHILDREN[1], Keep()]


def test_without_a_least_lead_the_plan_stays_as_it_is() -> None:
    assert on_evidence(CHILDREN, SCORES, min_lead=0.0) == CHILDREN
    assert on_evidence([CHILDREN[1]] * 3, SCORES, min_lead=0.0) == [CHILDREN[1]] * 3


def test_equals_and_a_single_slice_leave_no_error_to_compare_a_lead_with() -> None:
    assert leads(np.array([[2.0, 1.0], [2.0, 1.0], [1.0, 0.0]])).tolist() == [0, 0, np.inf]
    assert leads(np.array([[2.0], [1.0], [2.0]])).tolist() == [0, np.inf, 0]


@FEW
@given(configs(), st.integers(0, 1000), st.floats(0, 5))
def test_evidence_keeps_members_and_changes_no_recipe(config: EvolutionConfig, seed: int, min_lead: float) -> None:
    scores = np.random.default_rng(seed).normal(0, 100, (config.population_size, 4))
    recipes = planned(scores.mean(axis=1).tolist(), config, seed)
    for recipe, found in zip(recipes, on_evidence(recipes, scores, min_lead), strict=True):
        assert found in (recipe, Keep())
