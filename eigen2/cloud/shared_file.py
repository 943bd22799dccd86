"""A file of JSON that several processes read and change, and that nobody stops at when it is damaged."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from eigen2.files import write_atomically

Entry = TypeVar("Entry")
logger = logging.getLogger("eigen2")


class SharedFile(Generic[Entry]):
    """Entries by name. Safe between threads and processes. The file may be a link to where its content lies."""

    def __init__(self, path: Path, kind: type[Entry]) -> None:
        self._path = path
        self._entries: TypeAdapter[dict[str, Entry]] = TypeAdapter(dict[str, kind])  # type: ignore[valid-type]

    def read(self) -> dict[str, Entry]:
        """All entries. A damaged file is set aside: it then holds none."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            return self._entries.validate_json(content)
        except ValidationError:
            self._set_aside(content)
            return {}

    @contextmanager
    def change(self) -> Iterator[dict[str, Entry]]:
        """The entries, to be changed by one process at a time; written when the block ends."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self._path.with_suffix(".lock")):
            found = self.read()
            before = dict(found)
            yield found
            if found != before:
                self._write(self._entries.dump_json(found))

    def _set_aside(self, content: bytes) -> None:
        aside = self._path.with_suffix(".damaged")
        logger.warning("%s is damaged; it is begun anew, its content is kept as %s", self._path, aside)
        aside.write_bytes(content)
        self._path.resolve().unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        target = self._path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(target, content)
