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
    """A blend of two parents: alpha of the first, the rest of the second."""

    first: int
    second: int
    alpha: float


@dataclass(frozen=True)
class Mutate:
    """An elite with noise on a share `rate` of its weights."""

    parent: int
    rate: float
    std: float


Recipe = Keep | Champion | Cross | Mutate


@dataclass(frozen=True)
class Counts:
    """How many slots are kept, crossed and mutated; they add up to the population."""

    elites: int
    crossed: int
    mutants: int

    @classmethod
    def of(cls, config: EvolutionConfig) -> "Counts":
        size = config.population_size
        elites = min(size, max(1, round(size * config.elite_share)))
        crossed = min(size - elites, round(size * config.crossover_share))
        return cls(elites, crossed, size - elites - crossed)


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


def plan(
    fitness: list[float], strength: MutationStrength, config: EvolutionConfig, rng: np.random.Generator
) -> list[Recipe]:
    """A recipe for each slot, given the fitness of the member in it (higher is better).

    The fittest are kept where they are; the last of them gives way to the champion, unless it is the only one. Children
    take the other slots: crossed parents win tournaments over the population, mutants come from elites. An elite_share
    of 1 is no evolution at all: everyone is kept.
    """
    counts = Counts.of(config)
    ranking = sorted(range(len(fitness)), key=lambda slot: (-fitness[slot], slot))
    elites = ranking[: counts.elites]
    recipes: list[Recipe] = [Keep()] * len(fitness)
    if 1 < len(elites) < len(fitness):
        recipes[elites[-1]] = Champion()
    for number, slot in enumerate(sorted(ranking[counts.elites :])):
        if number < counts.crossed:
            first, second = _tournament(ranking, config, rng), _tournament(ranking, config, rng)
            recipes[slot] = Cross(first, second, float(rng.uniform(config.min_blend, config.max_blend)))
        else:
            recipes[slot] = Mutate(elites[int(rng.integers(len(elites)))], strength.rate, strength.std)
    return recipes


def on_evidence(recipes: list[Recipe], scores: NDArray[np.float64], min_lead: float) -> list[Recipe]:
    """The recipes, but a member stays in its slot unless the best leads it clearly: by `min_lead` standard errors.

    While nobody has learned more than others, the order of members is chance, and who gives way would only lose what it
    has learned (the t-test selection of population-based training, arXiv 1711.09846).

    scores: [N, K] of each slot's member on the K slices that all of them played.
    """
    return [
        recipe if lead >= min_lead else Keep() for recipe, lead in zip(recipes, leads(scores).tolist(), strict=True)
    ]


def leads(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """How clearly the member with the best mean leads each, [N]: the paired t statistic of their scores [N, K].

    Infinite where a single slice, or a difference that is the same on all of them, leaves no error to compare it with.
    """
    differences = scores[scores.mean(axis=1).argmax()] - scores
    mean, slices = differences.mean(axis=1), scores.shape[1]
    error = differences.std(axis=1, ddof=1) / np.sqrt(slices) if slices > 1 else np.zeros(len(scores))
    return np.divide(mean, error, out=np.where(mean > 0, np.inf, 0.0), where=error > 0)


def _tournament(ranking: list[int], config: EvolutionConfig, rng: np.random.Generator) -> int:
    """The fittest of `tournament_size` slots drawn with replacement."""
    return ranking[int(rng.integers(len(ranking), size=config.tournament_size).min())]


def _grown(value: float, factor: float, cap: float) -> float:
    """A base above the cap stays as configured."""
    return max(value, min(value * factor, cap))
