"""Checkpoints: complete or absent, checksummed, safetensors and JSON only.

A checkpoint is a folder `gen_000012` with the state after 12 generations. It is written beside, synced, and renamed;
its manifest lists every file with its SHA-256, and itself, so damage is named and never used.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from eigen2 import __version__
from eigen2.arrays import Arrays
from eigen2.config import Config
from eigen2.errors import RunError
from eigen2.files import make_folder, write_atomically, write_synced
from eigen2.training.storage import MANIFEST, Mirror

FORMAT = 2
PROGRESS = "progress.json"
CHECKSUM = "sha256"  # of a genome's file as it would be without it
FILE_NAME = re.compile(r"progress\.json|[A-Za-z0-9_-]+\.safetensors")
# what says where, how long and in how many pieces a run goes on, not what it computes; the market has a SHA-256 of its
# own, wherever its file lies
NOT_FINGERPRINTED: dict[str, Any] = {
    "data": {"source", "allow_pickle"},
    "ddpg": {"micro_batches"},
    "run": {"name", "runs_dir", "num_generations", "sweep_trials"},
    "resources": True,
    "tracking": True,
    "checkpoint": True,
}
OTHER = {  # part of what a run is made of -> how another one is told, and the remedy
    "config": ("another config", "the config it was started with"),
    "market": ("other data", "the data the run was made on"),
    "code": ("other code", "the code that made the run"),
}


@dataclass(frozen=True)
class Checkpoint:
    """What one generation leaves behind: parts of arrays by name, and the driver's counters."""

    parts: dict[str, Arrays]
    progress: dict[str, Any]


