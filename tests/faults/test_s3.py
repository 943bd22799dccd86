"""A run's copy on S3, against a stand-in on loopback: uploaded, refused for a while, and good to go on from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eigen2.training.checkpoint import generations_saved
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import train
from eigen2.training.storage import fetch_run
from eigen2.training.trainer import Trainer
from tests.faults.checkpoints import assert_whole, make_archive, save
from tests.faults.s3 import S3
from tests.faults.test_storage import DEADLINE_S, MADE_OF, Archive
from tests.training.small import MARKET, assert_same_run, make_session, run, small_config

URI = "s3://bucket/runs"
SECRET = "recognisable/7Q+secret"
ENOUGH_S = 1.0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A server, and how a user names it: in the environment, as for MinIO or R2."""
    started = S3()
    monkeypatch.setenv("AWS_ENDPOINT_URL", started.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    yield started
    started.shutdown()


def trained(path: Path, generations: int) -> Trainer:
    """A run that is kept on the server."""
    config, folder = small_config(num_generations=generations, storage=URI), RunFolder(path)
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("kept with it\n")
    return train(config, MARKET, folder, LocalRuntime(), Share, make_session(config, folder, 0))


def test_a_run_goes_on_from_s3(tmp_path: Path, server: S3) -> None:
    trained(tmp_path / "first", 2).flush()
    fetch_run(f"{URI}/first", tmp_path / "back")
    assert generations_saved(tmp_path / "back" / "checkpoints") == [1, 2]
    resumed = run(tmp_path / "back", generation=2, num_generations=3)
    assert_same_run(resumed, run(tmp_path / "whole", num_generations=3))
    assert any("Credential=ID/" in shown for shown in server.authorizations)


def test_a_server_that_refuses_for_a_while(tmp_path: Path, server: S3, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "first").mkdir()
    archive = Archive(tmp_path / "first" / "checkpoints", 1, MADE_OF, URI)
    save(archive, 1)
    assert archive.flush(DEADLINE_S) is None
    server.down = True
    server.flowing.clear()
    save(archive, 2)  # would never come back if it waited for an upload
    server.flowing.set()
    told = archive.flush(ENOUGH_S)
    assert told is not None
    assert told.startswith(f"storage {URI}: ")
    assert "bucket/runs/first/checkpoints/gen_000001/manifest.json" in server.objects
    server.down = False
    assert archive.flush(2 * DEADLINE_S) is None
    names = {name.split("/")[4] for name in server.objects if "/gen_" in name}
    assert names == {"gen_000002"}
    (tmp_path / "first" / "config.yaml").write_text("kept with it\n")
    assert archive.flush(DEADLINE_S) is None
    fetch_run(f"{URI}/first", tmp_path / "back")
    assert_whole(make_archive(tmp_path / "back").load(2), 2, {2})
    assert SECRET not in told + caplog.text
