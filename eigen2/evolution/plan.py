"""The plan of a generation: from the members' fitness to a recipe for each slot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.config import EvolutionConfig


@dataclass(frozen=True)
class Keep:
    """The slot's member stays, with its optimisers and targets."""


@dataclass(frozen=True)
class Champion:
    """The slot takes the best on validation so far."""


@dataclass(frozen=True)
class Cross:
    """The slot's member learns what its parents agree on."""

    parents: tuple[int, ...]


@dataclass(frozen=True)
class Mutate:
    """An elite with noise on a share `rate` of its weights."""

    parent: int
    rate: float
    std: float


Recipe = Keep | Champion | Cross | Mutate


@dataclass(frozen=True)
class MutationStrength:
    """Rate and std of mutations, and the plateau that they answer to.

    `stagnant` counts generations since the best validation score last improved by `plateau_improvement`;
    `best` is the score it is measured against.
    """

    rate: float
    std: float
    best: float | None = None
    stagnant: int = 0

    @classmethod
    def base(cls, config: EvolutionConfig) -> "MutationStrength":
        return cls(config.mutation_rate, config.mutation_std)

    def after(self, best_validation: float, config: EvolutionConfig) -> "MutationStrength":
        """The strength once a generation's best validation score is known: grown on a plateau, else back to base."""
        if self.best is None or best_validation - self.best > config.plateau_improvement * abs(self.best):
            return MutationStrength(config.mutation_rate, config.mutation_std, best_validation)
        stagnant = self.stagnant + 1
        if stagnant % config.plateau_generations:
            return MutationStrength(self.rate, self.std, self.best, stagnant)
        return MutationStrength(
            _grown(self.rate, config.mutation_growth, config.max_mutation_rate),
            _grown(self.std, config.mutation_growth, config.max_mutation_std),
            self.best,
            stagnant,
        )


def heir_slot(config: EvolutionConfig) -> int | None:
    """The slot of the heir, the last; none without evolution or crossover, or where there is but one to learn from.

    The heir is the child of all: it learns from the other members, never from transitions. They learn apart, so their
    errors differ and cancel out in what they agree on, and whoever is taught it must not teach in turn.
    """
    crossed = config.crossover_steps > 0 and config.elite_share < 1 and config.population_size > 2
    return config.population_size - 1 if crossed else None


def plan(
    fitness: list[float],
    scores: NDArray[np.float64],
    strength: MutationStrength,
    config: EvolutionConfig,
    rng: np.random.Generator,
) -> list[Recipe]:
    """A recipe for each slot: learners go on or give way, the heir learns what the best of them agree on.

    Who gives way loses what it has learned, and while nobody has learned more than others, the order of members is
    chance. So only a learner whom the best leads clearly does, by `min_lead` standard errors (the t-test selection of
    population-based training, arXiv 1711.09846): of seven equals on ten slices the best leads another by 2 in half of
    all generations, by 4 in one of twenty. All others are peers of the best, which may as well be it: the heir learns
    from these.

    fitness: [N] of each slot's member, higher is better; scores: [N, K] on the K slices that all of them played.
    """
    heir = heir_slot(config)
    lead = leads(scores[:heir])
    behind = lead >= config.min_lead
    selected = selection(fitness[:heir], strength, config, rng)
    recipes = [recipe if behind[slot] else Keep() for slot, recipe in enumerate(selected)]
    if heir is None:
        return recipes
    return [*recipes, Cross(tuple(np.flatnonzero(~behind | (lead <= 0)).tolist()))]


def selection(
    fitness: list[float], strength: MutationStrength, config: EvolutionConfig, rng: np.random.Generator
) -> list[Recipe]:
    """Who is kept and who is to give way, given the fitness of the learner in each slot (higher is better).

    The fittest are kept where they are; the last of them gives way to the champion, unless it is the only one. Mutants
    of the fittest take the other slots. An elite_share of 1 is no evolution at all: everyone is kept.
    """
    size = len(fitness)
    ranking = sorted(range(size), key=lambda slot: (-fitness[slot], slot))
    elites = ranking[: min(size, max(1, round(size * config.elite_share)))]
    recipes: list[Recipe] = [Keep()] * size
    if 1 < len(elites) < size:
        recipes[elites[-1]] = Champion()
    for slot in sorted(ranking[len(elites) :]):
        recipes[slot] = Mutate(elites[int(rng.integers(len(elites)))], strength.rate, strength.std)
    return recipes


def leads(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """How clearly the member with the best mean leads each, [N]: the paired t statistic of their scores [N, K].

    Infinite where a single slice, or a difference that is the same on all of them, leaves no error to compare it with.
    """
    differences = scores[scores.mean(axis=1).argmax()] - scores
    mean, slices = differences.mean(axis=1), scores.shape[1]
    error = differences.std(axis=1, ddof=1) / np.sqrt(slices) if slices > 1 else np.zeros(len(scores))
    return np.divide(mean, error, out=np.where(mean > 0, np.inf, 0.0), where=error > 0)


def _grown(value: float, factor: float, cap: float) -> float:
    """A base above the cap stays as configured."""
    return max(value, min(value * factor, cap))
