"""Who becomes champion."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from eigen2.config import EvolutionConfig
from eigen2.evolution.succession import contenders, inherits, succeeds

CONTENDER = np.array([4.0, 6.0, 8.0])


@pytest.mark.parametrize("before", [[3.0, 3.0, 7.0], [1.0, 8.0, 8.0], [4.0, 6.0, 8.0], [5.0, 7.0, 8.5]])
def test_a_contender_succeeds_by_the_paired_t_statistic_of_the_slices(before: list[float]) -> None:
    champion = np.array(before)
    lead = float(np.nan_to_num(ttest_rel(CONTENDER, champion).statistic))
    assert succeeds(CONTENDER, champion, crown_lead=max(lead, 0) * 0.999) == (lead > 0)
    assert not succeeds(CONTENDER, champion, crown_lead=max(lead, 0) * 1.001 + 1e-9)


@pytest.mark.parametrize("best", [[5.0, 9.0, 8.5], [5.0, 7.0, 8.5], [3.0, 3.0, 7.0]])
def test_the_heir_inherits_unless_the_best_leads_it_by_the_paired_t_statistic(best: list[float]) -> None:
    lead = max(float(ttest_rel(best, CONTENDER).statistic), 0.0)
    assert inherits(CONTENDER, np.array(best), crown_lead=lead * 1.001)
    assert inherits(CONTENDER, np.array(best), crown_lead=lead * 0.999) == (lead == 0)


def test_equals_inherit_even_where_nothing_is_let_pass() -> None:
    assert inherits(CONTENDER, CONTENDER, crown_lead=0.0)


def test_a_single_slice_leaves_no_error_so_any_lead_counts() -> None:
    assert succeeds(np.array([1.1]), np.array([1.0]), crown_lead=1.0)
    assert not succeeds(np.array([1.0]), np.array([1.0]), crown_lead=0.0)


def test_of_equals_one_standard_error_lets_far_fewer_succeed_than_any_lead() -> None:
    """Twenty one after another, each against the champion so far."""
    rng = np.random.default_rng(0)
    crowned = {0.0: 0, 1.0: 0}
    for crown_lead in crowned:
        for _ in range(50):
            champion = rng.normal(size=5)
            for contender in rng.normal(size=(20, 5)):
                if succeeds(contender, champion, crown_lead):
                    champion, crowned[crown_lead] = contender, crowned[crown_lead] + 1
    assert 0 < crowned[1.0] < 0.8 * crowned[0.0]


@pytest.mark.parametrize(
    ("generation", "changed", "expected"),
    [
        (0, {}, [0, 1, 2, 3]),
        (1, {}, [3]),
        (9, {}, [3]),
        (9, {"crossover_steps": 0}, [0, 1, 2, 3]),
        (9, {"elite_share": 1.0}, [0, 1, 2, 3]),
    ],
)
def test_the_heir_contends_alone_once_it_was_taught(
    generation: int, changed: dict[str, Any], expected: list[int]
) -> None:
    assert list(contenders(generation, EvolutionConfig(population_size=4, **changed))) == expected
