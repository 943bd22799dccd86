"""A file of JSON that several processes read and change, and that nobody stops at when it is damaged."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from filelock import FileLock
from pydantic import Field, TypeAdapter, ValidationError

from eigen2.files import write_atomically

Entry = TypeVar("Entry")
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # a file with nan or a negative amount is damaged
HELD_S = 30.0  # nobody changes a file for longer
logger = logging.getLogger("eigen2")


class SharedFile(Generic[Entry]):
    """Entries by name. Safe between threads and processes. The file may be a link to where its content lies."""

    def __init__(self, path: Path, kind: type[Entry]) -> None:
        self._path = path
        self._entries: TypeAdapter[dict[str, Entry]] = TypeAdapter(dict[str, kind])  # type: ignore[valid-type]

    def read(self) -> dict[str, Entry]:
        """All entries; none while the file is absent or damaged."""
        content = self._content()
        return (self._parsed(content) if content is not None else None) or {}

    @contextmanager
    def change(self) -> Iterator[dict[str, Entry]]:
        """The entries, to be changed by one process at a time; written when the block ends.

        A damaged file is set aside and begun anew. Raises OSError if it can't be written or another process holds it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self._path.with_suffix(".lock"), timeout=HELD_S):
            content = self._content()
            found = self._parsed(content) if content is not None else {}
            if found is None:
                self._path.with_suffix(".damaged").write_bytes(content or b"")
            changed = dict(found or {})
            yield changed
            if changed != found:
                self._write(self._entries.dump_json(changed))

    def _content(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def _parsed(self, content: bytes) -> dict[str, Entry] | None:
        try:
            return self._entries.validate_json(content)
        except ValidationError:
            logger.warning("%s is damaged; it is set aside when it is written next", self._path)
            return None

    def _write(self, content: bytes) -> None:
        target = self._path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(target, content)
