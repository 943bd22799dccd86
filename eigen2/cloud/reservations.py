"""Pods that are being rented right now, so that two processes of a machine don't both spend what a ceiling leaves."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from eigen2.cloud.api import LISTED_S
from eigen2.cloud.places import bookkeeping
from eigen2.cloud.shared_file import Amount, SharedFile
from eigen2.errors import ResourceError

RENT_WAIT_S = 900.0  # one search through all places, with lost answers, takes less


@dataclass(frozen=True)
class Reservation:
    """The hourly price of a pod that was asked for, and when."""

    usd_per_hour: Amount
    since: Amount  # seconds since 1970, by this machine's clock

    def left_s(self, now: float) -> float:
        """How long it still holds: until the pod must be on RunPod's list, if there is one."""
        passed_s = now - self.since
        return LISTED_S - passed_s if 0 <= passed_s <= LISTED_S else 0.0  # a clock that was set back ends it


class Reservations:
    """Reservations by the name of the pod. Safe between threads and processes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = SharedFile(path, Reservation)
        self._clock = clock

    @classmethod
    def of(cls, cluster_name: str) -> "Reservations":
        """Those of this machine for a cluster."""
        return cls(bookkeeping(cluster_name, "reservations.json"))

    def add(self, name: str, usd_per_hour: float) -> None:
        """Reserve before the pod is asked for."""
        now = self._clock()
        with self._file.change() as found:
            for old in [name for name, reservation in found.items() if not reservation.left_s(now)]:
                del found[old]
            found[name] = Reservation(usd_per_hour, now)

    def drop(self, name: str) -> None:
        """Take a reservation back: the pod was refused."""
        with self._file.change() as found:
            found.pop(name, None)

    def usd_per_hour(self, listed: Collection[str]) -> float:
        """What pods take that were asked for and are not on the list of names yet."""
        now, found = self._clock(), self._file.read()
        return sum(
            reservation.usd_per_hour
            for name, reservation in found.items()
            if name not in listed and reservation.left_s(now)
        )

    def left_s(self) -> float:
        """How long until every pod that was asked for must be on the list."""
        now = self._clock()
        return max((reservation.left_s(now) for reservation in self._file.read().values()), default=0.0)


@contextmanager
def renting(cluster_name: str, wait_s: float = RENT_WAIT_S) -> Iterator[None]:
    """Be the only one on this machine that rents for a cluster. Raises ResourceError if another one does too long."""
    lock = FileLock(bookkeeping(cluster_name, "renting.lock"))
    try:
        lock.acquire(timeout=wait_s)
    except Timeout as error:
        raise ResourceError(f"another process has been renting for {cluster_name} for {wait_s:g} s") from error
    try:
        yield
    finally:
        lock.release()
