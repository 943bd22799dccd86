"""The family tree: who the champion is, who it descends from, and in what shares."""

import pytest
from matplotlib.colors import to_hex

from eigen2.report.charts import OPERATOR_COLORS, family_figure
from eigen2.report.family import champion_of, family_of
from eigen2.report.records import Birth

Name = tuple[int, int]


def born(name: Name, operator: str, *parents: Name, crowned: bool = False) -> Birth:
    return Birth.model_validate(
        {
            "generation": name[0],
            "member": name[1],
            "operator": operator,
            "parents": list(parents),
            "fitness": 1.0,
            "validation_fitness": 0.0,
            "crowned": crowned,
        }
    )


# (0, 2) has no descendant; (1, 0) is kept, (1, 1) crossed from it and (0, 1), the champion from both
BIRTHS = [
    born((0, 0), "init"),
    born((0, 1), "init"),
    born((0, 2), "init"),
    born((1, 0), "keep", (0, 0)),
    born((1, 1), "cross", (0, 0), (0, 1)),
    born((1, 2), "mutate", (0, 1)),
    born((2, 0), "cross", (1, 0), (1, 1), crowned=True),
    born((2, 1), "champion", (1, 2)),
    born((2, 2), "mutate", (1, 2)),
]


def test_ancestors_and_their_shares() -> None:
    family = family_of(BIRTHS, (2, 0))
    assert family.shares == pytest.approx({(2, 0): 1, (1, 0): 0.5, (1, 1): 0.5, (0, 0): 0.5 + 0.25, (0, 1): 0.25})
    assert family.founders == pytest.approx({(0, 0): 0.75, (0, 1): 0.25})
    steps = {(step.parent, step.child): (step.operator, round(step.share, 9)) for step in family.descents}
    assert steps == {
        ((1, 0), (2, 0)): ("cross", 0.5),
        ((1, 1), (2, 0)): ("cross", 0.5),
        ((0, 0), (1, 0)): ("keep", 0.5),
        ((0, 0), (1, 1)): ("cross", 0.25),
        ((0, 1), (1, 1)): ("cross", 0.25),
    }


def test_a_champion_put_back_descends_over_generations() -> None:
    births = [born((0, 0), "init"), born((3, 1), "champion", (0, 0))]
    assert family_of(births, (3, 1)).shares == {(3, 1): 1, (0, 0): 1}


def test_a_lineage_that_names_unknown_or_later_parents_ends_there() -> None:
    births = [born((1, 0), "mutate", (0, 0)), born((2, 0), "cross", (2, 0), (1, 0))]
    assert family_of(births, (2, 0)).shares == {(2, 0): 1, (1, 0): 0.5}


def test_the_champion_is_who_was_crowned_last() -> None:
    births = [born((0, 1), "init", crowned=True), born((1, 0), "keep", (0, 0)), born((2, 0), "keep", (1, 0))]
    assert champion_of(births).name == (0, 1)
    births[1] = born((1, 0), "keep", (0, 0), crowned=True)
    assert champion_of(births).name == champion_of(births[::-1]).name == (1, 0)


def test_each_descent_is_drawn_in_the_colour_of_its_operator() -> None:
    family = family_of(BIRTHS, (2, 0))
    panel = family_figure(BIRTHS, family).axes[0]
    others, *lines = panel.get_lines()
    assert len(others.get_xydata()) == len(BIRTHS)
    drawn = {tuple(map(tuple, line.get_xydata().astype(int).tolist())): to_hex(line.get_color()) for line in lines}
    assert drawn == {(step.parent, step.child): OPERATOR_COLORS[step.operator].lower() for step in family.descents}
    widths = {round(line.get_linewidth(), 3) for line in lines}
    assert len(widths) == len({round(step.share, 9) for step in family.descents})
