"""The vault: the state that parts come back with, in memory on the trainer's node, and from there into checkpoints.

The driver speaks of states by name and never holds one.
"""

from pathlib import Path
from typing import Any

from eigen2.arrays import require_like
from eigen2.errors import RunError, concerning
from eigen2.evolution.operators import diversity
from eigen2.learning.genome import ONLINE, genome_of
from eigen2.training.checkpoint import Archive

CHAMPION = "champion"
PARAMETERS = (ONLINE, "target/")  # begin the names of all arrays of a member's state that are no moments


class Vault:
    """What the parts of a run laid down. A plain class, which the trainer runs as an actor on its own node.

    Things are staged while a phase goes on and count only once it is committed, so a phase that is repeated, for one
    part or for all, always begins from the same states.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._held: dict[str, Any] = {}
        self._staged: dict[str, Any] = {}

    def ready(self) -> None:
        """Answers as long as the vault goes on."""

    def stage(self, name: str, value: Any) -> None:
        """Lay something down, for when the phase is committed."""
        self._staged[name] = value

    def commit(self) -> None:
        """The phase is done: what was staged counts."""
        self._held |= self._staged
        self._staged.clear()

    def held(self, name: str) -> Any:
        """What counts under a name. Raises RunError if there is nothing."""
        if name not in self._held:
            raise RunError(f"{name} is missing")
        return self._held[name]

    def crown(self, name: str) -> None:
        """Keep the state of a member, as it is, as the champion."""
        self._held[CHAMPION] = self._held[name]

    def diversity(self, names: list[str]) -> float:
        """How unlike the genomes of some members are."""
        return diversity([genome_of(self.held(name)) for name in names])

    def save(self, generation: int, progress: dict[str, Any], names: list[str]) -> str:
        """Write a checkpoint of named states and the champion; see `Archive.save`."""
        kept = [*names, CHAMPION]
        return self._archive.save(generation, progress, kept, *(self._held[name] for name in kept))

    def load(self, generation: int) -> dict[str, Any]:
        """Hold what a checkpoint has; returns the driver's part of it. See `Archive.load`."""
        checkpoint = self._archive.load(generation)
        self._held = dict(checkpoint.parts)
        return checkpoint.progress

    def verify_champion(self, members: list[str]) -> None:
        """See that the champion's state is like the members'. Raises RunError naming what does not fit.

        Who was crowned, or made of a champion that was crowned, before anyone learned has no moments of an optimiser.
        """
        champion = self.held(CHAMPION)
        wanted = {name: array for member in members for name, array in self.held(member).items()}
        if not any(map(is_moment, champion)):
            wanted = {name: array for name, array in wanted.items() if not is_moment(name)}
        with concerning(CHAMPION):
            require_like(champion, wanted)

    def save_champion(self, path: Path) -> None:
        """Write the champion's genome to a file of its own."""
        self._archive.save_genome(path, genome_of(self._held[CHAMPION]))

    def flush(self, deadline_s: float) -> str | None:
        """Wait for uploads; see `Archive.flush`."""
        return self._archive.flush(deadline_s)

    def trouble(self) -> str | None:
        """What keeps the storage from taking the run; see `Archive.trouble`."""
        return self._archive.trouble()


def is_moment(name: str) -> bool:
    """Whether an array of a member's state is an optimiser's."""
    return not name.startswith(PARAMETERS)
