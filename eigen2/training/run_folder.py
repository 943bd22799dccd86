"""The folder a run leaves behind: where each file lies, and how a run is found again."""

import json
import os
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

from eigen2.config import Config, dump_config, load_config
from eigen2.errors import ConfigError, RunError
from eigen2.files import write_atomically

RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class RunFolder:
    """Paths of `runs/<name>/`; see docs/architecture.md for what each file holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.config = path / "config.yaml"
        self.id = path / "run_id"
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

    @classmethod
    def create(cls, config: Config) -> "RunFolder":
        """A new run's folder with its config. Raises ConfigError if the name is taken, RunError if it can't be made."""
        name = config.run.name or datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = cls(Path(config.run.runs_dir) / name)
        try:
            folder.path.mkdir(parents=True)
            folder.id.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
            folder.config.write_text(dump_config(config), encoding="utf-8")
        except FileExistsError as error:
            raise ConfigError(
                f"run {folder.path} exists; go on with `eigen2 train --resume {folder.path}` or choose another --name"
            ) from error
        except OSError as error:
            raise RunError(f"run folder {folder.path} can't be written: {error.strerror}") from error
        return folder

    @classmethod
    def open(cls, path: Path) -> tuple["RunFolder", Config]:
        """A run's folder and the config it was started with. Raises RunError if there is none."""
        folder = cls(path)
        if not folder.config.is_file():
            raise RunError(f"{path} is not a run folder: it has no config.yaml")
        if not os.access(path, os.W_OK):
            raise RunError(f"run folder {path} can't be written: permission denied")
        return folder, load_config(folder.config)

    def identity(self) -> str:
        """The run's id for W&B: the same however often the run is resumed. Raises RunError if there is none."""
        try:
            found = self.id.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"run id {self.id} can't be read: {error}") from error
        if not RUN_ID.fullmatch(found):
            raise RunError(f"{self.id} holds no run id: letters, digits, - and _, at most 64")
        return found

    def open_holdout(self) -> int:
        """Count that the hold-out is looked at, before anyone does; returns how often it was, this time included.

        Raises RunError if the count can't be read or written: a look that is not counted is not honest.
        """
        try:
            found = json.loads(self.holdout_openings.read_bytes()) if self.holdout_openings.exists() else []
            if not isinstance(found, list):
                raise ValueError("not a list of times")
            opened = [*found, datetime.now(UTC).isoformat(timespec="seconds")]
            write_atomically(self.holdout_openings, (json.dumps(opened, indent=1) + "\n").encode())
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.holdout_openings}: the hold-out's openings can't be counted: {error}") from error
        return len(opened)
