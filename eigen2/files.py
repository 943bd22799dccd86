"""Files that are complete or absent."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file aside and rename it into place: a reader finds the old content or the new, never a part."""
    aside = path.with_name(f".{path.name}.partial")
    write_synced(aside, content)
    aside.replace(path)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and see it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
