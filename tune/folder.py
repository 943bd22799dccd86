"""The folder of a sweep: what it was asked, what came of it, and the runs of its trials."""

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from eigen2.config import Config, dump_config, load_config
from eigen2.errors import ConfigError, RunError
from eigen2.files import write_atomically

SWEEPS = Path("sweeps")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")  # with a trial's name behind it, it must make an id for W&B


@dataclass(frozen=True)
class Settings:
    """How a sweep is run, beside its file and its base config; a session that goes on with it does the same.

    id: tells sweeps of one name apart in W&B; samples: most trials, none: the file's; objectives: `metric:goal`, where
    more than the file's metric is optimised; overrides: `field=value` from the command line that stand over the file's
    constants; concurrent: trials at once, none: what fits the machine.
    """

    id: str
    seed: int
    scheduler: str
    samples: int | None
    objectives: tuple[str, ...]
    overrides: tuple[str, ...]
    concurrent: int | None = None

    @classmethod
    def new(
        cls,
        seed: int,
        scheduler: str,
        samples: int | None,
        objectives: tuple[str, ...],
        overrides: tuple[str, ...],
        concurrent: int | None = None,
    ) -> "Settings":
        """Settings of a sweep that begins."""
        return cls(uuid.uuid4().hex[:8], seed, scheduler, samples, objectives, overrides, concurrent)


class SweepFolder:
    """Paths of `sweeps/<name>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.sweep = path / "sweep.yaml"
        self.base = path / "base.yaml"
        self.settings = path / "settings.json"
        self.trials = path / "trials.jsonl"
        self.runs = path / "runs"
        self.tune = path / "tune"
        self.log = path / "ray.log"
        self._lock = path / ".lock"

    @classmethod
    def create(cls, name: str, sweep_file: Path, base: Config, settings: Settings) -> "SweepFolder":
        """A new sweep's folder. Raises ConfigError if the name is taken or none, RunError if it can't be made."""
        folder = cls(SWEEPS / checked_name(name))
        try:
            folder.path.mkdir(parents=True)
            shutil.copyfile(sweep_file, folder.sweep)
            folder.base.write_text(dump_config(base), encoding="utf-8")
            folder.write_settings(settings)
        except FileExistsError as error:
            raise ConfigError(
                f"sweep {folder.path} exists; go on with `python -m tune.sweep --resume {name}` or take another --name"
            ) from error
        except OSError as error:
            raise RunError(f"sweep folder {folder.path} can't be written: {error.strerror}") from error
        return folder

    @classmethod
    def open(cls, name: str) -> "SweepFolder":
        """The folder of a sweep, by its name or path. Raises RunError if there is none."""
        path = Path(name) if Path(name).is_dir() else SWEEPS / name
        folder = cls(path)
        if not folder.settings.is_file():
            known = sorted(found.parent.name for found in SWEEPS.glob("*/settings.json"))
            raise RunError(f"{path} is not the folder of a sweep; there are {', '.join(known) or 'none'}")
        return folder

    def read_settings(self) -> Settings:
        """How the sweep is run. Raises RunError if that can't be read."""
        try:
            found = json.loads(self.settings.read_bytes())
            lists = {name: tuple(found[name]) for name in ("objectives", "overrides")}
            return Settings(**{**found, **lists})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{self.settings}: can't be read: {error}") from error

    def write_settings(self, settings: Settings) -> None:
        """Keep how the sweep is run. Raises RunError if the folder can't be written."""
        try:
            write_atomically(self.settings, json.dumps(asdict(settings), indent=1).encode())
        except OSError as error:
            raise RunError(f"{self.settings} can't be written: {error.strerror}") from error

    def read_base(self) -> Config:
        """The config under every trial's values. Raises ConfigError if it can't be read."""
        return load_config(self.base)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder for this process. Raises RunError if another one, on this machine, runs the sweep."""
        with self._lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(f"sweep {self.path} is being run by another process; wait for it or stop it") from error
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield


def checked_name(name: str) -> str:
    """A name that folders and W&B take. Raises ConfigError for any other."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: a name has letters, digits, . _ and -, at most 40")
    return name
