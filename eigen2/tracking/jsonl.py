"""Metrics as JSON lines: one line a generation, on the disk before training goes on."""

import json
import logging
import math
import numbers
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eigen2.errors import RunError
from eigen2.files import open_to_write, write_atomically
from eigen2.tracking.sink import Row

logger = logging.getLogger("eigen2")


class JsonLines:
    """A sink that appends rows to a file, keys in the order given; NaN and infinities become null.

    keep_generations: the number of generations the run resumes after. Rows of later ones are cut off, since they will
    be played again; none keeps all. A torn last line is cut off in any case. Raises RunError if the file can't be read.
    """

    def __init__(self, path: Path, keep_generations: int | None) -> None:
        self._path = path
        if path.exists():
            self._cut(keep_generations)

    def log(self, row: Mapping[str, object]) -> None:
        """Append a row and see it to the disk."""
        line = _line(row).encode()
        with open_to_write(self._path, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, summary: Row, champion: Path | None) -> None:
        """Every row is on the disk already."""

    def _cut(self, keep_generations: int | None) -> None:
        limit = math.inf if keep_generations is None else keep_generations
        try:
            kept = "".join(_line(row) for row in read_rows(self._path) if row["generation"] < limit).encode()
        except RecursionError as error:
            raise RunError(f"{self._path}: a row is nested too deeply") from error
        if kept != self._path.read_bytes():
            write_atomically(self._path, kept)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, null where a figure was not finite.

    A torn last line, left by a crash, is told as a warning and left out. Raises RunError naming the file and the line
    for any other line that is no row with a `generation`, and for a file that can't be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"{path}: can't be read: {error.strerror}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        row = _parsed(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            raise RunError(f"{path}, line {number}: not a row of metrics")
        elif line:
            logger.warning("%s, line %d: torn by a crash, left out", path, number)
    return rows


def read_whole_rows(path: Path, generations: int | None = None) -> list[dict[str, Any]]:
    """The rows of so many generations, or of all, each of which is there once with all its members.

    Raises RunError as `read_rows` does, and where rows are missing or there twice: whatever counts them would be wrong.
    """
    rows = [row for row in read_rows(path) if generations is None or row["generation"] < generations]
    first = [row for row in rows if row["generation"] == 0]
    members = len(first) if any("member" in row for row in first) else None
    last = max((row["generation"] for row in rows), default=-1)
    broken = broken_at(rows, last + 1 if generations is None else generations, members)
    if broken is not None:
        raise RunError(
            f"{path}: rows of generation {broken} are missing or there twice; "
            f"`eigen2 train --resume {path.parent}` says how they come back"
        )
    return rows


def broken_at(rows: Iterable[Mapping[str, Any]], generations: int, members: int | None = None) -> int | None:
    """The first of the generations 0 .. `generations` - 1 with rows missing or there twice; None if all are whole.

    members: rows of a generation, which are numbered by `member`; None where it is one row without a number.
    """
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[max(row["generation"], 0)].append(
            row.get("member")
        )  # no generation is negative: such a row is one too many
    whole = [None] if members is None else list(range(members))
    return next((generation for generation in range(generations) if found[generation] != whole), None)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The row of a line, or None if it isn't one."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("generation"), int) else None


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(_plain(row), allow_nan=False) + "\n"


def _plain(value: object) -> object:
    """A value as JSON has it: numpy's scalars as Python's, null where a number isn't finite."""
    match value:
        case Mapping():
            return {key: _plain(held) for key, held in value.items()}
        case list() | tuple():
            return [_plain(held) for held in value]
        case bool() | numbers.Integral():
            return value if isinstance(value, bool) else int(value)
        case numbers.Real():
            return float(value) if math.isfinite(value) else None
        case _:
            return value
