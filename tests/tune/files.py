"""Sweep files and sweep folders for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tune.sweep_file import SweepFile

HEAD = {"method": "random", "metric": {"name": "fitness/best_ever", "goal": "maximize"}, "program": "train.py"}


def written(folder: Path, text: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def sweep_of(folder: Path, parameters: Mapping[str, Any], **others: Any) -> SweepFile:
    """A sweep over some parameters, through its file."""
    return SweepFile.read(
        written(folder, yaml.safe_dump({**HEAD, **others, "parameters": dict(parameters)}, sort_keys=False))
    )
