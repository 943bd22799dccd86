"""Files that are complete or absent, and that lie where they seem to lie: a link never leads a write elsewhere.

A run folder or a sweep folder may be somebody else's. Whatever writes into one writes through this module.
"""

import csv
import errno
import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from eigen2.errors import RunError

# a spreadsheet takes a cell that begins with one of these for a formula; the quote is the escape itself
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
ESCAPE = "'"
MOST_READ = 2**20  # bytes
LINK_OF_WANDB = "*run-*/logs/debug-core.log"  # W&B links each of its runs to a log in the home, and never writes there


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file aside and rename it into place: a reader finds the old content or the new, never a part."""
    aside = path.with_name(f".{path.name}.partial")
    write_synced(aside, content)
    aside.replace(path)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and see it to the disk."""
    with open_to_write(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def open_to_write(path: Path, mode: str) -> IO[Any]:
    """Open a file to write or append bytes. Raises OSError where the path is a link, a pipe or a device."""
    return open(path, mode, opener=_regular_file)  # Path.open takes no opener


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Raise RunError, which names the file, where the disk refuses one: it is full, or a folder is in the way."""
    try:
        yield
    except BrokenPipeError:  # of the terminal's reader, no file
        raise
    except OSError as error:
        path = error.filename2 or error.filename or folder
        raise RunError(f"{path} can't be written: {error.strerror or error}") from error


def read_regular(path: Path, most: int = MOST_READ) -> bytes:
    """The content of a file that may be anybody's. Raises OSError where it is no regular file, or has too many bytes.

    A link, a pipe or a device is not read: it may have no end, or never begin.
    """
    with open(path, "rb", opener=_regular_file) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return content


def make_folder(path: Path) -> None:
    """Make a folder unless it is there. Raises OSError where the path is a link."""
    path.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))


def require_own_files(folder: Path) -> None:
    """See that a folder holds nothing but files, folders, links within it and W&B's to its own log.

    Raises RunError naming the first thing else.
    """
    home = os.path.realpath(folder)
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            kind = _kind(path)
            if path.match(LINK_OF_WANDB):
                continue
            if kind == stat.S_IFLNK and not Path(os.path.realpath(path)).is_relative_to(home):
                raise RunError(f"{str(path)!r} is a symbolic link that leads out of {folder}; remove it")
            if kind not in (stat.S_IFLNK, stat.S_IFDIR, stat.S_IFREG):
                raise RunError(f"{str(path)!r} is a pipe, a socket or a device; remove it")


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of the same keys as a CSV file, whole or not at all; an empty file where there are none."""
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, fieldnames=[csv_cell(name) for name in rows[0]])
        writer.writeheader()
        writer.writerows({csv_cell(name): _cell(value) for name, value in row.items()} for row in rows)
    write_atomically(path, text.getvalue().encode())


def csv_cell(text: str) -> str:
    """Text as a cell that no spreadsheet takes for a formula."""
    return ESCAPE + text if text.startswith(FORMULA_STARTS) else text


def text_of_cell(cell: str) -> str:
    """The text that `csv_cell` was given."""
    return cell.removeprefix(ESCAPE)


def _cell(value: object) -> object:
    return csv_cell(value) if isinstance(value, str) else value


def _kind(path: Path) -> int:
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except FileNotFoundError:  # the process that writes the folder has removed it
        return stat.S_IFREG


def _regular_file(path: str, flags: int) -> int:
    # without O_NONBLOCK a pipe that nobody reads would never be opened
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", path)
    return handle
