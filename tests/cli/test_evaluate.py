"""`eigen2 evaluate`: what it leaves in a run's folder, and studies of a config that train it anew."""

import csv
import json
import os
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from rich.console import Console

from eigen2.__main__ import main
from eigen2.cli.evaluate import examine_run
from eigen2.config import Config, dump_config
from eigen2.evaluation.walk_forward import window_configs
from eigen2.market.build import load_market
from eigen2.training.checkpoint import Archive, load_genome
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import train
from tests.training.small import make_session, small_config

DAYS, TEST_DAYS, WINDOWS = 260, 40, 2


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Of a market file with three stocks and an index, all walks."""
    place = tmp_path_factory.mktemp("data")
    close = 100 * np.exp(np.random.default_rng(3).normal(0, 0.02, (DAYS, 4)).cumsum(axis=0))
    with (place / "walks.csv").open("w", encoding="utf-8") as file:
        file.write("date,A,B,C,^I\n")
        for day, prices in enumerate(close):
            file.write(f"{np.datetime64('2015-01-01') + day},{','.join(f'{price:.4f}' for price in prices)}\n")
    return small_config(
        source=str(place / "walks.csv"), runs_dir=str(place / "runs"), num_generations=2, population_size=2
    )


def trained(config: Config, generations: int = 2) -> RunFolder:
    """The run of a config after so many generations; examined if that is all of them."""
    folder = RunFolder.create(config)
    market, report = load_market(config)
    folder.data_report.write_text(report.to_text(), encoding="utf-8")
    shorter = config.model_copy(update={"run": config.run.model_copy(update={"num_generations": generations})})
    train(shorter, market, folder, LocalRuntime(), Share, make_session(shorter, folder, 0))
    if generations == config.run.num_generations:
        examine_run(folder, config, market, Console(file=StringIO()))
    return folder


def named(config: Config, name: str, **sections: dict[str, Any]) -> Config:
    sections["run"] = {"name": name, **sections.get("run", {})}
    return config.model_copy(update={key: getattr(config, key).model_copy(update=of) for key, of in sections.items()})


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


# --- a run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(config: Config) -> RunFolder:
    """A run that was trained, and examined once at the end of it."""
    return trained(named(config, "first"))


KEYS = (
    "periods_per_year",
    "bar_unit",
    "holdout_openings",
    "candidates",
    "segments",
    "deflated_sharpe",
    "overfitting",
    "costs",
    "verdict",
    "look",
)


def test_an_evaluation_tells_everything(folder: RunFolder) -> None:
    found = content(folder.evaluation)
    assert tuple(found) == KEYS
    assert found["candidates"]["total"] == 4
    assert found["segments"].keys() == {"validation", "hold-out"}
    assert found["segments"]["hold-out"]["beats"].keys() == {"buy and hold", "index ^I", "random agent"}
    assert found["costs"].keys() == {"0", "5", "20"}
    assert found["costs"]["5"]["hold-out"] == found["segments"]["hold-out"]["figures"]["champion"]
    assert folder.results.read_text(encoding="utf-8").startswith(found["verdict"][0][:40])


def test_a_look_at_the_same_numbers_is_no_new_look(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    before = folder.evaluation.read_bytes()
    openings = folder.holdout_openings.read_bytes()
    assert main(["evaluate", str(folder.path)]) == 0
    assert folder.evaluation.read_bytes() == before
    assert folder.holdout_openings.read_bytes() == openings
    told = capsys.readouterr().out
    assert told.startswith("No evidence of skill: ")
    assert "at 20 bps a side" in told
    assert "The hold-out was opened for the first time" in told.replace("\n", " ")


def test_a_sweep_counts_its_trials(folder: RunFolder, tmp_path: Path) -> None:
    swept = RunFolder(Path(shutil.copytree(folder.path, tmp_path / "swept")))
    text = swept.config.read_text(encoding="utf-8")
    swept.config.write_text(text.replace("sweep_trials: 1", "sweep_trials: 30"), encoding="utf-8")
    assert main(["evaluate", str(swept.path)]) == 0
    found = content(swept.evaluation)
    assert found["candidates"]["sweep_trials"] == 30
    assert found["deflated_sharpe"]["trials"] == 30 * found["candidates"]["distinct"]
    once = content(folder.evaluation)["deflated_sharpe"]
    assert found["deflated_sharpe"]["probability"] < once["probability"]


def test_a_run_without_its_candidates_is_no_evidence(folder: RunFolder, tmp_path: Path) -> None:
    bare = RunFolder(Path(shutil.copytree(folder.path, tmp_path / "bare")))
    bare.candidates.unlink()
    assert main(["evaluate", str(bare.path)]) == 0
    found = content(bare.evaluation)
    assert found["deflated_sharpe"] is None
    assert found["overfitting"] is None
    assert "kept no record of the candidates" in found["verdict"][0]


def test_a_run_without_a_champion_opens_nothing(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    begun = RunFolder.create(named(config, "begun"))
    assert main(["evaluate", str(begun.path)]) == 1
    assert "has no champion yet" in capsys.readouterr().err
    assert not begun.holdout_openings.exists()


# --- what is not the run's own ----------------------------------------------------------------------------------------


def copied(folder: RunFolder, place: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(folder.path, place / "copy")))


def own_files(folder: RunFolder) -> dict[Path, bytes]:
    """The files of a run, but for what its champion did on other data."""
    files = (path for path in folder.path.rglob("*") if path.is_file() and "other-data" not in path.parts)
    return {path: path.read_bytes() for path in files}


def shortened(folder: RunFolder, place: Path, rows: int = 10) -> str:
    """The run's market file, without its last days."""
    _, config = RunFolder.open(folder.path)
    path = place / "shorter.csv"
    path.write_text("".join(Path(config.data.source).read_text().splitlines(keepends=True)[:-rows]))
    return str(path)


