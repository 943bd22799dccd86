"""Made-up genomes, and a hypothesis strategy for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eigen2.evolution.operators import Genome

DTYPES = st.sampled_from([np.float32, np.float64])
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)


def normal_genome(seed: int, size: int = 100) -> Genome:
    """A float32 genome of a matrix and a vector of standard normal weights, `size` * (size + 1) in all."""
    rng = np.random.default_rng(seed)
    return {
        "layer.weight": rng.normal(size=(size, size)).astype(np.float32),
        "layer.bias": rng.normal(size=size).astype(np.float32),
    }


def copied(genome: Genome) -> Genome:
    return {name: value.copy() for name, value in genome.items()}


def assert_identical(left: Genome, right: Genome) -> None:
    """The same names in the same order, and the same types, shapes and bytes."""
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        assert left[name].shape == right[name].shape
        assert left[name].tobytes() == right[name].tobytes(), name


@st.composite
def parents(draw: Callable[..., Any], count: int = 2) -> list[Genome]:
    """`count` genomes with the same names, shapes and types, of finite weights."""
    layout = draw(st.dictionaries(st.text("abc", min_size=1), st.tuples(DTYPES, SHAPES), min_size=1, max_size=3))
    # -0.0 is left out: 1 * -0.0 + 0 * w is +0.0, the same weight with another sign bit
    weights = st.floats(-1e6, 1e6, width=32).map(lambda weight: weight + 0.0)
    return [
        {name: draw(hnp.arrays(dtype, shape, elements=weights)) for name, (dtype, shape) in layout.items()}
        for _ in range(count)
    ]
