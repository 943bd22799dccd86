"""What an examination is about: a run's champion, the market it is tried on, and how both stand to the run."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from eigen2.arrays import Arrays
from eigen2.config import Config
from eigen2.errors import RunError
from eigen2.files import make_folder, read_regular
from eigen2.learning.genome import genome_of
from eigen2.market.identity import first_holdout_day, holdout_digest
from eigen2.market.market import Market
from eigen2.training.candidates import read_candidates
from eigen2.training.checkpoint import Archive, fingerprint, folder_name, generations_saved, load_genome
from eigen2.training.provenance import Provenance
from eigen2.training.run_folder import RunFolder
from eigen2.training.vault import CHAMPION

OTHER_DATA = "other-data"  # folder in a run folder: what its champion earned on data that are not the run's
NO_RECORD = "the run kept no record of the data it was made on"


@dataclass(frozen=True)
class Allowed:
    """What may differ from what the run was made of."""

    data: bool = False
    code: bool = False


STRICT = Allowed()


@dataclass(frozen=True)
class Subject:
    """A champion on a market.

    generations: how many the run had when this was its champion, None if it had come to its end; origin: the file or
    checkpoint of the genome; results: where the examination's files go; look: what decides the numbers that will be
    seen; other_data: in what the market is not the run's, a clause each; notes: sentences for the verdict.
    """

    folder: RunFolder
    generations: int | None
    genome: Arrays
    origin: str
    results: RunFolder
    look: dict[str, str]
    other_data: list[str]
    notes: list[str]

    def candidates(self) -> NDArray[np.float64] | None:
        """Daily returns on validation [N, T] of all it was chosen from; None where there are none to count."""
        if self.other_data or not self.folder.candidates.exists():
            return None
        return read_candidates(self.folder.candidates, self.generations)


def subject_of(folder: RunFolder, config: Config, market: Market, allowed: Allowed = STRICT) -> Subject:
    """The champion of a run: of its end, or of its newest checkpoint where it has not come to its end.

    Raises RunError if there is none yet, or where the market or the code are not the run's and may not differ.
    """
    genome, origin, generations = _champion(folder, config)
    other_data, other_code = _differences(folder, market, allowed)
    notes = [] if generations is None else [_unfinished(generations, config)]
    if other_code:
        notes.append(f"The code is not the one that made the run: {', '.join(other_code)}.")
    champion = hashlib.sha256(save(dict(sorted(genome.items())))).hexdigest()
    now = Provenance.of(market)
    look = {"champion": champion, "config": fingerprint(config), **now.digests, "holdout": holdout_digest(now.market)}
    results = _results(folder, look["market"]) if other_data else folder
    if others := [] if other_data else _openings_beside(folder, look["holdout"]):
        notes.append(
            f"The same hold-out was opened by {len(others)} other run{'s' * (len(others) > 1)} beside this one."
        )
    return Subject(folder, generations, genome, origin, results, look, other_data, notes)


def _differences(folder: RunFolder, market: Market, allowed: Allowed) -> tuple[list[str], list[str]]:
    """In what data and code are not the run's. Raises RunError where they may not differ."""
    made_of, now = Provenance.read(folder), Provenance.of(market)
    if made_of is None:
        if not allowed.data:
            raise RunError(
                f"run {folder.path}: {NO_RECORD} ({folder.provenance.name} is missing); see what its champion does on "
                "these: eigen2 evaluate RUN --other-data"
            )
        return [NO_RECORD], []
    other_data, other_code = made_of.other_market(now), made_of.other_code(now)
    if lacking := [name for name in ("columns", "stocks") if made_of.market.get(name) != now.market[name]]:
        raise RunError(
            f"run {folder.path} was made on other data: {'; '.join(other_data)}; its champion knows only the run's own "
            f"{' and '.join(lacking)}, in their order: bring them back"
        )
    if other_data:
        other_data.append(_known_days(made_of, market))
    if other_data and not allowed.data:
        raise RunError(
            f"run {folder.path} was made on other data: {'; '.join(other_data)}; bring back the data it was made on, "
            "or see what its champion does on these: eigen2 evaluate RUN --other-data"
        )
    if other_code and not allowed.code:
        raise RunError(
            f"run {folder.path} was made with other code: {', '.join(other_code)}; use the code that made it, or "
            "evaluate it with this one all the same: eigen2 evaluate RUN --other-code"
        )
    return other_data, other_code


def _known_days(made_of: Provenance, market: Market) -> str:
    days = market.dates[market.splits.holdout.first : market.splits.holdout.last + 1]
    known = int((days < first_holdout_day(made_of.market)).sum())
    return f"{known} of the {len(days)} days that are called hold-out here trained or chose the champion"


def _champion(folder: RunFolder, config: Config) -> tuple[Arrays, str, int | None]:
    """A champion's genome, where it is from, and after how many generations, if the run has not come to its end."""
    saved = generations_saved(folder.checkpoints)
    if not saved and not folder.champion.exists():
        raise RunError(f"run {folder.path} has no champion yet; finish it with `eigen2 train --resume {folder.path}`")
    if not saved or (saved[-1] >= config.run.num_generations and folder.champion.exists()):
        return load_genome(folder.champion), str(folder.champion), None
    made_of = {"config": fingerprint(config)}
    checkpoint = Archive(folder.checkpoints, config.checkpoint.keep, made_of).load(saved[-1])
    origin = str(folder.checkpoints / folder_name(saved[-1]))
    if CHAMPION not in checkpoint.parts:
        raise RunError(f"checkpoint {origin} has no champion")
    return genome_of(checkpoint.parts[CHAMPION]), origin, saved[-1]


def _openings_beside(folder: RunFolder, holdout: str) -> list[str]:
    """The other runs in the same folder that opened this hold-out, whatever they might buy on it."""
    beside = [RunFolder(path) for path in sorted(folder.path.absolute().parent.iterdir()) if path.is_dir()]
    return [run.name for run in beside if run.name != folder.name and holdout in _holdouts_opened(run)]


def _holdouts_opened(run: RunFolder) -> set[str]:
    try:
        return {opening["look"]["holdout"] for opening in json.loads(read_regular(run.holdout_openings))}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # no run, or not one that counted by content
        return set()


def _unfinished(generations: int, config: Config) -> str:
    return (
        f"The run has not come to its end: this is the champion of its newest checkpoint, after {generations} of "
        f"{config.run.num_generations} generations."
    )


def _results(folder: RunFolder, market: str) -> RunFolder:
    path = folder.path / OTHER_DATA / market[:12]
    try:
        make_folder(path.parent)
        make_folder(path)
    except OSError as error:
        raise RunError(f"{path} can't be written: {error.strerror}") from error
    return RunFolder(path)
