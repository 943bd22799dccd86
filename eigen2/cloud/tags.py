"""Tags that change while a pod lives, kept in a file: pods have no tags, and another process must see them too."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eigen2.files import write_atomically


class TagFile:
    """Tags by pod id. Safe between threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, pod_id: str) -> dict[str, str]:
        """The tags of a pod."""
        return self._read().get(pod_id, {})

    def update(self, pod_id: str, tags: Mapping[str, str]) -> None:
        """Set some tags of a pod."""
        with self._alone():
            found = self._read()
            found[pod_id] = {**found.get(pod_id, {}), **tags}
            self._write(found)

    def forget(self, pod_id: str) -> None:
        """Drop a pod."""
        with self._alone():
            found = self._read()
            if found.pop(pod_id, None) is not None:
                self._write(found)

    def _read(self) -> dict[str, dict[str, str]]:
        if not self._path.exists():
            return {}
        found: dict[str, dict[str, str]] = json.loads(self._path.read_bytes())
        return found

    def _write(self, found: Mapping[str, Mapping[str, str]]) -> None:
        write_atomically(self._path, json.dumps(found).encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
