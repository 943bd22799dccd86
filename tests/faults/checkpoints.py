"""Small checkpoints that differ by a number, and what is expected of them."""

from pathlib import Path
from typing import Any

import numpy as np

from eigen2.training.checkpoint import Archive, Arrays, Checkpoint
from tests.training.small import assert_identical

MADE_OF = {"config": "a" * 64, "market": "b" * 64, "code": "c" * 64}
NAMES = ["member_0000", "replay", "champion"]
FILES = ("member_0000.safetensors", "replay.safetensors", "champion.safetensors", "progress.json", "manifest.json")


def make_archive(folder: Path, keep: int = 3, **made_of: str) -> Archive:
    return Archive(folder / "checkpoints", keep, {**MADE_OF, **made_of})


def progress_of(generation: int, number: int, champion: int | None) -> dict[str, Any]:
    best = None if champion is None else {"generation": champion - 1, "member": 0}
    return {"generation": generation, "number": number, "best": best}


def parts_of(number: int) -> list[Arrays]:
    rng = np.random.default_rng(number)
    member = {"weight": rng.normal(size=(5, 3)).astype(np.float32), "bias": rng.normal(size=3)}
    return [member, {"day": rng.integers(0, 9, 40)}, {"weight": member["weight"]}]


def save(archive: Archive, generation: int, number: int | None = None, champion: int | None = None) -> str:
    """A checkpoint whose content is decided by its number, unless told its generation."""
    number = generation if number is None else number
    return archive.save(generation, progress_of(generation, number, champion), NAMES, *parts_of(number))


def assert_whole(checkpoint: Checkpoint, generation: int, numbers: set[int]) -> None:
    """Nothing is mixed: every part is that of one of the numbers."""
    number = checkpoint.progress["number"]
    assert number in numbers
    assert checkpoint.progress["generation"] == generation
    assert set(checkpoint.parts) == set(NAMES)
    for name, arrays in zip(NAMES, parts_of(number), strict=True):
        assert_identical(checkpoint.parts[name], arrays)
