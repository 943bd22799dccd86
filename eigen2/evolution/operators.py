"""Genetic operators on weights: arrays of a parent in, those of a child out; the parent stays untouched.

Crossover is no operator on weights: see `learning/imitation.py`.
"""

import numpy as np
from numpy.typing import NDArray

Genome = dict[str, NDArray[np.floating]]


def mutate(genome: Genome, rate: float, std: float, rng: np.random.Generator) -> Genome:
    """Gaussian mutation: a share `rate` of the weights gets N(0, std) noise."""
    return {name: _mutate_array(value, rate, std, rng) for name, value in genome.items()}


def diversity(genomes: list[Genome]) -> float:
    """Mean distance of the genomes from their mean, relative to the mean's norm; 0 for a population of clones."""
    vectors = np.stack([np.concatenate([genome[name].ravel() for name in sorted(genome)]) for genome in genomes])
    centre = vectors.mean(axis=0)
    distance = np.linalg.norm(vectors - centre, axis=1).mean()
    return float(distance / max(float(np.linalg.norm(centre)), 1e-12))


def _mutate_array(
    value: NDArray[np.floating], rate: float, std: float, rng: np.random.Generator
) -> NDArray[np.floating]:
    touched = rng.random(value.shape) < rate
    noise = rng.normal(0.0, std, value.shape)
    return np.where(touched, value + noise, value).astype(value.dtype)
