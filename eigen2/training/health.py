"""Whether Ray itself still runs, asked while a run waits for its parts.

When Ray's head is lost, Ray says nothing for a minute and then ends this process from C++, before a run can say a word.
"""

import socket
import time
from collections.abc import Callable

import ray
from ray.util.client import ray as client

from eigen2.errors import RunError
from eigen2.training.ray_compat import ended_processes, logs_folder

EVERY_S = 5.0  # between looks at the head of a cluster
ANSWER_S = 2.0
GONE_S = 30.0  # a head may be started again; Ray ends this process after 60 s without one


def check_local_ray() -> None:
    """Raise RunError where a process of the Ray that this process started has ended: what ran on it is lost."""
    for process in ended_processes():
        raise RunError(
            f"Ray's {process} ended unexpectedly, as when the machine runs out of memory; Ray's log is "
            f"{logs_folder()}/{process}.out"
        )


class HeadWatch:
    """Notices that the head of the connected cluster can't be reached. `clock` gives seconds."""

    def __init__(self, address: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        """address: gives host:port of the cluster's GCS, or nothing where this process does not speak to it."""
        self._address, self._clock = address, clock
        self._reached = self._looked = clock()

    def check(self) -> None:
        """Look at the head every EVERY_S. Raises RunError once it has been out of reach for GONE_S."""
        now = self._clock()
        if now < self._looked + EVERY_S:
            return
        if now > self._looked + GONE_S:
            self._reached = now  # nobody has looked for a while
        self._looked = now
        host, _, port = self._address().rpartition(":")
        if not port:
            return
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
            self._reached = now
        except OSError as error:
            if now - self._reached >= GONE_S:
                raise RunError(
                    f"Ray's head at {host}:{port} has been out of reach for {now - self._reached:.0f} s: its GCS "
                    "process ended, or its machine or the network was lost; start the cluster again"
                ) from error


def head_address() -> str:
    """host:port of the GCS of the connected cluster; nothing for Ray's client, which speaks to a proxy alone."""
    if client.is_connected():
        return ""
    return str(ray.get_runtime_context().gcs_address)