class Archive:
    """The checkpoints of a run. A plain class, which the trainer runs as an actor on its own node."""

    def __init__(
        self, folder: Path, keep: int, made_of: Mapping[str, str] | None = None, storage: str | None = None
    ) -> None:
        """keep: newest checkpoints kept beside the champion's; made_of: SHA-256 of the run's config, market and code,
        of which those that are given are checked; storage: URI under which the run of this folder is mirrored."""
        self._folder, self._keep, self._made_of = folder, keep, dict(made_of or {})
        self._storage = storage
        self._mirror: Mirror | None = None  # made where it is first needed: its thread can't move to another process

    def save(self, generation: int, progress: dict[str, Any], names: list[str], *parts: Arrays) -> str:
        """Write the checkpoint after `generation` generations; returns its folder's name.

        Raises RunError when the disk refuses; earlier checkpoints are untouched then.
        """
        target = self._folder / folder_name(generation)
        aside = _aside(target)
        try:
            make_folder(self._folder)
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            self._write(aside, progress, dict(zip(names, parts, strict=True)))
            _put_in_place(aside, target)
            self._prune(generation, progress)
        except OSError as error:
            raise RunError(f"checkpoint {target} can't be written: {error.strerror}") from error
        if mirror := self._started_mirror():
            mirror.keep([folder_name(kept) for kept in generations_saved(self._folder)])
        return target.name

    def load(self, generation: int) -> Checkpoint:
        """Read and verify a checkpoint.

        Raises RunError naming the file that is missing or damaged, or both configs or versions where they differ.
        """
        folder = _place(self._folder / folder_name(generation))
        files = self._verified_manifest(folder)["files"]
        contents = {name: _read_verified(folder / name, digest) for name, digest in files.items()}
        progress = _progress(folder / PROGRESS, contents.pop(PROGRESS))
        return Checkpoint(
            {Path(name).stem: _arrays(folder / name, content) for name, content in contents.items()}, progress
        )

    def require_whole(self, generation: int) -> None:
        """See that a checkpoint can be gone on from, before anything is undone for it.

        Raises RunError as `load` does; where it is damaged, it tells how to ask for the one before.
        """
        folder = _place(self._folder / folder_name(generation))
        try:
            for name, digest in _read_manifest(folder)["files"].items():
                _read_verified(folder / name, digest)
        except RunError as error:
            earlier = [saved for saved in generations_saved(self._folder) if saved < generation]
            if not earlier:
                raise
            hint = f"eigen2 train --resume {self._folder.parent}@{earlier[-1]}"
            raise RunError(f"{error}; to go on from the one before: {hint}") from error
        self._verified_manifest(folder)

    def save_genome(self, path: Path, genome: Arrays) -> None:
        """Write a genome on its own with its checksum, whole or not at all. Raises RunError when the disk refuses."""
        arrays = _contiguous(genome)
        try:
            write_atomically(path, save(arrays, {CHECKSUM: _digest(save(arrays))}))
        except OSError as error:
            raise RunError(f"genome {path} can't be written: {error.strerror}") from error

    def trouble(self) -> str | None:
        """What keeps the storage from taking the run, told once for each time it fails; None if nothing does."""
        return self._mirror.trouble() if self._mirror else None

    def flush(self, deadline_s: float) -> str | None:
        """Upload what is left, for at most `deadline_s` seconds; returns what could not be uploaded, told once."""
        mirror = self._started_mirror()
        return mirror.flush(deadline_s) if mirror else None

    def _started_mirror(self) -> Mirror | None:
        if self._storage and not self._mirror:
            self._mirror = Mirror(self._storage, self._folder.parent)
        return self._mirror

    def _write(self, folder: Path, progress: dict[str, Any], parts: dict[str, Arrays]) -> None:
        files = {PROGRESS: json.dumps(progress, indent=1).encode()}
        files |= {f"{name}.safetensors": save(_contiguous(arrays)) for name, arrays in parts.items()}
        manifest = {
            "format": FORMAT,
            "eigen2": __version__,
            "made_of": self._made_of,
            "files": {name: _digest(content) for name, content in files.items()},
        }
        for name, content in files.items():
            write_synced(folder / name, content)
        # the manifest comes last: without it a folder is no checkpoint
        write_synced(folder / MANIFEST, json.dumps({**manifest, "sha256": _self_digest(manifest)}, indent=1).encode())
        _sync(folder)

    def _verified_manifest(self, folder: Path) -> dict[str, Any]:
        """A manifest of this format, version and config whose files are in its folder."""
        manifest = _read_manifest(folder)
        if PROGRESS not in manifest["files"]:
            raise RunError(f"checkpoint {folder} is damaged: {MANIFEST} names no {PROGRESS}")
        if manifest.get("eigen2") != __version__:
            raise RunError(
                f"checkpoint {folder} was written by eigen2 {manifest.get('eigen2')}, this is eigen2 {__version__}; "
                "go on with the version that wrote it"
            )
        made_of = manifest.get("made_of")
        for part, digest in self._made_of.items():
            found = made_of.get(part) if isinstance(made_of, dict) else None
            if found != digest:
                other, remedy = OTHER[part]
                raise RunError(
                    f"checkpoint {folder} was written with {other}: its fingerprint is {found!r}, this run's "
                    f"{digest!r}; go on with {remedy}"
                )
        return manifest

    def _prune(self, generation: int, progress: dict[str, Any]) -> None:
        """Remove all but the newest, the first with the champion, and the one just written, if it is neither."""
        saved = generations_saved(self._folder)
        best = progress.get("best")
        crowned = best["generation"] if best else generation
        kept = {*saved[-self._keep :], generation, *[done for done in saved if done > crowned][:1]}
        for old in saved:
            if old not in kept:
                _discard(self._folder / folder_name(old))
        for left in self._folder.glob(".gen_*.partial"):  # by a crash, or by a disk that was slow to let go
            shutil.rmtree(left, ignore_errors=True)


def fingerprint(config: Config) -> str:
    """SHA-256 of all fields that decide a run's numbers: not its name, length, resources, tracking,
    micro-batches or the place of its data."""
    fields = config.model_dump(mode="json", exclude=NOT_FINGERPRINTED)
    return _digest(json.dumps(fields, sort_keys=True).encode())


def rewind(folder: Path, generation: int) -> None:
    """Remove the checkpoints after `generation`, before a run goes on from there: its later rows are cut off as well.

    Raises RunError when the disk refuses.
    """
    try:
        for later in generations_saved(folder):
            if later > generation:
                _discard(folder / folder_name(later))
    except OSError as error:
        raise RunError(f"checkpoints in {folder} can't be removed: {error.strerror}") from error


