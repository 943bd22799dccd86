"""The family tree of a run: a record for each member of each generation, with its parents and the draw behind it."""

from typing import Any

from eigen2.evolution.plan import Champion, Cross, Keep, Mutate, Recipe
from eigen2.training.member import Outcome

Origin = dict[str, Any]  # operator, parents as [generation, member], and the operator's draw


def first_origin() -> Origin:
    """A member of the first generation: drawn, without parents."""
    return {"operator": "init", "parents": []}


def origin(generation: int, slot: int, recipe: Recipe, champion: tuple[int, int]) -> Origin:
    """How the member that a recipe puts into a slot came to be; parents lived in `generation`, or are the champion."""
    match recipe:
        case Keep():
            return {"operator": "keep", "parents": [[generation, slot]]}
        case Champion():
            return {"operator": "champion", "parents": [list(champion)]}
        case Cross(parents=parents):
            return {"operator": "cross", "parents": [[generation, parent] for parent in parents]}
        case Mutate(parent=parent, rate=rate, std=std):
            return {"operator": "mutate", "parents": [[generation, parent]], "rate": rate, "std": std}


def records(
    generation: int, origins: list[Origin], outcomes: list[Outcome], crowned: int | None
) -> list[dict[str, Any]]:
    """The lineage's lines for a generation that has played; crowned: who became champion in it."""
    return [
        {
            "generation": generation,
            "member": member,
            **came_to_be,
            "fitness": outcome.fitness,
            "validation_fitness": outcome.validation_fitness,
            "crowned": member == crowned,
        }
        for member, (came_to_be, outcome) in enumerate(zip(origins, outcomes, strict=True))
    ]
