"""A working folder with a small sweep in it."""

from pathlib import Path

import pytest

from tests.tune.small_sweep import lay_down


@pytest.fixture
def small_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with market, base config and sweep file."""
    lay_down(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
