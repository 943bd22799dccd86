"""One process at a time has a folder, and a process that is killed has none."""

import errno
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eigen2.errors import RunError
from eigen2.locking import FolderLock

HOLD = """
import sys
from pathlib import Path
from eigen2.locking import FolderLock
with FolderLock(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_holder_is_named_and_its_lock_goes_with_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(RunError, match=rf"{tmp_path} is in use by `-c {tmp_path}`, process {holder.pid} on .*; wait"):
        lock.acquire()
    holder.kill()
    holder.wait()
    with lock.held():
        pass


def test_it_is_taken_again_by_whoever_has_it_and_by_nobody_else(tmp_path: Path) -> None:
    lock, other = FolderLock(tmp_path), FolderLock(tmp_path)
    with lock.held(), lock.held(), pytest.raises(RunError, match="in use by"):
        other.acquire()
    with other.held():
        pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    (tmp_path / ".lock").symlink_to("outside")
    with pytest.raises(RunError, match=r"\.lock can't be locked"):
        FolderLock(tmp_path).acquire()
    assert (tmp_path / "outside").read_text() == "precious"


def test_what_another_left_in_it_is_shown_without_control_characters(tmp_path: Path) -> None:
    with FolderLock(tmp_path).held():
        (tmp_path / ".lock").write_text("\x1b[2Jowned\n")
        with pytest.raises(RunError) as caught:
            FolderLock(tmp_path).acquire()
    assert "[2Jowned" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(handle: int, how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with FolderLock(tmp_path).held():
        pass
    assert "can't be locked on its file system" in caplog.text
