"""The folder of a run: made once, never overwritten, found again."""

import json
import shutil
from pathlib import Path

import pytest

from eigen2.errors import ConfigError, RunError
from eigen2.training.resume import Resume
from eigen2.training.run_folder import RunFolder
from tests.training.small import run, small_config


def created(tmp_path: Path, name: str | None = "first") -> RunFolder:
    return RunFolder.create(small_config(name=name, runs_dir=str(tmp_path / "runs")))


def test_a_new_run_gets_a_folder_with_its_config_and_id(tmp_path: Path) -> None:
    folder = created(tmp_path)
    assert folder.path == tmp_path / "runs" / "first"
    assert RunFolder.open(folder.path)[1] == small_config(name="first", runs_dir=str(tmp_path / "runs"))
    assert len(folder.identity()) == 12
    assert folder.identity() != created(tmp_path, "second").identity()


def test_a_run_without_a_name_is_named_by_date_and_time(tmp_path: Path) -> None:
    name = created(tmp_path, None).name
    assert len(name) == len("20260131-235959")
    assert name.replace("-", "").isdigit()


def test_a_name_that_is_taken_is_refused_and_its_folder_stays(tmp_path: Path) -> None:
    folder = created(tmp_path)
    before = folder.id.read_bytes()
    with pytest.raises(ConfigError, match=r"first exists; go on with `eigen2 train --resume .*first` or choose"):
        created(tmp_path)
    assert folder.id.read_bytes() == before


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(RunError, match=r"run folder .*first can't be written: "):
        created(tmp_path)


@pytest.mark.parametrize("path", [".", "absent"])
def test_what_is_no_run_folder_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(RunError, match=r"is not a run folder: it has no config\.yaml"):
        RunFolder.open(tmp_path / path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of three generations."""
    config = small_config(name="done", runs_dir=str(tmp_path_factory.mktemp("runs")))
    folder = RunFolder.create(config)
    run(folder.path)
    return folder


def test_a_run_goes_on_from_its_newest_checkpoint_or_the_one_named(finished: RunFolder) -> None:
    newest = Resume.find(str(finished.path))
    assert (newest.generation, newest.folder.path, newest.config.run.name) == (3, finished.path, "done")
    assert Resume.find(f"{finished.path}@2").generation == 2


@pytest.mark.parametrize("wanted", ["7", "", "x", "-1", "2.0"])
def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(finished: RunFolder, wanted: str) -> None:
    with pytest.raises(RunError, match=rf"has no checkpoint of generation '{wanted}', only of \[1, 2, 3\]"):
        Resume.find(f"{finished.path}@{wanted}")


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used_only_if_asked_for(
    finished: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "run")))
    damaged = run.checkpoints / "gen_000003" / "replay.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"gen_000003/replay\.safetensors is damaged.*: eigen2 train --resume .*/run@2$"):
        Resume.find(str(run.path))
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert Resume.find(f"{run.path}@2").generation == 2


def test_a_checkpoint_of_another_config_is_refused(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(finished.path, tmp_path / "run")))
    run.config.write_text(run.config.read_text().replace("seed: 9", "seed: 8"))
    with pytest.raises(RunError, match=r"gen_000003 was written with another config: .* it was started with$"):
        Resume.find(str(run.path))


def test_a_run_that_saved_nothing_starts_again(tmp_path: Path) -> None:
    assert Resume.find(str(created(tmp_path).path)).generation == 0


# --- the hold-out is counted ----------------------------------------------------------------------------------------


def test_every_new_look_at_the_hold_out_is_counted_and_the_same_look_once(tmp_path: Path) -> None:
    folder = created(tmp_path)
    looks = [{"champion": champion, "market": market} for champion in "ab" for market in "xy"]
    assert [folder.open_holdout(look) for look in (*looks, *looks)] == [1, 2, 3, 4, 4, 4, 4, 4]
    assert RunFolder(folder.path).open_holdout({**looks[0], "code": "other"}) == 5
    assert len(json.loads(folder.holdout_openings.read_bytes())) == 5


def test_openings_that_an_older_version_counted_stay_counted(tmp_path: Path) -> None:
    folder = created(tmp_path)
    folder.holdout_openings.write_text('["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]')
    assert [folder.open_holdout({"champion": "a"}) for _ in range(2)] == [3, 3]


@pytest.mark.parametrize("content", [b"", b"{}", b"3", b"[1, 2", b"\xff"])
def test_a_count_that_can_not_be_read_opens_nothing(tmp_path: Path, content: bytes) -> None:
    folder = created(tmp_path)
    folder.holdout_openings.write_bytes(content)
    with pytest.raises(RunError, match=r"holdout_openings\.json: the hold-out's openings can't be counted"):
        folder.open_holdout({"champion": "a"})
    assert folder.holdout_openings.read_bytes() == content
