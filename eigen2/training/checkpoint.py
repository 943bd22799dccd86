"""Checkpoints: complete or absent, checksummed, safetensors and JSON only.

A checkpoint is a folder `gen_000012` with the state after 12 generations. It is written beside, synced, and renamed;
its manifest lists every file with its SHA-256, so damage is named and never used.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from eigen2.errors import RunError
from eigen2.files import write_atomically, write_synced

Arrays = dict[str, NDArray[Any]]
FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """What one generation leaves behind: parts of arrays by name, and the driver's counters."""

    parts: dict[str, Arrays]
    progress: dict[str, Any]


class Archive:
    """The checkpoints of a run. A plain class, which the trainer runs as an actor on its own node."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def save(self, generation: int, progress: dict[str, Any], names: list[str], *parts: Arrays) -> str:
        """Write the checkpoint after `generation` generations; returns its folder's name.

        Raises RunError when the disk refuses.
        """
        target = self._folder / folder_name(generation)
        aside = self._folder / f".{target.name}.partial"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            self._write(aside, progress, dict(zip(names, parts, strict=True)))
            if target.exists():
                shutil.rmtree(target)
            aside.rename(target)
            _sync(self._folder)
            self._prune()
        except OSError as error:
            raise RunError(f"checkpoint {target} can't be written: {error.strerror}") from error
        return target.name

    def load(self, generation: int) -> Checkpoint:
        """Read and verify a checkpoint. Raises RunError naming the file that is missing or damaged."""
        folder = self._folder / folder_name(generation)
        manifest = _read_manifest(folder)
        parts: dict[str, Arrays] = {}
        progress: dict[str, Any] = {}
        for name, digest in manifest["files"].items():
            if Path(name).name != name:
                raise RunError(f"checkpoint {folder}: {MANIFEST} names {name!r}, which is not a file of its folder")
            content = _read_verified(folder / name, digest)
            if name == "progress.json":
                progress = json.loads(content)
            else:
                parts[Path(name).stem] = _arrays(folder / name, content)
        return Checkpoint(parts, progress)

    def save_genome(self, path: Path, genome: Arrays) -> None:
        """Write a genome on its own, whole or not at all."""
        write_atomically(path, save(_contiguous(genome)))

    def _write(self, folder: Path, progress: dict[str, Any], parts: dict[str, Arrays]) -> None:
        files = {"progress.json": json.dumps(progress, indent=1).encode()}
        files |= {f"{name}.safetensors": save(_contiguous(arrays)) for name, arrays in parts.items()}
        manifest = {"format": FORMAT, "files": {name: _digest(content) for name, content in files.items()}}
        for name, content in files.items():
            write_synced(folder / name, content)
        # the manifest comes last: without it a folder is no checkpoint
        write_synced(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
        _sync(folder)

    def _prune(self) -> None:
        for generation in generations_saved(self._folder)[: -self._keep]:
            shutil.rmtree(self._folder / folder_name(generation), ignore_errors=True)


def load_genome(path: Path) -> Arrays:
    """Read what `save_genome` wrote. Raises RunError naming the file if it can't be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"genome {path} can't be read: {error.strerror}") from error
    return _arrays(path, content)


def folder_name(generation: int) -> str:
    """The folder of the checkpoint after `generation` generations."""
    return f"gen_{generation:06d}"


def generations_saved(folder: Path) -> list[int]:
    """Generations with a complete checkpoint, ascending."""
    complete = (path.parent.name for path in folder.glob(f"gen_*/{MANIFEST}") if path.is_file())
    numbers = (name.removeprefix("gen_") for name in complete)
    return sorted(int(number) for number in numbers if number.isdecimal() and len(number) >= 6)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        found = manifest["format"]
        if not isinstance(manifest["files"], dict):
            raise TypeError
    except OSError as error:
        raise RunError(f"checkpoint {folder} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"checkpoint {folder} is damaged: {MANIFEST} can't be understood") from error
    if found != FORMAT:
        raise RunError(f"checkpoint {folder} has format {found}, this version reads format {FORMAT}")
    return dict(manifest)


def _read_verified(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"checkpoint file {path} can't be read: {error.strerror}") from error
    if _digest(content) != digest:
        raise RunError(f"checkpoint file {path} is damaged: its SHA-256 differs from the manifest's")
    return content


def _arrays(path: Path, content: bytes) -> Arrays:
    try:
        return dict(load(content))
    except SafetensorError as error:
        raise RunError(f"checkpoint file {path} is not a safetensors file: {error}") from error


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
