"""The folder of a sweep: what it was asked, what came of it, and the runs of its trials."""

import json
import re
import uuid
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from eigen2.config import Config, dump_config, load_config
from eigen2.config.loading import first_problem
from eigen2.config.trust import withhold
from eigen2.errors import ConfigError, RunError
from eigen2.files import require_own_files, write_atomically
from eigen2.locking import FolderLock
from eigen2.ownership import is_owned, write_owned
from tune.scheduler import Name

SWEEPS = Path("sweeps")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")  # with a trial's name behind it, it must make an id for W&B


@dataclass(frozen=True)
class Settings:
    """How a sweep is run, beside its file and its base config; a session that goes on with it does the same.

    id: tells sweeps of one name apart in W&B; samples: most trials, none: the file's; objectives: `metric:goal`, where
    more than the file's metric is optimised; overrides: `field=value` from the command line that stand over the file's
    constants; concurrent: trials at once, none: what fits the machine.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    seed: int
    scheduler: Name
    samples: int | None
    objectives: tuple[str, ...]
    overrides: tuple[str, ...]
    concurrent: int | None = None

    @classmethod
    def new(
        cls,
        seed: int,
        scheduler: Name,
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

    @classmethod
    def create(cls, name: str, sweep_file: Path, base: Config, settings: Settings) -> "SweepFolder":
        """A new sweep's folder. Raises ConfigError if the name is taken or none, RunError if it can't be made."""
        folder = cls(SWEEPS / checked_name(name))
        try:
            folder.path.mkdir(parents=True)
            write_atomically(folder.sweep, sweep_file.read_bytes())
            write_owned(folder.base, dump_config(base).encode())
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
        """The folder of a sweep, by its name or path. Raises RunError if there is none, or a link leads out of it."""
        path = Path(name) if Path(name).is_dir() else SWEEPS / name
        folder = cls(path)
        if not folder.settings.is_file():
            known = sorted(found.parent.name for found in SWEEPS.glob("*/settings.json"))
            raise RunError(f"{path} is not the folder of a sweep; there are {', '.join(known) or 'none'}")
        require_own_files(path)
        return folder

    def read_settings(self) -> Settings:
        """How the sweep is run. Raises RunError if that can't be read."""
        try:
            return TypeAdapter(Settings).validate_json(self.settings.read_bytes(), strict=True)
        except OSError as error:
            raise RunError(f"{self.settings}: can't be read: {error.strerror}") from error
        except ValidationError as error:
            raise RunError(f"{self.settings}: not the settings of a sweep: {first_problem(error)}") from error

    def write_settings(self, settings: Settings) -> None:
        """Keep how the sweep is run. Raises RunError if the folder can't be written."""
        try:
            write_atomically(self.settings, json.dumps(asdict(settings), indent=1).encode())
        except OSError as error:
            raise RunError(f"{self.settings} can't be written: {error.strerror}") from error

    def read_base(self, trust: bool = False) -> tuple[Config, tuple[str, ...]]:
        """The config under every trial's values, and the names of the fields that are withheld (see `withhold`).

        Raises ConfigError if it can't be read.
        """
        base = load_config(self.base)
        return (base, ()) if trust else withhold(base, is_owned(self.base))

    def held(self) -> AbstractContextManager[None]:
        """Keep the folder for this process. Raises RunError naming the other process that runs the sweep."""
        return FolderLock(self.path).held()


def checked_name(name: str) -> str:
    """A name that folders and W&B take. Raises ConfigError for any other."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: a name has letters, digits, . _ and -, at most 40")
    return name
