"""The folder of a local Ray: private, short enough for sockets, and removed when its process has ended."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eigen2.errors import ResourceError
from eigen2.training.ray_folder import FALLBACK, LONGEST_NAME, LONGEST_SOCKET, new_ray_folder

NOBODY = 65534
HOLD = """
import sys
from eigen2.training.ray_folder import new_ray_folder
print(new_ray_folder(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that RAY_TMPDIR names; pytest's own have paths too long for a socket."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(made))
    yield made
    shutil.rmtree(made)


def home(parent: Path) -> Path:
    return parent / f"eigen2-{os.geteuid()}"


def test_only_its_user_can_enter_it(parent: Path) -> None:
    before = os.umask(0)
    try:
        folder = new_ray_folder()
    finally:
        os.umask(before)
    assert folder.parent == home(parent)
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert folder.is_dir()


def test_a_folder_that_others_could_enter_is_closed(parent: Path) -> None:
    home(parent).mkdir(mode=0o755)
    new_ray_folder()
    assert stat.S_IMODE(home(parent).stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(parent: Path) -> None:
    home(parent).mkdir()
    os.chown(home(parent), NOBODY, NOBODY)
    with pytest.raises(ResourceError, match=rf"belongs to another user \(uid {NOBODY}\); remove it, or set RAY_TMPDIR"):
        new_ray_folder()


def test_a_link_in_its_place_is_not_followed(parent: Path, tmp_path: Path) -> None:
    home(parent).symlink_to(tmp_path)
    with pytest.raises(ResourceError, match="can't be made"):
        new_ray_folder()
    assert list(tmp_path.iterdir()) == []


def test_folders_of_processes_that_have_ended_are_removed_but_for_the_newest(parent: Path) -> None:
    ended = [home(parent) / name for name in ("7", "8", "9")]
    for age, folder in enumerate(ended):
        (folder / "session_1" / "logs").mkdir(parents=True)
        os.utime(folder, (age, age))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        living = Path(process.stdout.readline().strip())
        assert not ended[0].exists()
        assert not ended[1].exists()
        own = new_ray_folder()
        assert living.exists(), "its process lives"
        assert ended[2].exists(), "the newest of those that ended, with its logs"
        process.communicate()
    os.utime(own, (10, 10))
    newest = new_ray_folder()
    assert own.exists(), "this process lives"
    assert newest.exists()
    assert living.exists()
    assert not ended[2].exists(), "no longer the newest that ended"


def test_the_paths_of_sockets_are_never_too_long(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'x' * 100}")
    with pytest.raises(ResourceError, match=r"RAY_TMPDIR: /tmp/x{100} has 105 bytes"):
        new_ray_folder()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr(tempfile, "tempdir", str(parent / ("y" * 100)))
    folder = new_ray_folder()
    assert folder.is_relative_to(FALLBACK)
    assert len(os.fsencode(folder)) + LONGEST_NAME <= LONGEST_SOCKET
