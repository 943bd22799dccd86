"""Which checkpoint a run goes on from."""

from dataclasses import dataclass
from pathlib import Path

from eigen2.config import Config
from eigen2.errors import RunError
from eigen2.training.checkpoint import Archive, fingerprint, generations_saved
from eigen2.training.run_folder import RunFolder


@dataclass(frozen=True)
class Resume:
    """A run to go on with: its folder, its config, and the generations that its checkpoint has behind it."""

    folder: RunFolder
    config: Config
    generation: int

    @classmethod
    def find(cls, run: str) -> "Resume":
        """From `RUN` (its newest complete checkpoint) or `RUN@GEN`.

        Raises RunError if there is no such checkpoint, or if it is damaged or of another config or version.
        """
        path, at, wanted = run.rpartition("@") if "@" in Path(run).name else (run, "", "")
        folder, config = RunFolder.open(Path(path))
        saved = generations_saved(folder.checkpoints)
        if at and (not wanted.isdigit() or int(wanted) not in saved):
            raise RunError(f"run {path} has no checkpoint of generation {wanted!r}, only of {saved or 'none'}")
        if not at and not saved:
            return cls(folder, config, 0)
        generation = int(wanted) if at else saved[-1]
        Archive(folder.checkpoints, config.checkpoint.keep, fingerprint(config)).require_whole(generation)
        return cls(folder, config, generation)
