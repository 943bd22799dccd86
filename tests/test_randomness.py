"""Every draw comes from (seed, generation, member, purpose)."""

import pytest

from eigen2.randomness import stream, torch_seed

BASE = (7, 2, 3, "exploration")
OTHERS = [(8, 2, 3, "exploration"), (7, 1, 3, "exploration"), (7, 2, 4, "exploration"), (7, 2, 3, "mutation")]
# values next to each other that a careless joining of the four would mix up
ALIKE = [((1, 12, 3, "x"), (11, 2, 3, "x")), ((1, 2, 34, "x"), (1, 23, 4, "x")), ((1, 2, -1, "x"), (1, 2, 1, "x"))]


def draws(values: tuple[int, int, int, str]) -> list[float]:
    return stream(*values).random(8).tolist()


def test_the_same_four_values_give_the_same_stream() -> None:
    assert draws(BASE) == draws(BASE)
    assert torch_seed(*BASE) == torch_seed(*BASE)


@pytest.mark.parametrize(("one", "other"), [*((BASE, other) for other in OTHERS), *ALIKE])
def test_any_other_value_gives_another_stream(one: tuple[int, int, int, str], other: tuple[int, int, int, str]) -> None:
    assert draws(one) != draws(other)
    assert torch_seed(*one) != torch_seed(*other)


def test_a_stream_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert stream(0, 0, 0, "x").integers(1000, size=4).tolist() == [224, 818, 47, 589]


def test_torch_seeds_fit_63_bits() -> None:
    seeds = {torch_seed(0, generation, 0, "networks") for generation in range(200)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
