"""What a run was made of beside its config: the market and the code that decides numbers, each by its SHA-256."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from eigen2.config import Config
from eigen2.config.trust import with_fields
from eigen2.errors import DataError, RunError
from eigen2.files import write_atomically
from eigen2.market.identity import differences, digest_of, identity_of
from eigen2.market.market import Market
from eigen2.market.readers import EMBEDDED
from eigen2.training.checkpoint import fingerprint
from eigen2.training.run_folder import RunFolder, with_absolute_source

# sources under eigen2/ that decide what a run learns or what its champion is said to have earned
DECIDING = (
    "arrays.py",
    "randomness.py",
    "config/schema.py",
    "market",
    "trading",
    "learning",
    "evolution",
    "evaluation",
    "tracking/expression.py",
    "training/candidates.py",
    "training/member.py",
    "training/metrics.py",
    "training/trainer.py",
)


@dataclass(frozen=True)
class Provenance:
    """market: the identity of the run's market; code: file under eigen2/ -> SHA-256; sources: paths of the market file,
    from the run folder and from the working directory it was made in; none for the embedded data."""

    market: Mapping[str, Any]
    code: Mapping[str, str]
    sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, market: Market, sources: tuple[str, ...] = ()) -> "Provenance":
        """A market, and the code as it is now."""
        return cls(identity_of(market), code_digests(), sources)

    @classmethod
    def read(cls, folder: RunFolder) -> "Provenance | None":
        """What a run was made of; None for a run that kept no record. Raises RunError if the record is damaged."""
        path = folder.provenance
        try:
            found = json.loads(path.read_bytes())
            return cls(dict(found["market"]), dict(found["code"]), tuple(map(str, found["sources"])))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunError(f"{path} can't be read: {error}; the run's market can't be known without it") from error

    @property
    def digests(self) -> dict[str, str]:
        """A SHA-256 of each part."""
        return {"market": digest_of(self.market), "code": digest_of(self.code)}

    def other_market(self, now: "Provenance") -> list[str]:
        """In what the market differs now, a clause each."""
        return differences(self.market, now.market)

    def other_code(self, now: "Provenance") -> list[str]:
        """The files of code that are others now, or are gone or new."""
        names = sorted({*self.code, *now.code})
        return [f"eigen2/{name}" for name in names if self.code.get(name) != now.code.get(name)]


def require_same(folder: RunFolder, market: Market) -> Provenance | None:
    """See that a run goes on with the market and the code it was made with; returns what it was made of.

    Raises RunError naming what differs. None for a run that kept no record, as one that was never started.
    """
    return _require_same(folder, Provenance.of(market))


def recorded(folder: RunFolder, config: Config, market: Market) -> dict[str, str]:
    """Record what a run is made of, unless it is recorded and the same; the SHA-256 of config, market and code."""
    source = config.data.source
    sources = () if source == EMBEDDED else (os.path.relpath(source, folder.path), source)
    now = Provenance.of(market, sources)
    if _require_same(folder, now) is None:
        write_atomically(folder.provenance, (json.dumps(asdict(now), indent=1) + "\n").encode())
    return {"config": fingerprint(config), **now.digests}


def _require_same(folder: RunFolder, now: Provenance) -> Provenance | None:
    made_of = Provenance.read(folder)
    if made_of is None:
        return None
    if found := made_of.other_market(now):
        raise RunError(
            f"run {folder.path} was made on other data: {'; '.join(found)}; bring back the data it was made on, or "
            "train a new run"
        )
    if found := made_of.other_code(now):
        raise RunError(
            f"run {folder.path} was made with other code: {', '.join(found)}; go on with the code that made it, or "
            "train a new run"
        )
    return made_of


def with_data_found(folder: RunFolder, config: Config, elsewhere: str | None = None) -> Config:
    """The config of a run with the place where its market file lies now.

    That is `elsewhere` where it is given, else where the config says, else the same place as seen from the run folder
    or the working directory: so data are found that moved together with the run, and on another machine those of the
    same project. Raises DataError where there is no file.
    """
    if elsewhere is not None:
        return with_absolute_source(with_fields(config, {"data.source": elsewhere}))
    if config.data.source == EMBEDDED or Path(config.data.source).exists():
        return config
    made_of = Provenance.read(folder)
    from_run, from_here = made_of.sources if made_of and len(made_of.sources) == 2 else ("", "")
    for place in (folder.path / from_run, Path(from_here)):
        if from_run and place.exists():
            return with_fields(config, {"data.source": os.path.normpath(place.absolute())})
    raise DataError(
        f"{config.data.source}: the data of run {folder.path} is not there; name the place where it lies now: "
        "`eigen2 evaluate` and `report` take --data FILE, `train` takes --set data.source=FILE"
    )


@lru_cache(maxsize=1)
def code_digests() -> dict[str, str]:
    """File under eigen2/ -> SHA-256, of the sources that decide numbers."""
    root = Path(str(resources.files("eigen2")))
    found = [root / name for name in DECIDING]
    files = [file for path in found for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    return {str(file.relative_to(root)): hashlib.sha256(_lines(file)).hexdigest() for file in files}


def _lines(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n")
