"""The plan of a generation: who stays, who gives way, who the parents are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from eigen2.config import EvolutionConfig
from eigen2.evolution.plan import (
    Champion,
    Cross,
    Keep,
    Mutate,
    MutationStrength,
    Recipe,
    heir_slot,
    leads,
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


def test_a_lead_is_the_paired_t_statistic() -> None:
    for slot in (1, 2):
        expected = ttest_rel(SCORES[0], SCORES[slot]).statistic
        assert leads(SCORES)[slot] == pytest.approx(expected)
    assert leads(SCORES)[0] == 0


def test_equals_and_a_single_slice_leave_no_error_to_compare_a_lead_with() -> None:
    assert leads(np.array([[2.0, 1.0], [2.0, 1.0], [1.0, 0.0]])).tolist() == [0, 0, np.inf]
    assert leads(np.array([[2.0], [1.0], [2.0]])).tolist() == [0, np.inf, 0]


def drawn_plan(config: EvolutionConfig, seed: int) -> tuple[NDArray[np.float64], list[Recipe]]:
    """Scores drawn for each slot, and the plan that they make with their means as fitness."""
    scores = np.random.default_rng(seed).normal(0, 100, (config.population_size, 4))
    return scores, plan(scores.mean(axis=1).tolist(), scores, STRENGTH, config, np.random.default_rng(seed))


def learners(min_lead: float, **changed: Any) -> list[Recipe]:
    """The plan for SCORES, whose fittest, the first, is kept; without an heir."""
    config = EvolutionConfig(population_size=3, elite_share=0.3, min_lead=min_lead, crossover_steps=0, **changed)
    return plan([3.0, 1.0, 0.0], SCORES, STRENGTH, config, np.random.default_rng(0))


MUTANT = Mutate(0, STRENGTH.rate, STRENGTH.std)


def test_only_who_is_led_clearly_gives_way() -> None:
    assert learners(min_lead=2.0) == [Keep(), MUTANT, Keep()]


def test_without_a_least_lead_all_but_the_fittest_give_way() -> None:
    assert learners(min_lead=0.0) == [Keep(), MUTANT, MUTANT]


@FEW
@given(configs(), st.integers(0, 1000))
def test_a_plan_lets_learners_go_on_who_were_to_give_way_to_a_lead_that_may_be_chance(
    config: EvolutionConfig, seed: int
) -> None:
    scores, recipes = drawn_plan(config, seed)
    count = config.population_size - (heir_slot(config) is not None)
    chosen = selection(scores[:count].mean(axis=1).tolist(), STRENGTH, config, np.random.default_rng(seed))
    lead = leads(scores[:count])
    for before, after, behind in zip(chosen, recipes, lead, strict=False):
        assert after == (before if behind >= config.min_lead else Keep())


# --- the heir -----------------------------------------------------------------------------------------------------


@FEW
@given(configs(), st.integers(0, 1000))
def test_the_heir_is_the_last_and_learns_from_the_best_and_all_that_it_does_not_lead_clearly(
    config: EvolutionConfig, seed: int
) -> None:
    scores, recipes = drawn_plan(config, seed)
    assert len(recipes) == config.population_size
    crossed = slots_of(recipes, Cross)
    assert crossed == ([] if heir_slot(config) is None else [config.population_size - 1])
    for slot in crossed:
        lead = leads(scores[:slot])
        expected = {other for other in range(slot) if lead[other] == 0 or lead[other] < config.min_lead}
        assert set(recipes[slot].parents) == expected  # type: ignore[union-attr]
        assert int(np.argmax(scores[:slot].mean(axis=1))) in expected


def test_what_the_heir_did_changes_nothing_for_the_others() -> None:
    config = EvolutionConfig(population_size=4, elite_share=0.5, min_lead=1.0)
    plans = []
    for of_heir in (-1e6, 1e6):
        scores = np.vstack([SCORES, np.full(3, of_heir)])
        plans.append(plan([*SCORES.mean(axis=1), of_heir], scores, STRENGTH, config, np.random.default_rng(0)))
    assert plans[0] == plans[1]


@pytest.mark.parametrize("changed", [{"crossover_steps": 0}, {"elite_share": 1.0}, {"population_size": 2}])
def test_there_is_no_heir_without_crossover_or_evolution_or_two_to_learn_from(changed: dict[str, Any]) -> None:
    assert heir_slot(EvolutionConfig(population_size=3)) == 2
    assert heir_slot(EvolutionConfig(**{"population_size": 3, **changed})) is None
