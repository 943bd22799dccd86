"""Files that several processes change: no change is lost, and neither damage nor a held lock stops anybody for ever."""

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from eigen2.cloud import shared_file
from eigen2.cloud.shared_file import SharedFile


def test_no_change_of_two_at_once_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.json"

    def change(name: str) -> None:
        for number in range(10):
            with SharedFile(path, int).change() as found:
                found[f"{name}{number}"] = number

    threads = [threading.Thread(target=change, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(SharedFile(path, int).read()) == 40


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "x.json").symlink_to(tmp_path / "there" / "y.json")
    file = SharedFile(tmp_path / "x.json", int)
    for content in ('{"a": 1}', "{"):
        with file.change() as found:
            found["b"] = 2
        assert (tmp_path / "x.json").is_symlink()
        assert (tmp_path / "there" / "y.json").exists()
        (tmp_path / "there" / "y.json").write_text(content)
    assert file.read() == {}


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    file = SharedFile(tmp_path / "x.json", int)
    with file.change() as found:
        found["a"] = 1

    def fail() -> None:
        with file.change() as found:
            found["a"] = 2
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert file.read() == {"a": 1}


def test_a_lock_that_is_never_let_go_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_file, "HELD_S", 0.01)
    file = SharedFile(tmp_path / "x.json", int)
    with FileLock(tmp_path / "x.lock"), pytest.raises(OSError, match=r"x\.lock"), file.change():
        pass
