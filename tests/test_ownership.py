"""A file is known as the user's own by a key that never leaves the home."""

import os
import stat
from pathlib import Path

import pytest

from eigen2.ownership import is_owned, write_owned


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_what_was_written_here_is_owned_until_it_changes(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "config.yaml"
    write_owned(path, b"mine")
    assert is_owned(path)
    path.write_bytes(b"theirs")
    assert not is_owned(path)
    write_owned(path, b"mine again")
    assert is_owned(path)
    assert stat.S_IMODE((home / "eigen2" / "key").stat().st_mode) == 0o600


def test_what_another_wrote_is_not_owned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"theirs")
    assert not is_owned(path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "their state"))
    write_owned(path, b"theirs")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert not is_owned(path)


@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_key_that_is_none_owns_nothing(tmp_path: Path, home: Path, key: bytes) -> None:
    (home / "eigen2").mkdir(parents=True)
    (home / "eigen2" / "key").write_bytes(key)
    write_owned(tmp_path / "config.yaml", b"mine")
    assert (tmp_path / "config.yaml").read_bytes() == b"mine"
    assert not is_owned(tmp_path / "config.yaml")


def test_without_a_home_files_are_written_all_the_same(tmp_path: Path, home: Path) -> None:
    home.write_text("a file where the folder should be")
    write_owned(tmp_path / "config.yaml", b"mine")
    assert (tmp_path / "config.yaml").read_bytes() == b"mine"
    assert not is_owned(tmp_path / "config.yaml")


def test_a_mark_that_is_a_pipe_is_none(tmp_path: Path, home: Path) -> None:
    write_owned(tmp_path / "config.yaml", b"mine")
    (tmp_path / ".config.yaml.mark").unlink()
    os.mkfifo(tmp_path / ".config.yaml.mark")
    assert not is_owned(tmp_path / "config.yaml")
