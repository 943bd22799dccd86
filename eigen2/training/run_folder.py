"""The folder a run leaves behind: where each file lies, and how a run is found again."""

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eigen2.config import Config, dump_config, load_config
from eigen2.config.trust import with_fields, withhold
from eigen2.errors import ConfigError, RunError
from eigen2.files import require_own_files, write_atomically
from eigen2.locking import FolderLock
from eigen2.market.readers import EMBEDDED
from eigen2.ownership import is_owned, write_owned

WANDB_SETTINGS = ("wandb/settings", ".wandb")  # read by W&B where a run folder is worked in
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RunFolder:
    """Paths of `runs/<name>/`; see docs/architecture.md for what each file holds."""

    def __init__(self, path: Path, withheld: tuple[str, ...] = ()) -> None:
        """withheld: fields of its config that are not obeyed, since the folder may be anybody's."""
        self.path = path
        self.name = path.resolve().name
        self.withheld = withheld
        self.config = path / "config.yaml"
        self.id = path / "run_id"
        self.provenance = path / "provenance.json"
        self.data_report = path / "data_report.txt"
        self.metrics = path / "metrics.jsonl"
        self.lineage = path / "lineage.jsonl"
        self.candidates = path / "candidates.jsonl"
        self.checkpoints = path / "checkpoints"
        self.champion = path / "champion.safetensors"
        self.trades = path / "trades.csv"
        self.equity = path / "equity.csv"
        self.results = path / "results.txt"
        self.evaluation = path / "evaluation.json"
        self.holdout_openings = path / "holdout_openings.json"
        self.fitness_plot = path / "fitness.png"
        self.equity_plot = path / "equity.png"
        self.report = path / "report.html"
        self._lock: FolderLock | None = None

    @classmethod
    def create(cls, config: Config) -> "RunFolder":
        """A new run's folder with its config. Raises ConfigError if the name is taken, RunError if it can't be made."""
        name = config.run.name or datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = cls(Path(config.run.runs_dir) / name)
        try:
            folder.path.mkdir(parents=True)
            write_atomically(folder.id, uuid.uuid4().hex[:12].encode())
            folder.keep_config(with_absolute_source(config))
        except FileExistsError as error:
            raise ConfigError(
                f"run {folder.path} exists; go on with `eigen2 train --resume {folder.path}` or choose another --name"
            ) from error
        except OSError as error:
            raise RunError(f"run folder {folder.path} can't be written: {error.strerror}") from error
        return folder

    @classmethod
    def open(cls, path: Path, trust: bool = False) -> tuple["RunFolder", Config]:
        """A run's folder and the config it was started with.

        The config is without what a folder may not decide unasked (see `eigen2.config.trust`), unless `trust`; the
        names of such fields are in `withheld`. Raises RunError if there is no run, or one that a link leads out of.
        """
        folder = cls(path)
        if not folder.config.is_file():
            raise RunError(f"{path} is not a run folder: it has no config.yaml")
        require_own_files(path)
        if not os.access(path, os.W_OK):
            raise RunError(f"run folder {path} can't be written: permission denied")
        config = load_config(folder.config)
        if trust:
            return folder, config
        for name in WANDB_SETTINGS:
            if (path / name).exists():
                raise RunError(
                    f"{path / name} would decide where W&B sends this machine's key; remove it, or give --trust if the "
                    "run is your own"
                )
        config, withheld = withhold(config, is_owned(folder.config))
        return cls(path, withheld), config

    def keep_config(self, config: Config) -> None:
        """Write the run's config. Raises RunError when the disk refuses."""
        try:
            write_owned(self.config, dump_config(config).encode())
        except OSError as error:
            raise RunError(f"{self.config} can't be written: {error.strerror}") from error

    @contextmanager
    def held(self, wait_s: float = 0.0) -> Iterator[None]:
        """Keep the folder for this process within a block, and for blocks within it.

        Raises RunError naming the process that has it for longer than `wait_s` seconds.
        """
        self._lock = self._lock or FolderLock(self.path)
        with self._lock.held(wait_s):
            yield

    def identity(self) -> str:
        """The run's id for W&B: the same however often the run is resumed. Raises RunError if there is none."""
        try:
            found = self.id.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"run id {self.id} can't be read: {error}") from error
        if not RUN_ID.fullmatch(found):
            raise RunError(f"{self.id} holds no run id: letters, digits, - and _, at most 64")
        return found

    def open_holdout(self, look: Mapping[str, str]) -> int:
        """Count that the hold-out is looked at, before anyone does; returns how often it was, this time included.

        look: what decides the numbers that are seen. The same look again shows nothing new, and is not counted again.
        Raises RunError if the count can't be read or written: a look that is not counted is not honest.
        """
        try:
            found = json.loads(self.holdout_openings.read_bytes()) if self.holdout_openings.exists() else []
            if not isinstance(found, list):
                raise ValueError("not a list of openings")
            if any(isinstance(opened, dict) and opened.get("look") == dict(look) for opened in found):
                return len(found)
            opened: list[Any] = [*found, {"at": datetime.now(UTC).isoformat(timespec="seconds"), "look": dict(look)}]
            write_atomically(self.holdout_openings, (json.dumps(opened, indent=1) + "\n").encode())
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.holdout_openings}: the hold-out's openings can't be counted: {error}") from error
        return len(opened)


def with_absolute_source(config: Config) -> Config:
    """A config whose market file is found from any working directory."""
    if config.data.source == EMBEDDED:
        return config
    return with_fields(config, {"data.source": str(Path(config.data.source).absolute())})
