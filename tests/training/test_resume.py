"""A run goes on only where nothing is lost, and the command line decides what may change."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eigen2.config import dump_config
from eigen2.errors import ConfigError, RunError
from eigen2.training.checkpoint import rewind
from eigen2.training.resume import Resume
from eigen2.training.run_folder import RunFolder
from tests.training.small import assert_same_run, run, small_config

GENERATIONS = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of three generations; tests only read it."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    path.mkdir()
    (path / "config.yaml").write_text(dump_config(small_config(name="whole")), encoding="utf-8")
    return run(path)


@pytest.fixture
def folder(whole: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(whole.path, tmp_path / "run")))


def rewrite(path: Path, keep: Callable[[int], list[int]]) -> None:
    """Keep each line of a generation as often as told."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = {line: json.loads(line)["generation"] for line in lines}
    path.write_bytes(b"".join(line for line in lines for _ in keep(at[line])))


LOSSES: dict[str, Callable[[int], list[int]]] = {
    "a gap": lambda generation: [] if generation == 1 else [0],
    "twice": lambda generation: [0, 0] if generation == 1 else [0],
}


@pytest.mark.parametrize("name", ["metrics", "lineage", "candidates"])
@pytest.mark.parametrize("loss", LOSSES)
def test_lost_and_doubled_rows_are_refused_with_the_way_back(folder: RunFolder, name: str, loss: str) -> None:
    path: Path = getattr(folder, name)
    rewrite(path, LOSSES[loss])
    before = {file: file.read_bytes() for file in folder.path.rglob("*.jsonl")}
    with pytest.raises(RunError, match=rf"{name}\.jsonl: rows of generation 1 are missing .*--resume .*run@1$"):
        Resume.find(str(folder.path))
    assert {file: file.read_bytes() for file in folder.path.rglob("*.jsonl")} == before


@pytest.mark.parametrize("name", ["metrics", "lineage", "candidates"])
def test_a_file_of_rows_that_is_gone_sends_back_to_the_beginning(folder: RunFolder, name: str) -> None:
    getattr(folder, name).unlink()
    with pytest.raises(RunError, match=rf"{name}\.jsonl: rows of generation 0 are missing .*--resume .*run@0$"):
        Resume.find(str(folder.path))


@pytest.mark.parametrize("back", [0, 1])
def test_the_way_back_brings_everything_back(folder: RunFolder, whole: RunFolder, back: int) -> None:
    rewrite(folder.candidates, lambda generation: [] if generation >= back else [0])
    if back == 0:
        folder.metrics.unlink()
        folder.lineage.write_bytes(folder.lineage.read_bytes() * 2)
    found = Resume.find(f"{folder.path}@{back}")
    rewind(folder.checkpoints, back)
    assert_same_run(run(folder.path, generation=found.generation), whole)


def test_rows_behind_the_checkpoint_are_not_asked_for(folder: RunFolder) -> None:
    """They are cut off and played again."""
    rewrite(folder.metrics, lambda generation: [] if generation == 2 else [0])
    assert Resume.find(f"{folder.path}@2").generation == 2


def test_a_run_that_another_process_trains_is_refused(folder: RunFolder) -> None:
    with RunFolder(folder.path).held(), pytest.raises(RunError, match=r"run is in use by `.*`, process \d+ on "):
        Resume.find(str(folder.path))


# --- what the command line decides ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("checkpoint.storage=file:///backup", "checkpoint.storage", "file:///backup"),
        ("resources.address=10.0.0.1:6379", "resources.address", "10.0.0.1:6379"),
        ("resources.num_cpus=3", "resources.num_cpus", 3),
        ("num_generations=9", "run.num_generations", 9),
        ("wandb_mode=disabled", "tracking.wandb_mode", "disabled"),
        ("data.source=moved.csv", "data.source", "moved.csv"),
    ],
)
def test_what_decides_no_number_may_change(folder: RunFolder, option: str, field: str, value: object) -> None:
    config = Resume.find(str(folder.path)).with_options([option]).config
    section, _, name = field.partition(".")
    assert getattr(getattr(config, section), name) == value


@pytest.mark.parametrize("option", ["tau=0.1", "cost_bps=500", "seed=8", "last_date=2020-02-02", "population_size=5"])
def test_what_decides_numbers_is_refused(folder: RunFolder, option: str) -> None:
    with pytest.raises(ConfigError, match="keeps all that decides its numbers; start a new run"):
        Resume.find(str(folder.path)).with_options([option])


def test_a_run_is_not_made_shorter_than_it_is(folder: RunFolder) -> None:
    with pytest.raises(ConfigError, match=r"run\.num_generations is 1, but run .* has 3 generations"):
        Resume.find(str(folder.path)).with_options(["num_generations=1"])
    assert Resume.find(str(folder.path)).with_options(["num_generations=3"]).config.run.num_generations == 3


@pytest.mark.parametrize("option", ["run.name=other", "runs_dir=elsewhere"])
def test_a_run_keeps_its_place(folder: RunFolder, option: str) -> None:
    with pytest.raises(ConfigError, match="keeps its name and its folder"):
        Resume.find(str(folder.path)).with_options([option])


OPENING = {"storage": "file:///backup", "address": "10.0.0.1:6379", "wandb_entity": "us", "wandb_mode": "online"}


def test_a_run_that_was_begun_here_keeps_its_storage_and_cluster(tmp_path: Path) -> None:
    folder = RunFolder.create(small_config(name="mine", runs_dir=str(tmp_path), **OPENING))
    found = Resume.find(str(folder.path)).with_options([])
    assert found.config == small_config(name="mine", runs_dir=str(tmp_path), **OPENING)


def test_a_config_that_somebody_changed_is_not_our_own_any_more(tmp_path: Path) -> None:
    folder = RunFolder.create(small_config(name="mine", runs_dir=str(tmp_path), **OPENING))
    folder.config.write_text(folder.config.read_text().replace("10.0.0.1", "10.6.6.6"))
    found = Resume.find(str(folder.path))
    assert len(found.folder.withheld) == len(OPENING)
    assert found.config.resources.address is None
    with pytest.raises(ConfigError, match="not obeyed in this"):
        found.with_options(["resources.address=10.0.0.1:6379"])
    assert Resume.find(str(folder.path), trust=True).with_options([]).config.resources.address == "10.6.6.6:6379"


def test_pickles_are_asked_for_each_time(tmp_path: Path) -> None:
    folder = RunFolder.create(small_config(name="mine", runs_dir=str(tmp_path), allow_pickle=True))
    with pytest.raises(ConfigError, match=r"sets data\.allow_pickle, which runs code"):
        Resume.find(str(folder.path)).with_options([])
    assert Resume.find(str(folder.path)).with_options(["data.allow_pickle=true"]).config.data.allow_pickle
