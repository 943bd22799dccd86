"""The family tree of a champion: who its ancestors were, and how much of each is in it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from eigen2.report.records import Birth

Name = tuple[int, int]  # generation, slot


@dataclass(frozen=True)
class Descent:
    """A step from a parent to a child; share: how much of the champion came this way, 0..1."""

    parent: Name
    child: Name
    operator: str
    share: float


@dataclass(frozen=True)
class Family:
    """A champion and its ancestors; shares: how much of the champion passed through each, 0..1."""

    champion: Name
    shares: dict[Name, float]
    descents: list[Descent]

    @property
    def founders(self) -> dict[Name, float]:
        """The ancestors of the first generation it has."""
        first = min(generation for generation, _ in self.shares)
        return {name: share for name, share in self.shares.items() if name[0] == first}


def champion_of(births: Sequence[Birth]) -> Birth:
    """The last that was crowned."""
    return max((birth for birth in births if birth.crowned), key=lambda birth: birth.generation)


def family_of(births: Sequence[Birth], champion: Name) -> Family:
    """Everyone a champion descends from.

    A member that is crossed learns the mean of what its parents judge, so they have equal shares in it; shares multiply
    along a line and add up over lines. What gradient steps and mutations added is nobody's share.
    """
    known = {birth.name: birth for birth in births}
    shares: dict[Name, float] = defaultdict(float)
    shares[champion] = 1.0
    descents = []
    waiting = {champion}
    while waiting:
        child = max(waiting)  # parents lived in earlier generations: a child's share is whole before it is passed on
        waiting.remove(child)
        birth = known[child]
        part = 1 / max(len(birth.parents), 1)
        for parent in birth.parents:
            if parent not in known or parent >= child:
                continue  # the beginning of a lineage may be cut off
            shares[parent] += part * shares[child]
            descents.append(Descent(parent, child, birth.operator, part * shares[child]))
            waiting.add(parent)
    return Family(champion, dict(shares), descents)
