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
    Cross,
    Keep,
    Mutate,
    MutationStrength,
    Recipe,
    crossed,
    leads,
    on_evidence,
    plan,
    selection,
)

FEW = settings(max_examples=60, deadline=None)
SIZES = st.integers(1, 64)
STRENGTH = MutationStrength(0.2, 0.025)


@st.composite
def configs(draw: Any) -> EvolutionConfig:
    return EvolutionConfig(
        population_size=draw(SIZES), elite_share=draw(st.floats(0.01, 1)), min_lead=draw(st.floats(0, 5))
    )


def selected(fitness: list[float], config: EvolutionConfig, seed: int = 0) -> list[Recipe]:
    return selection(fitness, STRENGTH, config, np.random.default_rng(seed))


def elites_of(config: EvolutionConfig) -> int:
    return max(1, round(config.population_size * config.elite_share))


def drawn_fitness(config: EvolutionConfig, seed: int) -> list[float]:
    return np.random.default_rng(seed).normal(0, 100, config.population_size).tolist()


def slots_of(recipes: list[Recipe], *kinds: type) -> list[int]:
    return [slot for slot, recipe in enumerate(recipes) if isinstance(recipe, kinds)]


@pytest.mark.parametrize("size", range(1, 65))
def test_every_slot_of_every_population_gets_a_recipe(size: int) -> None:
    config = EvolutionConfig(population_size=size)
    recipes = selected(drawn_fitness(config, size), config)
    assert len(recipes) == size
    assert len(slots_of(recipes, Keep, Champion)) == elites_of(config)
    assert len(slots_of(recipes, Mutate)) == size - elites_of(config)


@FEW
@given(configs(), st.integers(0, 1000))
def test_the_fittest_stay_in_their_slots_and_the_last_of_them_gives_way_to_the_champion(
    config: EvolutionConfig, seed: int
) -> None:
    fitness = drawn_fitness(config, seed)
    recipes = selected(fitness, config, seed)
    elites = np.argsort(fitness)[::-1][: elites_of(config)].tolist()
    injected = 1 < len(elites) < config.population_size
    kept, champion = (elites[:-1], elites[-1:]) if injected else (elites, [])
    assert slots_of(recipes, Keep) == sorted(kept)
    assert slots_of(recipes, Champion) == champion


def test_a_population_of_one_keeps_its_member() -> None:
    assert selected([-5.0], EvolutionConfig(population_size=1)) == [Keep()]


@FEW
@given(configs(), st.integers(0, 1000))
def test_mutants_come_from_elites_with_the_strength_given(config: EvolutionConfig, seed: int) -> None:
    fitness = drawn_fitness(config, seed)
    recipes = selected(fitness, config, seed)
    elites = slots_of(recipes, Keep, Champion)
    for recipe in recipes:
        if isinstance(recipe, Mutate):
            assert recipe.parent in elites
            assert (recipe.rate, recipe.std) == (STRENGTH.rate, STRENGTH.std)


@FEW
@given(configs(), st.integers(0, 1000), st.randoms())
def test_who_stays_depends_on_fitness_by_slot_and_seed_alone(config: EvolutionConfig, seed: int, order: Any) -> None:
    fitness = drawn_fitness(config, seed)
    arrived = list(enumerate(fitness))
    order.shuffle(arrived)
    by_slot = dict(arrived)
    collected = [by_slot[slot] for slot in range(config.population_size)]
    assert selected(collected, config, seed) == selected(fitness, config, seed)


def test_another_seed_makes_another_selection() -> None:
    config = EvolutionConfig(population_size=16)
    fitness = drawn_fitness(config, 0)
    assert selected(fitness, config, seed=1) != selected(fitness, config, seed=2)


def test_only_the_order_of_the_fitness_counts() -> None:
    config = EvolutionConfig(population_size=16)
    fitness = drawn_fitness(config, 0)
    assert selected([value**3 - 1e6 for value in fitness], config) == selected(fitness, config)


def test_of_equals_the_lower_slot_is_the_fitter() -> None:
    config = EvolutionConfig(population_size=8, elite_share=0.375)
    recipes = selected([1.0] * 8, config)
    assert slots_of(recipes, Keep) == [0, 1]
    assert slots_of(recipes, Champion) == [2]
    assert slots_of(recipes, Mutate) == [3, 4, 5, 6, 7]


# --- evidence -----------------------------------------------------------------------------------------------------

SCORES = np.array([[3.0, 5.0, 4.0], [1.0, 3.0, 2.5], [0.0, 9.0, 1.0]])  # the first leads, of the third it isn't sure
CHILDREN: list[Recipe] = [Keep(), Champion(), Mutate(0, 0.2, 0.025)]


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
    recipes = selected(scores.mean(axis=1).tolist(), config, seed)
    for recipe, found in zip(recipes, on_evidence(recipes, scores, min_lead), strict=True):
        assert found in (recipe, Keep())


# --- crossover ----------------------------------------------------------------------------------------------------


def test_who_stays_is_crossed_with_the_best_and_those_it_does_not_lead_clearly() -> None:
    """The second is led clearly, the third is not."""
    assert crossed([Keep(), Keep(), Keep()], SCORES, min_lead=2.0) == [Cross((0, 2))] * 3
    assert crossed([Keep(), CHILDREN[1], Keep()], SCORES, min_lead=2.0) == [Cross((0, 2)), CHILDREN[1], Cross((0, 2))]


def test_the_best_without_a_peer_is_kept_and_teaches_the_others() -> None:
    assert crossed([Keep()] * 3, SCORES, min_lead=0.0) == [Keep(), Cross((0,)), Cross((0,))]


def test_a_plan_crosses_unless_crossover_takes_no_steps() -> None:
    rng = np.random.default_rng(0)
    for steps, kept in ((0, Keep()), (1, Cross((0, 2)))):
        config = EvolutionConfig(population_size=3, elite_share=1.0, crossover_steps=steps)
        assert plan([3.0, 1.0, 0.0], SCORES, STRENGTH, config, rng) == [kept] * 3


@FEW
@given(configs(), st.integers(0, 1000))
def test_a_plan_takes_parents_from_the_population_and_the_best_is_one_of_them(
    config: EvolutionConfig, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(0, 100, (config.population_size, 4))
    fitness = scores.mean(axis=1)
    recipes = plan(fitness.tolist(), scores, STRENGTH, config, np.random.default_rng(seed))
    parents = {recipe.parents for recipe in recipes if isinstance(recipe, Cross)}
    assert len(parents) <= 1
    for slots in parents:
        assert int(fitness.argmax()) in slots
        assert set(slots) <= set(range(config.population_size))
