"""The driver itself is killed or asked to stop; the resumed run is the run that was never stopped."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from eigen2.training.run_folder import RunFolder
from tests.training.small import SMALL, assert_same_run, rows_of

GENERATIONS = 4


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Closes of three stocks on 260 days."""
    path = tmp_path_factory.mktemp("market") / "closes.csv"
    rng = np.random.default_rng(5)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (260, 3)), axis=0))
    dates = np.datetime64("2020-01-01") + np.arange(260)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "A", "B", "C"])
        writer.writerows([str(day), *row] for day, row in zip(dates, closes.tolist(), strict=True))
    return path


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "eigen2", "train", *args]


def settings(market_file: Path, runs: Path) -> list[str]:
    values = {**SMALL, "population_size": 2, "elite_share": 0.5, "num_generations": GENERATIONS}
    values |= {"data.source": market_file, "runs_dir": runs, "max_target_pct": 20}
    config = runs / "config.yaml"
    runs.mkdir(parents=True, exist_ok=True)
    config.write_text("".join(f"{name}: {str(value).lower() if isinstance(value, bool) else value}\n"
                              for name, value in values.items()))  # fmt: skip
    return [str(config)]


def start_and_stop(market_file: Path, runs: Path, how: signal.Signals) -> tuple[RunFolder, int]:
    """Start a run and signal its driver once two generations have their rows; returns its exit code."""
    process = subprocess.Popen(command(*settings(market_file, runs), "--name", "run"), stderr=subprocess.DEVNULL)
    folder = RunFolder(runs / "run")
    deadline = time.monotonic() + 120
    while not (folder.metrics.exists() and len(folder.metrics.read_text().splitlines()) >= 2):
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline, "the run never got to its second generation"
        time.sleep(0.01)
    os.kill(process.pid, how)
    return folder, process.wait(timeout=60)


@pytest.fixture(scope="module")
def uninterrupted(market_file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    runs = tmp_path_factory.mktemp("runs")
    subprocess.run(command(*settings(market_file, runs), "--name", "run"), check=True, stderr=subprocess.DEVNULL)
    return RunFolder(runs / "run")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_stopped_and_resumed(tmp_path: Path, market_file: Path, uninterrupted: RunFolder, how: signal.Signals) -> None:
    folder, code = start_and_stop(market_file, tmp_path, how)
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 1)
    assert len(rows_of(folder)) < GENERATIONS
    subprocess.run(command("--resume", str(folder.path)), check=True, stderr=subprocess.DEVNULL)
    assert_same_run(folder, uninterrupted)
    assert folder.trades.read_bytes() == uninterrupted.trades.read_bytes()
