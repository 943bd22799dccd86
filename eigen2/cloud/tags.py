"""Tags that change while a pod lives, kept in a file: pods have no tags, and another process must see them too."""

from collections.abc import Mapping
from pathlib import Path

from eigen2.cloud.shared_file import SharedFile


class TagFile:
    """Tags by pod id. Safe between threads and processes."""

    def __init__(self, path: Path) -> None:
        self._file = SharedFile(path, dict[str, str])

    def all(self) -> dict[str, dict[str, str]]:
        """The tags of all pods, by id."""
        return self._file.read()

    def of(self, pod_id: str) -> dict[str, str]:
        """The tags of a pod."""
        return self.all().get(pod_id, {})

    def update(self, pod_id: str, tags: Mapping[str, str]) -> None:
        """Set some tags of a pod."""
        with self._file.change() as found:
            found[pod_id] = {**found.get(pod_id, {}), **tags}

    def forget(self, pod_id: str) -> None:
        """Drop a pod."""
        with self._file.change() as found:
            found.pop(pod_id, None)
