"""`eigen2 report RUN`: from a run's folder to its page, examined when need be, with clean errors."""

import csv
from pathlib import Path

import pytest

from eigen2.__main__ import main
from eigen2.config import dump_config
from eigen2.market.build import load_market
from eigen2.training.checkpoint import Archive, load_genome
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import train
from tests.training.small import make_session, small_config, small_market


def write_market(path: Path) -> None:
    """The small market's closes as a file of dates and columns, long enough for indicators to settle."""
    market = small_market()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["date", *market.columns])
        writer.writerows([str(day), *row] for day, row in zip(market.dates, market.prices.close.tolist(), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was trained but never examined."""
    path = tmp_path_factory.mktemp("runs")
    write_market(path / "market.csv")
    config = small_config(source=str(path / "market.csv"), min_target_pct=2.0)
    folder = RunFolder(path / "a run")
    folder.path.mkdir()
    folder.config.write_text(dump_config(config), encoding="utf-8")
    market, report = load_market(config)
    folder.data_report.write_text(report.to_text(), encoding="utf-8")
    train(config, market, folder, LocalRuntime(), Share, make_session(config, folder, 0))
    return folder


def openings(folder: RunFolder) -> str:
    return folder.holdout_openings.read_text(encoding="utf-8")


def test_a_run_is_examined_once_for_its_reports(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder.path)]) == 0
    assert f"report: {folder.report}" in capsys.readouterr().out
    first, looks = folder.report.read_text(encoding="utf-8"), openings(folder)
    assert "<h1>a run</h1>" in first
    assert "<svg" in first

    assert main(["report", str(folder.path)]) == 0
    assert openings(folder) == looks, "an evaluation that is there is not made again"
    assert folder.report.read_text(encoding="utf-8") == first

    genome = load_genome(folder.champion)
    other = {name: array + 0.5 for name, array in genome.items()}
    Archive(folder.checkpoints, keep=3).save_genome(folder.champion, other)
    assert main(["report", str(folder.path)]) == 0
    assert openings(folder) != looks, "another champion than the one evaluated is examined"
    assert "opened twice" in folder.report.read_text(encoding="utf-8")


def test_a_damaged_evaluation_is_told_in_a_sentence(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(folder.path)])
    whole = folder.evaluation.read_bytes()
    folder.evaluation.write_bytes(whole[: len(whole) // 2])
    try:
        capsys.readouterr()
        assert main(["report", str(folder.path)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"eigen2: {folder.evaluation}: Invalid JSON")
        assert "eigen2 evaluate" in error
        assert len(error.splitlines()) == 1
    finally:
        folder.evaluation.write_bytes(whole)


def test_a_run_without_champion_is_sent_to_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(small_config()), encoding="utf-8")
    assert main(["report", str(tmp_path)]) == 1
    assert f"eigen2 train --resume {tmp_path}" in capsys.readouterr().err


def test_no_run_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 1
    assert "is not a run folder" in capsys.readouterr().err
