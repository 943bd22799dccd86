"""A disk that dies at a chosen step: a shim over every call that changes a file system."""

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STEPS = ("mkdir", "rename", "replace", "unlink", "rmdir")


class Disk:
    """Counts the steps that change the file system; before step `dies_at` the process ends, none lets it live.

    A write that dies leaves half of its bytes. What was never synced is lost with the power: `lose_power` empties it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dies_at: int | None = None) -> None:
        self.steps = 0
        self._dies_at = dies_at
        self._unsynced: set[int] = set()
        for name in STEPS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        monkeypatch.setattr(os, "fsync", self._fsync_with(os.fsync))
        monkeypatch.setattr(io, "open", self._open_with(io.open))  # of pathlib
        monkeypatch.setattr(builtins, "open", self._open_with(builtins.open))

    def lose_power(self, root: Path) -> None:
        for path in root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self._unsynced:
                os.truncate(path, 0)

    def step(self) -> bool:
        """Whether the process dies here."""
        self.steps += 1
        return self._dies_at == self.steps

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            if self.step():
                raise SystemExit
            return call(*args, **named)

        return counted

    def _fsync_with(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(handle: int) -> None:
            if self.step():
                raise SystemExit
            call(handle)
            self._unsynced.discard(os.fstat(handle).st_ino)

        return fsync

    def _open_with(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
            if "w" not in mode:
                return call(path, mode, *args, **named)
            if self.step():
                raise SystemExit
            file = call(path, mode, *args, **named)
            self._unsynced.add(os.fstat(file.fileno()).st_ino)
            write = file.write

            def dying_write(content: bytes) -> Any:
                if self.step():
                    write(content[: len(content) // 2])
                    file.close()
                    raise SystemExit
                return write(content)

            return _Wrapped(file, dying_write)

        return opened


class _Wrapped:
    def __init__(self, file: Any, write: Callable[[bytes], Any]) -> None:
        self._file, self.write = file, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Wrapped":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