def test_data_that_changed_are_refused_by_name(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(folder, tmp_path)
    source, before = shortened(folder, tmp_path), own_files(mine)
    for command in (["evaluate", str(mine.path), "--data", source], ["report", str(mine.path), "--data", source]):
        assert main(command) == 1
        error = capsys.readouterr().err
        assert "was made on other data: the last day was 2015-09-17, is 2015-09-07; the number of days" in error
        assert "10 of the 40 days that are called hold-out here trained or chose the champion" in error
        assert len(error.splitlines()) == 1
    text = mine.config.read_text(encoding="utf-8")
    _, config = RunFolder.open(mine.path)
    mine.config.write_text(text.replace(config.data.source, source), encoding="utf-8")
    assert main(["train", "--resume", str(mine.path)]) == 1
    assert "was made on other data: the last day" in capsys.readouterr().err
    mine.config.write_text(text, encoding="utf-8")
    assert {path: content for path, content in own_files(mine).items() if path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }


def test_other_data_are_evaluated_apart_and_said_to_be(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(folder, tmp_path)
    before = own_files(mine)
    command = ["evaluate", str(mine.path), "--data", shortened(folder, tmp_path), "--other-data"]
    assert main(command) == 0
    (place,) = (mine.path / "other-data").iterdir()
    found = content(place / "evaluation.json")
    assert found["verdict"][0].startswith(
        "No evidence of skill: these data are not known to be the run's: the last day was"
    )
    assert "10 of the 40 days that are called hold-out here" in found["verdict"][0]
    assert found["segments"]["hold-out"]["last_date"] == "2015-09-07"
    assert found["deflated_sharpe"] is None
    assert "hold-out was opened" not in " ".join(found["verdict"])
    assert capsys.readouterr().out.startswith("No evidence of skill: these data are not known to be the run's")
    assert {path.name for path in place.iterdir()} >= {"results.txt", "trades.csv", "equity.csv", "equity.png"}
    assert {path: content for path, content in own_files(mine).items() if path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }
    assert main(["report", str(mine.path)]) == 0, "the run's own evaluation stands"


def test_data_with_other_columns_are_refused_with_no_way_round(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(folder, tmp_path)
    record = content(mine.provenance)
    record["market"]["columns"].append("GONE")
    mine.provenance.write_text(json.dumps(record), encoding="utf-8")
    for flags in ([], ["--other-data"]):
        assert main(["evaluate", str(mine.path), *flags]) == 1
        error = capsys.readouterr().err
        assert "the columns are without GONE now; its champion knows only the run's own columns" in error
    assert not (mine.path / "other-data").exists()


def test_a_run_that_lost_rows_of_metrics_is_not_judged(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(folder, tmp_path)
    lines = mine.metrics.read_text().splitlines(keepends=True)
    mine.metrics.write_text("".join(lines[:-1]))
    assert main(["evaluate", str(mine.path)]) == 1
    assert f"metrics.jsonl: has the rows of {len(lines) - 1} generations" in capsys.readouterr().err


def test_a_hold_out_seen_with_other_stocks_to_buy_was_seen(folder: RunFolder, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(folder.path, tmp_path / name)
    openings = content(tmp_path / "two" / "holdout_openings.json")
    openings[0]["look"]["market"] = "another, of which other columns may be bought"
    (tmp_path / "two" / "holdout_openings.json").write_text(json.dumps(openings), encoding="utf-8")
    assert main(["evaluate", str(tmp_path / "one")]) == 0
    assert "opened by 1 other run beside" in content(tmp_path / "one" / "evaluation.json")["verdict"][-1]


def test_other_code_is_refused_and_said_where_it_is_meant(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(folder, tmp_path)
    record = content(mine.provenance)
    record["code"]["trading/rules.py"] = "0" * 64
    mine.provenance.write_text(json.dumps(record), encoding="utf-8")
    for command in (["evaluate", str(mine.path)], ["train", "--resume", str(mine.path)]):
        assert main(command) == 1
        assert "was made with other code: eigen2/trading/rules.py" in capsys.readouterr().err
    assert main(["evaluate", str(mine.path), "--other-code"]) == 0
    assert (
        content(mine.evaluation)["verdict"][-1] == "The code is not the one that made the run: eigen2/trading/rules.py."
    )


def test_a_run_without_a_record_is_other_data(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(folder, tmp_path)
    mine.provenance.unlink()
    assert main(["evaluate", str(mine.path)]) == 1
    assert "the run kept no record of the data it was made on (provenance.json is missing)" in capsys.readouterr().err
    assert main(["evaluate", str(mine.path), "--other-data"]) == 0
    (place,) = (mine.path / "other-data").iterdir()
    assert "the run kept no record of the data" in content(place / "evaluation.json")["verdict"][0]


def test_a_look_at_something_new_is_a_new_look(folder: RunFolder, tmp_path: Path) -> None:
    mine = copied(folder, tmp_path)
    genome = {name: array + 0.5 for name, array in load_genome(mine.champion).items()}
    Archive(mine.checkpoints, keep=3).save_genome(mine.champion, genome)
    for _ in range(2):
        assert main(["evaluate", str(mine.path)]) == 0
        assert content(mine.evaluation)["holdout_openings"] == 2
        assert "The hold-out was opened 2 times" in content(mine.evaluation)["verdict"][-1]


@pytest.mark.parametrize(
    "name", ["trades.csv", "equity.csv", "fitness.png", "equity.png", "results.txt", "evaluation.json"]
)
def test_a_folder_in_the_place_of_a_result_is_named(
    folder: RunFolder, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = copied(folder, tmp_path)
    (mine.path / name).unlink()
    (mine.path / name).mkdir()
    assert main(["evaluate", str(mine.path)]) == 1
    assert capsys.readouterr().err == f"eigen2: {mine.path / name} can't be written: Is a directory\n"


def test_other_runs_that_opened_the_same_hold_out_are_counted(folder: RunFolder, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        shutil.copytree(folder.path, tmp_path / name)
    for name in ("notes", "piped", "endless"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "piped" / "holdout_openings.json")
    (tmp_path / "endless" / "holdout_openings.json").symlink_to("/dev/zero")
    (tmp_path / "three" / "holdout_openings.json").write_text("[3]", encoding="utf-8")
    for name, told in (("one", "1 other run beside"), ("three", "2 other runs beside")):
        assert main(["evaluate", str(tmp_path / name)]) == 0
        assert content(tmp_path / name / "evaluation.json")["verdict"][-1] == (
            f"The same hold-out was opened by {told} this one."
        )


def test_a_run_that_was_interrupted_is_judged_by_its_newest_checkpoint(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = trained(named(config, "interrupted", run={"runs_dir": str(tmp_path)}), generations=1)
    begun.champion.unlink()
    for command in ("evaluate", "report"):
        assert main([command, str(begun.path)]) == 0
    found = content(begun.evaluation)
    assert found["verdict"][-1] == (
        "The run has not come to its end: this is the champion of its newest checkpoint, after 1 of 2 generations."
    )
    assert found["candidates"]["total"] == 2
    assert not begun.champion.exists()
    assert "has not come to its end" in begun.report.read_text(encoding="utf-8")
    assert len(content(begun.holdout_openings)) == 1
    capsys.readouterr()


def test_an_evaluation_waits_for_no_training(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(folder.path).held():
        for command in (["evaluate"], ["report"], ["train", "--resume"]):
            assert main([*command, str(folder.path)]) == 1
            assert f"{folder.path} is in use by" in capsys.readouterr().err


def test_a_run_is_judged_from_any_directory(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    shutil.copyfile(config.data.source, project / "walks.csv")
    monkeypatch.chdir(project)
    here = config.model_copy(update={"data": config.data.model_copy(update={"source": "walks.csv"})})
    folder = trained(named(here, "relative", run={"runs_dir": "runs"}))
    moved = folder.path.absolute()
    monkeypatch.chdir("/")
    assert main(["evaluate", str(moved)]) == 0
    project.rename(tmp_path / "moved")
    assert main(["evaluate", str(tmp_path / "moved" / "runs" / "relative")]) == 0


def test_no_ticker_is_a_formula_in_the_trades(config: Config, tmp_path: Path) -> None:
    source = tmp_path / "hostile.csv"
    text = Path(config.data.source).read_text()
    source.write_text(text.replace("date,A,B,C,^I", "date,=cmd|' /C calc'!A0,+B,@C,^I"))
    hostile = config.model_copy(update={"data": config.data.model_copy(update={"source": str(source)})})
    folder = trained(named(hostile, "hostile", run={"runs_dir": str(tmp_path / "runs")}))
    with folder.trades.open(newline="", encoding="utf-8") as file:
        stocks = {row["stock"] for row in csv.DictReader(file)}
    assert stocks
    assert stocks <= {"'=cmd|' /C calc'!A0", "'+B", "'@C"}
    assert main(["report", str(folder.path)]) == 0


# --- studies ------------------------------------------------------------------------------------------------------


def windows_of(config: Config, folder: Path) -> list[Config]:
    """The runs of a walk-forward study as it would make them."""
    market, _ = load_market(config)
    return [
        named(window, f"window_{number}", run={"runs_dir": str(folder)})
        for number, window in enumerate(window_configs(config, market.dates, WINDOWS), start=1)
    ]


@pytest.fixture(scope="module")
def study(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file whose walk-forward study has trained its first window, and half of its second."""
    place = tmp_path_factory.mktemp("study")
    mine = config.model_copy(update={"run": config.run.model_copy(update={"runs_dir": str(place)})})
    (place / "walks.yaml").write_text(dump_config(mine), encoding="utf-8")
    first, second = windows_of(mine, place / "walks-walk-forward-2")
    trained(first)
    trained(second, generations=1)
    return place


def test_a_study_goes_on_where_it_was_stopped_and_stitches_its_windows(
    study: Path, config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(study / "walks.yaml"), "--walk-forward", str(WINDOWS)]
    try:
        assert main(command) == 0
    finally:
        ray.shutdown()
    told = capfd.readouterr()
    assert "run window_1: done before, taken as it is" in told.err
    assert "going on after generation 1" in told.err
    folder = study / "walks-walk-forward-2"
    runs = [RunFolder(folder / f"window_{number}") for number in (1, 2)]
    assert [content(window.evaluation)["holdout_openings"] for window in runs] == [1, 1]

    # the window that was stopped ended like one that never was
    whole = trained(windows_of(config, study / "whole")[1])
    assert whole.lineage.read_bytes() == runs[1].lineage.read_bytes()
    assert whole.candidates.read_bytes() == runs[1].candidates.read_bytes()

    with (folder / "equity.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["date"] for row in (rows[0], rows[-1])] == ["2015-06-30", "2015-09-17"]
    assert len(rows) == WINDOWS * TEST_DAYS
    found = content(folder / "study.json")
    returns = [1 + window["figures"]["champion"]["total_return_pct"] / 100 for window in found["windows"]]
    stitched = found["stitched"]["figures"]["champion"]["total_return_pct"]
    assert stitched == pytest.approx(100 * (np.prod(returns) - 1))
    assert float(rows[-1]["champion"]) == pytest.approx(np.prod(returns))
    assert (folder / "equity.png").stat().st_size > 10_000
    assert found["verdict"][0] in (folder / "results.txt").read_text(encoding="utf-8").replace("\n", " ")

    # a study that is done tells the same again, without training anything
    assert main(command) == 0
    assert not ray.is_initialized()
    assert content(folder / "study.json") == found


def test_a_study_of_another_config_is_not_mixed_with_it(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(study / "walks.yaml"), "--walk-forward", str(WINDOWS), "--set", "tau=0.01"]
    assert main(command) == 1
    assert "window_1 was made with ddpg.tau 0.005, this study has 0.01" in capsys.readouterr().err


def test_seeds_of_a_run_are_told_with_their_spread(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    _, config = RunFolder.open(folder.path)
    place = folder.path.with_name("first-seeds-3")
    for seed in (9, 10, 11):
        trained(named(config, f"seed_{seed}", run={"runs_dir": str(place), "seed": seed}))
    assert main(["evaluate", str(folder.path), "--seeds", "3"]) == 0
    found = content(place / "study.json")
    returns = [
        found["seeds"][f"seed_{seed}"]["segments"]["hold-out"]["figures"]["champion"]["total_return_pct"]
        for seed in (9, 10, 11)
    ]
    assert len(set(returns)) == 3
    told = found["spread"]["hold-out"]
    assert [told[name]["total_return_pct"] for name in ("lowest", "median", "highest")] == sorted(returns)
    out = capsys.readouterr().out
    assert out.startswith("0 of 3 seeds give evidence of skill.")
    assert "seed_10" in out


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--walk-forward", "40"], 2, "40 windows of splits.holdout_days 40 need 1600 days of testing alone"),
        (["--walk-forward", "5"], 1, "are needed"),
        (["--set", "tau=0.01"], 2, "--set is for --walk-forward and --seeds"),
    ],
)
def test_a_study_that_can_not_be_is_refused_before_anything_is_trained(
    folder: RunFolder, args: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.path.parent.iterdir())
    assert main(["evaluate", str(folder.path), *args]) == code
    assert says in capsys.readouterr().err
    assert sorted(folder.path.parent.iterdir()) == before


@pytest.mark.parametrize("args", [["--seeds", "0"], ["--seeds", "x"], ["--seeds", "2", "--walk-forward", "2"]])
def test_a_study_of_nothing_is_bad_usage(args: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "run", *args])
    assert stop.value.code == 2
