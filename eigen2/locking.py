"""One process at a time in a folder."""

import errno
import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from eigen2.errors import RunError
from eigen2.files import write_synced

LOCK = ".lock"
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # of file systems of some clusters

logger = logging.getLogger("eigen2")


class FolderLock:
    """The lock of a folder, for one process; the kernel lets go of it when the process ends, however it ends.

    It may be taken again by the object that has it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / LOCK
        # a lock of any other kind would survive the process
        self._lock = FileLock(self._path, fallback_to_soft=False, thread_local=False)

    def acquire(self, wait_s: float = 0.0) -> None:
        """Take the lock. Raises RunError naming the process that has it for longer than `wait_s` seconds."""
        try:
            self._lock.acquire(timeout=wait_s)
            holder = f"`{shlex.join(sys.argv)}`, process {os.getpid()} on {socket.gethostname()}"
            write_synced(self._path, holder.encode())
        except Timeout as error:
            raise RunError(f"{self._folder} is in use by {self._holder()}; wait for it or stop it") from error
        except OSError as error:
            self._lock.release()
            if error.errno in NO_LOCKS:
                logger.warning(
                    "%s can't be locked on its file system: see that no second process uses it", self._folder
                )
                return
            raise RunError(f"{self._path} can't be locked: {error.strerror or error}") from error

    def release(self) -> None:
        """Let go of the lock."""
        self._lock.release()

    @contextmanager
    def held(self, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the lock within a block; see `acquire`."""
        self.acquire(wait_s)
        try:
            yield
        finally:
            self.release()

    def _holder(self) -> str:
        try:
            written = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            written = ""
        return "".join(filter(str.isprintable, written)) or "another process"
