"""A disk that is full or read-only: said at once and by name, and what was saved before stays."""

import errno
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from eigen2.errors import RunError
from eigen2.training.checkpoint import generations_saved, load_genome, rewind
from eigen2.training.run_folder import RunFolder
from tests.faults.checkpoints import assert_whole, make_archive, parts_of, save
from tests.faults.disk import Disk
from tests.training.small import assert_identical, small_config

REFUSALS = {errno.ENOSPC: "No space left on device", errno.EROFS: "Read-only file system", errno.EIO: "Input/output"}
# a limit on the size of files is a full disk in a process of its own: each write beyond it fails
LIMITED = """
import resource, signal, sys
from pathlib import Path
from eigen2.errors import RunError
from tests.faults.checkpoints import make_archive, save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    save(make_archive(Path(sys.argv[1])), 2)
except RunError as error:
    sys.exit(str(error))
"""


class Refusing(Disk):
    """A disk that refuses one step with an error, and then goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refuses_at: int, code: int) -> None:
        self._refuses_at, self._code = refuses_at, code
        super().__init__(monkeypatch)

    def step(self) -> bool:
        super().step()
        if self.steps == self._refuses_at:
            raise OSError(self._code, os.strerror(self._code))
        return False


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_at_any_step_is_told_and_harms_nothing(tmp_path: Path, code: int) -> None:
    """Or it was a step without which the checkpoint is whole: an old one that could not be removed yet."""
    save(make_archive(tmp_path), 1)
    told = 0
    for refuses_at in range(1, 60):
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = Refusing(monkeypatch, refuses_at, code)
            try:
                save(make_archive(tmp_path), 2)
            except RunError as error:
                told += 1
                message = str(error)
                named = "gen_000002 can't be written: " in message and REFUSALS[code] in message
            else:
                named = generations_saved(tmp_path / "checkpoints") == [1, 2]
        assert named
        assert_whole(make_archive(tmp_path).load(1), 1, {1})
        if disk.steps < refuses_at:
            break
    assert told >= 15
    assert_whole(make_archive(tmp_path).load(2), 2, {2})
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["gen_000001", "gen_000002"]


def test_a_genome_that_can_not_be_written_is_named_and_the_old_stays(tmp_path: Path) -> None:
    path = tmp_path / "champion.safetensors"
    make_archive(tmp_path).save_genome(path, parts_of(1)[0])
    with pytest.MonkeyPatch.context() as monkeypatch:
        Refusing(monkeypatch, 2, errno.ENOSPC)
        with pytest.raises(RunError, match=r"champion\.safetensors can't be written: No space left on device"):
            make_archive(tmp_path).save_genome(path, parts_of(2)[0])
    assert_identical(load_genome(path), parts_of(1)[0])


def test_going_back_on_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    save(make_archive(tmp_path), 1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        Refusing(monkeypatch, 1, errno.EROFS)
        with pytest.raises(RunError, match="checkpoints can't be removed: Read-only file system"):
            rewind(tmp_path / "checkpoints", 0)
    assert_whole(make_archive(tmp_path).load(1), 1, {1})


def test_a_real_limit_on_files_is_named_and_harms_nothing(tmp_path: Path) -> None:
    save(make_archive(tmp_path), 1)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "gen_000002 can't be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert generations_saved(tmp_path / "checkpoints") == [1]
    assert_whole(make_archive(tmp_path).load(1), 1, {1})


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB of which one checkpoint is kept."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system, and not everywhere")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_named_and_the_checkpoints_before_stay(full_disk: Path) -> None:
    archive = make_archive(full_disk, keep=1000)
    with pytest.raises(RunError, match=r"checkpoint .* can't be written: No space left on device"):
        deque((save(archive, generation) for generation in range(1, 100)), maxlen=0)
    saved = generations_saved(full_disk / "checkpoints")
    assert saved
    for generation in saved:
        assert_whole(make_archive(full_disk).load(generation), generation, {generation})


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder without the right to write, which root has nevertheless."""
    place = tmp_path / "read only"
    place.mkdir()
    (place / "config.yaml").write_text("{}")
    place.chmod(0o500)
    if os.access(place, os.W_OK):
        place.chmod(0o700)
        pytest.skip("this user may write everywhere; the refusals of EROFS above are the same path")
    yield place
    place.chmod(0o700)


def test_a_read_only_folder_is_named(read_only: Path) -> None:
    with pytest.raises(RunError, match="can't be written: Permission denied"):
        save(make_archive(read_only), 1)
    with pytest.raises(RunError, match=r"run folder .* can't be written: Permission denied"):
        RunFolder.create(small_config(name="first", runs_dir=str(read_only)))
    with pytest.raises(RunError, match=r"run folder .* can't be written: permission denied"):
        RunFolder.open(read_only)


def test_a_new_run_on_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    for refuses_at in (1, 2, 3, 4):
        with pytest.MonkeyPatch.context() as monkeypatch:
            Refusing(monkeypatch, refuses_at, errno.EROFS)
            with pytest.raises(RunError, match=r"run folder .* can't be written: Read-only file system"):
                RunFolder.create(small_config(name=f"run{refuses_at}", runs_dir=str(tmp_path / "runs")))
