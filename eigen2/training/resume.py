"""Which checkpoint a run goes on from, and whether all is there that it goes on with."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from eigen2.config import Config
from eigen2.config.loading import with_overrides
from eigen2.config.trust import require_asked_for
from eigen2.errors import ConfigError, RunError
from eigen2.tracking.jsonl import broken_at, read_rows
from eigen2.training.checkpoint import Archive, fingerprint, generations_saved
from eigen2.training.run_folder import RunFolder


@dataclass(frozen=True)
class Resume:
    """A run to go on with: its folder, its config, and the generations that its checkpoint has behind it."""

    folder: RunFolder
    config: Config
    generation: int

    @classmethod
    def find(cls, run: str, trust: bool = False) -> "Resume":
        """From `RUN` (its newest complete checkpoint) or `RUN@GEN`; `RUN@0` is its beginning.

        trust: see `RunFolder.open`. Raises RunError if there is no such checkpoint, if it is damaged or of another
        config or version, or if rows of the generations behind it are lost.
        """
        path, at, wanted = run.rpartition("@") if "@" in Path(run).name else (run, "", "")
        folder, config = RunFolder.open(Path(path), trust)
        with folder.held():
            saved = generations_saved(folder.checkpoints)
            if at and (not wanted.isdigit() or int(wanted) not in [0, *saved]):
                raise RunError(f"run {path} has no checkpoint of generation {wanted!r}, only of {saved or 'none'}")
            generation = int(wanted) if at else max(saved, default=0)
            if generation:
                archive = Archive(folder.checkpoints, config.checkpoint.keep, {"config": fingerprint(config)})
                archive.require_whole(generation)
                _require_rows(folder, config, generation)
        return cls(folder, config, generation)

    def with_options(self, overrides: Iterable[str], asked: Iterable[str] = ()) -> "Resume":
        """The run with `field=value` of the command line over its config.

        asked: further fields that the command line decides. Raises ConfigError for a field that decides the run's
        numbers, and for one that the folder's config sets and may not decide unasked.
        """
        overrides = list(overrides)
        config, fields = with_overrides(self.config, overrides)
        for field in fields:
            if field in ("run.name", "run.runs_dir"):
                raise ConfigError(f"--set {field}: a run that is resumed keeps its name and its folder")
        if fingerprint(config) != fingerprint(self.config):
            raise ConfigError(
                f"--set {', '.join(fields)}: a run that is resumed keeps all that decides its numbers; start a new run"
            )
        if config.run.num_generations < self.generation:
            raise ConfigError(
                f"run.num_generations is {config.run.num_generations}, but run {self.folder.path} has "
                f"{self.generation} generations; give at least as many, or go on from {self.folder.path}@GEN"
            )
        require_asked_for(self.folder.withheld, [*fields, *asked], f"run {self.folder.path}")
        return replace(self, config=config)


def _require_rows(folder: RunFolder, config: Config, generation: int) -> None:
    """See that every generation before a checkpoint has its rows, once. Raises RunError naming where they come back."""
    members = config.evolution.population_size
    rows_of = {folder.metrics: None, folder.lineage: members, folder.candidates: members}
    found = {
        path: broken_at(read_rows(path) if path.exists() else [], generation, rows) for path, rows in rows_of.items()
    }
    broken = {path: first for path, first in found.items() if first is not None}
    if not broken:
        return
    path, first = min(broken.items(), key=lambda item: item[1])
    whole = max((saved for saved in generations_saved(folder.checkpoints) if saved <= first), default=0)
    raise RunError(
        f"{path}: rows of generation {first} are missing or there twice, so the run would count too few or too many; "
        f"train them again with: eigen2 train --resume {folder.path}@{whole}"
    )
