"""The folder of a local Ray's sockets, logs and spilled objects: only its user can enter it.

Ray opens its own folder, /tmp/ray, to every user of the machine, who could put sockets of their own into it.
"""

import fcntl
import itertools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eigen2.errors import ResourceError

KEPT = 1  # folders of sessions that have ended: their logs say why
LONGEST_SOCKET = 107 if sys.platform == "linux" else 103  # bytes in the address of a Unix socket
# what Ray adds to its folder's path: the session's name with a date and a process id, and the socket's
LONGEST_NAME = len("/session_2026-01-01_00-00-00_000000_1234567/sockets/dash_MetricsHead")
FALLBACK = Path("/tmp")


def new_ray_folder() -> Path:
    """A new folder for a Ray that this process starts; removes those of Rays that have ended, but for the newest.

    Raises ResourceError where there can be none that is private.
    """
    home = _home()
    try:
        with _locked_home(home):
            _remove_ended(home)
            folder = next(home / str(n) for n in itertools.count() if not (home / str(n)).exists())
            folder.mkdir(mode=0o700)
            _lock(folder)  # until this process ends: the lock goes with it, however it ends
            return folder
    except OSError as error:
        raise ResourceError(
            f"Ray's folder {home} can't be made: {error.strerror}; set RAY_TMPDIR to a folder that you can write"
        ) from error


def _home() -> Path:
    """The folder of all Rays of this user. Ray can't use a path that leaves no room for the names of its sockets."""
    name = f"eigen2-{os.geteuid()}"
    most = LONGEST_SOCKET - LONGEST_NAME - len(f"/{name}/999")
    chosen = os.environ.get("RAY_TMPDIR")
    parent = Path(chosen or tempfile.gettempdir()).absolute()
    size = len(os.fsencode(parent))
    if size <= most:
        return parent / name
    if chosen:
        raise ResourceError(
            f"RAY_TMPDIR: {parent} has {size} bytes, and with more than {most} the paths of Ray's sockets are too "
            "long; name a folder with a shorter path"
        )
    return FALLBACK / name


@contextmanager
def _locked_home(home: Path) -> Iterator[None]:
    """Make the folder, see that it is private, and let no other process of this user change it meanwhile."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid():
            raise ResourceError(
                f"Ray's folder {home} belongs to another user (uid {found.st_uid}); remove it, or set RAY_TMPDIR to a "
                "folder of your own"
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            os.fchmod(handle, 0o700)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_ended(home: Path) -> None:
    """Remove the folders whose process has ended, but for the newest."""
    folders = [folder for folder in home.iterdir() if folder.is_dir()]
    newest_first = sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in list(filter(_has_ended, newest_first))[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)  # a Ray that is still ending writes there; it goes the next time


def _has_ended(folder: Path) -> bool:
    try:
        os.close(_lock(folder))
    except BlockingIOError:
        return False
    return True


def _lock(folder: Path) -> int:
    """Lock a folder for as long as the returned handle is open. Raises BlockingIOError if another process has it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