def load_genome(path: Path) -> Arrays:
    """Read and verify what `save_genome` wrote. Raises RunError naming the file if it can't be read or is damaged."""
    try:
        content = _read_regular(path)
    except OSError as error:
        raise RunError(f"genome {path} can't be read: {error.strerror}") from error
    genome = _arrays(path, content)
    if _digest(save(_contiguous(genome))) != _metadata(content).get(CHECKSUM):
        raise RunError(f"genome {path} is damaged: its SHA-256 differs from the one it states")
    return genome


def folder_name(generation: int) -> str:
    """The folder of the checkpoint after `generation` generations."""
    return f"gen_{generation:06d}"


def generations_saved(folder: Path) -> list[int]:
    """Generations with a complete checkpoint, ascending."""
    complete = {path.parent.name for path in folder.glob(f"gen_*/{MANIFEST}") if path.is_file()}
    # a crash just before the new checkpoint of a generation took the old one's place
    complete |= {path.parent.name[1:-4] for path in folder.glob(f".gen_*.old/{MANIFEST}") if path.is_file()}
    numbers = (name.removeprefix("gen_") for name in complete)
    return sorted(int(number) for number in numbers if re.fullmatch("[0-9]{6,12}", number))


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _place(target: Path) -> Path:
    """Where a checkpoint lies: in its place, or still where it was put when it was to be replaced."""
    old = _old(target)
    return old if (old / MANIFEST).is_file() and not (target / MANIFEST).is_file() else target


def _put_in_place(aside: Path, target: Path) -> None:
    """Rename a written checkpoint into place; at each moment the old one or the new one is there, whole."""
    if target.exists():
        old = _old(target)
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    aside.rename(target)
    _sync(target.parent)
    _remove(_old(target), aside)


def _discard(target: Path) -> None:
    _remove(_old(target), _aside(target))
    _remove(target, _aside(target))


def _remove(folder: Path, aside: Path) -> None:
    """Remove a folder if it is there; renamed first, it is no checkpoint from the first step on."""
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(_read_regular(path))
        found = manifest["format"]
        if not isinstance(manifest["files"], dict):
            raise TypeError
        stated, actual = manifest.pop("sha256", None), _self_digest(manifest)
    except OSError as error:
        raise RunError(f"checkpoint {folder} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"checkpoint {folder} is damaged: {MANIFEST} can't be understood") from error
    if found != FORMAT:
        raise RunError(f"checkpoint {folder} has format {found}, this version reads format {FORMAT}")
    for name in manifest["files"]:
        if not FILE_NAME.fullmatch(name):
            raise RunError(f"checkpoint {folder}: {MANIFEST} names {name!r}, which is not a file of its folder")
    if stated != actual:
        raise RunError(f"checkpoint file {path} is damaged: its SHA-256 differs from the one it states")
    return dict(manifest)


def _self_digest(manifest: dict[str, Any]) -> str:
    return _digest(json.dumps(manifest, sort_keys=True).encode())


def _read_verified(path: Path, digest: str) -> bytes:
    try:
        content = _read_regular(path)
    except OSError as error:
        raise RunError(f"checkpoint file {path} can't be read: {error.strerror}") from error
    if _digest(content) != digest:
        raise RunError(f"checkpoint file {path} is damaged: its SHA-256 differs from the manifest's")
    return content


def _read_regular(path: Path) -> bytes:
    """A file's content; OSError for a link, which may lead anywhere, and for a pipe, which may never end."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def _progress(path: Path, content: bytes) -> dict[str, Any]:
    try:
        progress = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RunError(f"checkpoint file {path} is not a JSON file") from error
    if not isinstance(progress, dict):
        raise RunError(f"checkpoint file {path} holds a {type(progress).__name__}, not the run's counters")
    return progress


def _arrays(path: Path, content: bytes) -> Arrays:
    try:
        return dict(load(content))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise RunError(f"checkpoint file {path} is not a safetensors file: {error}") from error


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file that could be read: it lies in a JSON header behind the header's length."""
    length = int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8 : 8 + length]).get("__metadata__") or {})


def _contiguous(arrays: Arrays) -> Arrays:
    return {name: np.ascontiguousarray(value).reshape(value.shape) for name, value in arrays.items()}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
