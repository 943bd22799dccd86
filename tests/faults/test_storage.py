"""A run's copy on remote storage: made in the background, complete or absent, and good to go on from."""

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import LocalFileSystem

from eigen2.config import config_from_dict
from eigen2.errors import ConfigError, RunError
from eigen2.training.checkpoint import Archive, generations_saved
from eigen2.training.storage import Mirror, fetch_run, open_storage, require_free
from tests.faults.checkpoints import MADE_OF, assert_whole, make_archive, save

DEADLINE_S = 240.0
ENOUGH_S = 0.2


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with the files of two generations."""
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("run: {name: first}\n")
    (folder / "metrics.jsonl").write_text('{"generation": 0}\n{"generation": 1}\n')
    (folder / ".metrics.jsonl.partial").write_text("half")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "debug.log").write_text("W&B keeps its own")
    return folder


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return tmp_path / "remote"


def mirrored(run: Path, remote: Path, keep: int = 2) -> Archive:
    return Archive(run / "checkpoints", keep, MADE_OF, remote.as_uri())


class Failing:
    """A storage that refuses its first `times` uploads, or is there only when told."""

    def __init__(self, times: int = 0) -> None:
        self._system, self.times, self.tries = LocalFileSystem(), times, 0
        self.there = threading.Event()
        self.there.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def open_output_stream(self, path: str) -> Any:
        self.tries += 1
        self.there.wait(DEADLINE_S)
        if self.tries <= self.times:
            raise OSError(f"upload {self.tries} refused")
        return self._system.open_output_stream(path)

    def at(self, remote: Path) -> Callable[[str], tuple[Any, str]]:
        return lambda uri: (self, str(remote))


@pytest.fixture
def failing() -> Iterator[Failing]:
    system = Failing()
    yield system
    system.there.set()


# --- uploads ----------------------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was(run: Path, remote: Path, tmp_path: Path) -> None:
    archive = mirrored(run, remote)
    for generation in (1, 2):
        save(archive, generation)
    assert archive.flush(DEADLINE_S) is None
    fetch_run(f"{remote.as_uri()}/first", tmp_path / "back")
    for name in ("config.yaml", "metrics.jsonl"):
        assert (tmp_path / "back" / name).read_bytes() == (run / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == [
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
    ]
    for generation in (1, 2):
        assert_whole(make_archive(tmp_path / "back").load(generation), generation, {generation})


def test_the_storage_keeps_what_the_disk_keeps(run: Path, remote: Path) -> None:
    archive = mirrored(run, remote)
    for generation in range(1, 7):
        save(archive, generation, champion=2)
    assert archive.flush(DEADLINE_S) is None
    assert generations_saved(run / "checkpoints") == [2, 5, 6]
    assert sorted(path.name for path in (remote / "first" / "checkpoints").iterdir()) == [
        "gen_000002",
        "gen_000005",
        "gen_000006",
    ]


def test_a_generation_saved_again_is_uploaded_again(run: Path, remote: Path) -> None:
    archive = mirrored(run, remote)
    save(archive, 1)
    assert archive.flush(DEADLINE_S) is None
    save(archive, 1, number=99)
    assert archive.flush(DEADLINE_S) is None
    assert_whole(make_archive(remote / "first").load(1), 1, {99})


def test_what_changes_after_the_last_checkpoint_is_awaited_too(run: Path, remote: Path) -> None:
    archive = mirrored(run, remote)
    save(archive, 1)
    assert archive.flush(DEADLINE_S) is None
    (run / "results.txt").write_text("good")
    assert archive.flush(DEADLINE_S) is None
    assert (remote / "first" / "results.txt").read_text() == "good"


def test_an_archive_moves_to_the_process_that_saves(run: Path, remote: Path) -> None:
    archive = pickle.loads(pickle.dumps(mirrored(run, remote)))
    save(archive, 1)
    assert archive.flush(DEADLINE_S) is None
    assert generations_saved(remote / "first" / "checkpoints") == [1]


def test_an_archive_without_storage_has_nothing_to_wait_for(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    assert archive.flush(0.0) is None
    assert archive.trouble() is None


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3, 9])
def test_a_refused_upload_is_tried_again(run: Path, remote: Path, times: int) -> None:
    save(make_archive(run), 1)
    failing = Failing(times)
    mirror = Mirror("fake://", run, 0.001, failing.at(remote))
    mirror.keep(["gen_000001"])
    assert mirror.flush(DEADLINE_S) is None
    assert failing.tries > times
    assert_whole(make_archive(remote / "first").load(1), 1, {1})


@pytest.mark.parametrize("uploads", range(1, 9))
def test_a_checkpoint_is_complete_or_absent_wherever_the_uploads_end(run: Path, remote: Path, uploads: int) -> None:
    """Two run files, four parts, one manifest: the eighth upload never comes."""
    save(make_archive(run), 1)

    class Ending(Failing):
        def open_output_stream(self, path: str) -> Any:
            self.tries += 1
            if self.tries >= uploads:
                raise OSError("the storage is lost")
            return self._system.open_output_stream(path)

    mirror = Mirror("fake://", run, 60.0, Ending().at(remote))
    mirror.keep(["gen_000001"])
    told = mirror.flush(DEADLINE_S if uploads == 8 else ENOUGH_S)
    assert (told is None) == (uploads == 8)
    assert generations_saved(remote / "first" / "checkpoints") == ([1] if uploads == 8 else [])


def test_a_lost_storage_is_told_once_and_the_old_checkpoint_stays(run: Path, remote: Path) -> None:
    mirror = Mirror("fake://bucket", run, 0.001, (system := Failing()).at(remote))
    save(make_archive(run), 1)
    mirror.keep(["gen_000001"])
    assert mirror.flush(DEADLINE_S) is None
    system.times = 10**9
    save(make_archive(run, keep=1), 2)
    mirror.keep(["gen_000002"])
    _until(lambda: mirror._failure is not None)
    told = mirror.flush(ENOUGH_S)
    assert told is not None
    assert "storage fake://bucket: upload" in told
    assert f"the run lies whole in {run}" in told
    assert generations_saved(remote / "first" / "checkpoints") == [1]
    system.times = 0
    assert mirror.flush(DEADLINE_S) is None
    assert mirror.trouble() is None
    assert generations_saved(remote / "first" / "checkpoints") == [2]


def test_trouble_is_told_once(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    mirror = Mirror("fake://", run, 60.0, lambda uri: _refused())
    mirror.keep([])
    _until(lambda: mirror._failure is not None)
    assert mirror.trouble() == "storage fake://: no such bucket"
    assert mirror.trouble() is None
    mirror.flush(ENOUGH_S)
    assert [record.getMessage() for record in caplog.records] == [
        "storage fake://: no such bucket; training goes on, the upload is tried again"
    ]


def _refused() -> Any:
    raise OSError("no such bucket\nwith many lines")


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_storage_that_hangs_holds_up_nothing(run: Path, remote: Path, failing: Failing) -> None:
    failing.there.clear()
    mirror = Mirror("fake://", run, 0.001, failing.at(remote))
    archive = make_archive(run)
    for generation in (1, 2, 3):
        save(archive, generation)
        mirror.keep([f"gen_{generation:06d}"])
    told = mirror.flush(ENOUGH_S)
    assert told == f"storage fake://: not done within 0.2 s; not all was uploaded, the run lies whole in {run}"
    assert mirror.flush(ENOUGH_S) is None, "told once"
    failing.there.set()
    assert mirror.flush(DEADLINE_S) is None
    assert generations_saved(remote / "first" / "checkpoints") == [3]


def test_a_checkpoint_pruned_while_it_is_uploaded_is_left_out(run: Path, remote: Path, failing: Failing) -> None:
    archive = make_archive(run, keep=1)
    save(archive, 1)
    failing.there.clear()
    mirror = Mirror("fake://", run, 0.001, failing.at(remote))
    mirror.keep(["gen_000001"])
    _until(lambda: failing.tries > 0)
    save(archive, 2)
    failing.there.set()
    mirror.keep(["gen_000002"])
    assert mirror.flush(DEADLINE_S) is None
    assert generations_saved(remote / "first" / "checkpoints") == [2]


# --- another run of the same name -------------------------------------------------------------------------------------


def named(run: Path, run_id: str) -> Path:
    (run / "run_id").write_text(run_id)
    return run


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_of_the_same_name_never_touches_the_copy_of_the_other(run: Path, remote: Path, tmp_path: Path) -> None:
    archive = mirrored(named(run, "mine"), remote)
    save(archive, 1)
    assert archive.flush(DEADLINE_S) is None
    before = files_of(remote)
    other = tmp_path / "elsewhere" / "first"
    other.mkdir(parents=True)
    intruder = mirrored(named(other, "theirs"), remote)
    save(intruder, 2)
    told = intruder.flush(ENOUGH_S)
    assert told is not None
    assert "remote/first holds another run, of which nothing is overwritten; choose another --name" in told
    assert files_of(remote) == before
    save(archive, 2)
    assert archive.flush(DEADLINE_S) is None
    assert generations_saved(remote / "first" / "checkpoints") == [1, 2]


def test_of_two_runs_that_begin_at_once_one_goes_on(run: Path, remote: Path, tmp_path: Path) -> None:
    """Both found the place free; the id that was written last tells whose it is."""
    archive = mirrored(named(run, "mine"), remote)
    save(archive, 1)
    assert archive.flush(DEADLINE_S) is None
    (remote / "first" / "run_id").write_text("theirs")
    save(archive, 2)
    told = archive.flush(ENOUGH_S)
    assert told is not None
    assert "holds another run" in told
    assert generations_saved(remote / "first" / "checkpoints") == [1]


@pytest.mark.parametrize(("own", "free"), [(None, False), (b"theirs", False), (b"mine", True), (b"mine\n", True)])
def test_a_place_is_asked_for_before_a_run_begins(run: Path, remote: Path, own: bytes | None, free: bool) -> None:
    archive = mirrored(named(run, "mine"), remote)
    save(archive, 1)
    assert archive.flush(DEADLINE_S) is None
    require_free(remote.as_uri(), "second", own)
    if free:
        require_free(remote.as_uri(), "first", own)
    else:
        with pytest.raises(RunError, match=r"remote/first holds another run, .*eigen2 train --resume file://.*/first$"):
            require_free(remote.as_uri(), "first", own)


def test_a_storage_that_does_not_answer_holds_up_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def silent(uri: str) -> tuple[Any, str]:
        answer.wait(DEADLINE_S)
        raise OSError("too late")

    monkeypatch.setattr("eigen2.training.storage.open_storage", silent)
    require_free("s3://bucket", "first", None, deadline_s=0.01)
    answer.set()


# --- fetching ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def uploaded(run: Path, remote: Path) -> Path:
    archive = mirrored(run, remote)
    save(archive, 1)
    assert archive.flush(DEADLINE_S) is None
    return remote / "first"


def test_an_interrupted_upload_is_not_fetched(uploaded: Path, tmp_path: Path) -> None:
    half = uploaded / "checkpoints" / "gen_000002"
    half.mkdir()
    (half / "replay.safetensors").write_bytes(b"half")
    (uploaded / "results.txt.partial").write_bytes(b"half")
    fetch_run(uploaded.as_uri(), tmp_path / "back")
    assert [path.name for path in (tmp_path / "back" / "checkpoints").iterdir()] == ["gen_000001"]
    assert not (tmp_path / "back" / "results.txt.partial").exists()


@pytest.mark.parametrize(
    "name",
    ["../../outside", "checkpoints/../../outside", "/outside", "a/../b", "checkpoints/gen_000001/../../x", "a\\b"],
)
def test_a_name_that_leads_out_of_the_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Info:
        def __init__(self, path: str) -> None:
            self.path, self.is_file = path, True

    class Planted:
        def get_file_info(self, selector: Any) -> list[Info]:
            return [Info("bucket/first/config.yaml"), Info(f"bucket/first/{name}")]

    monkeypatch.setattr("eigen2.training.storage.open_storage", lambda uri: (Planted(), "bucket/first"))
    with pytest.raises(RunError, match="which is no file of a run; nothing was fetched"):
        fetch_run("s3://bucket/first", tmp_path / "back")
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_fails_leaves_nothing(uploaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(system: Any, path: str, target: Path) -> None:
        raise OSError("connection lost")

    monkeypatch.setattr("eigen2.training.storage._download", refuse)
    with pytest.raises(RunError, match=r"can't be fetched into .*back: connection lost"):
        fetch_run(uploaded.as_uri(), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_folder_that_exists_is_not_fetched_into(uploaded: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="runs exists; fetch"):
        fetch_run(uploaded.as_uri(), tmp_path / "runs")


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere is not a run: it has no config\.yaml"):
        fetch_run((tmp_path / "nowhere").as_uri(), tmp_path / "back")


# --- the URI ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", ["nope://x", "", "relative", "file://relative", "s3:// bad"])
def test_a_uri_that_no_filesystem_has_is_named(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint\.storage"):
        open_storage(uri)


@pytest.mark.parametrize("uri", ["nope://x", "", "relative", "file://relative", "file:relative", "s3:bucket", "s3://"])
def test_a_config_refuses_what_is_no_storage(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint\.storage"):
        config_from_dict({"storage": uri}, "the test")


@pytest.mark.parametrize("uri", ["s3://ID:recognisable@bucket/runs", "s3://ID:recognisable@[bucket", "recognisable"])
def test_a_key_in_a_uri_is_refused_and_never_repeated(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_dict({"storage": uri}, "the test")
    assert "recognisable" not in str(caught.value)


@pytest.mark.parametrize("uri", ["file:///runs", "s3://bucket", "s3://bucket/runs?region=eu-west-1", "gs://bucket/x"])
def test_a_config_takes_a_storage(uri: str) -> None:
    assert config_from_dict({"storage": uri}, "the test").checkpoint.storage == uri
