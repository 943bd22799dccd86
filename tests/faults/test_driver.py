"""The driver itself is killed or asked to stop; the resumed run is the run that was never stopped."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from eigen2.__main__ import main
from eigen2.training.checkpoint import folder_name, generations_saved
from eigen2.training.run_folder import RunFolder
from eigen2.training.storage import MANIFEST
from tests.training.small import SMALL, assert_same_run, rows_of
from tests.tune.test_agent import KEY, Server, needs_stub

GENERATIONS = 12  # more than pass while a signal is on its way
LIMIT_S = 480
HIDES_CURSOR, SHOWS_CURSOR = "\x1b[?25l", "\x1b[?25h"  # as a live bar begins and ends


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


def written_to_terminal(line: list[str]) -> str:
    """Run a command whose output is a terminal; all that it wrote there, escape sequences included."""
    ours, its = os.openpty()
    with subprocess.Popen(line, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(its)
        written = b""
        while True:
            try:
                written += os.read(ours, 1 << 16)
            except OSError:  # on Linux the end of a terminal is an error
                break
    os.close(ours)
    assert process.returncode == 0, written
    return written.decode()


def start_and_stop(
    market_file: Path, runs: Path, how: signal.Signals, *changed: str, environment: dict[str, str] | None = None
) -> tuple[RunFolder, int]:
    """Start a run and signal its driver once two generations have their rows; returns its exit code.

    `stderr` beside the run's folder has what it said.
    """
    runs.mkdir(exist_ok=True)
    line = command(*settings(market_file, runs), "--name", "run", *changed)
    said = (runs / "stderr").open("w")
    process = subprocess.Popen(line, env=environment, stderr=said)
    folder = RunFolder(runs / "run")
    deadline = time.monotonic() + LIMIT_S
    while not (folder.metrics.exists() and len(folder.metrics.read_text().splitlines()) >= 2):
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline, "the run never got to its second generation"
        time.sleep(0.01)
    os.kill(process.pid, how)
    return folder, process.wait(timeout=LIMIT_S)


@pytest.fixture(scope="module")
def in_terminal(market_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, str]:
    """A run that nothing interrupts, and what it wrote to its terminal."""
    runs = tmp_path_factory.mktemp("runs")
    line = command(*settings(market_file, runs), "--name", "run", "--set", "progress=true")
    return RunFolder(runs / "run"), written_to_terminal(line)


@pytest.fixture(scope="module")
def uninterrupted(in_terminal: tuple[RunFolder, str]) -> RunFolder:
    return in_terminal[0]


def test_the_bar_is_gone_before_the_verdict_is_printed(in_terminal: tuple[RunFolder, str]) -> None:
    folder, written = in_terminal
    assert written.count(HIDES_CURSOR) == written.count(SHOWS_CURSOR) == 1, "there was a bar"
    bar, after = written.split(SHOWS_CURSOR)
    verdict = folder.results.read_text().split()[0]
    assert verdict not in bar
    assert verdict in after
    assert "\x1b[" not in after.replace("\x1b[0m", "").replace("\x1b[1m", ""), "nothing moves the cursor after it"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_stopped_and_resumed(tmp_path: Path, market_file: Path, uninterrupted: RunFolder, how: signal.Signals) -> None:
    folder, code = start_and_stop(market_file, tmp_path, how)
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 1)
    assert len(rows_of(folder)) < GENERATIONS
    if how == signal.SIGTERM:
        said = (tmp_path / "stderr").read_text().splitlines()
        saved = generations_saved(folder.checkpoints)[-1]
        assert said[-3:] == [
            f"stopping: the last checkpoint is after generation {saved}; go on with:",
            f"  eigen2 train --resume {folder.path}",
            "eigen2: stopped",
        ]
    subprocess.run(command("--resume", str(folder.path)), check=True, stderr=subprocess.DEVNULL)
    assert_same_run(folder, uninterrupted)
    assert folder.trades.read_bytes() == uninterrupted.trades.read_bytes()
    assert states_of(folder) == states_of(uninterrupted)


def test_a_run_that_is_trained_is_not_trained_by_a_second_process(
    tmp_path: Path, market_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = command(*settings(market_file, tmp_path), "--name", "run")
    with subprocess.Popen(line, stderr=subprocess.DEVNULL) as process:
        folder = RunFolder(tmp_path / "run")
        deadline = time.monotonic() + LIMIT_S
        while not folder.metrics.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for words in (["train", "--resume"], ["evaluate"]):
            assert main([*words, str(folder.path)]) == 1
            error = capsys.readouterr().err
            assert f"{folder.path} is in use by" in error
            assert f"process {process.pid} on " in error
        process.kill()


def test_a_finished_run_that_is_resumed_gets_its_copy_and_opens_the_hold_out_no_second_time(
    uninterrupted: RunFolder, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in (uninterrupted.holdout_openings, uninterrupted.evaluation)}
    assert len(json.loads(before[uninterrupted.holdout_openings])) == 1
    line = command("--resume", str(uninterrupted.path), "--storage", tmp_path.as_uri())
    subprocess.run(line, check=True, stderr=subprocess.DEVNULL)
    assert {path: path.read_bytes() for path in before} == before
    assert (tmp_path / "run" / "evaluation.json").read_bytes() == before[uninterrupted.evaluation]
    assert RunFolder.open(uninterrupted.path)[1].checkpoint.storage == tmp_path.as_uri()


def states_of(folder: RunFolder) -> dict[str, str]:
    """Checksums of all that the last checkpoint holds: members, replay buffer, champion and counters."""
    found = json.loads((folder.checkpoints / folder_name(GENERATIONS) / MANIFEST).read_bytes())["files"]
    assert {"replay.safetensors", "champion.safetensors", "progress.json"} < found.keys()
    return dict(found)


@needs_stub
def test_one_w_and_b_run_whatever_happens_to_its_driver(tmp_path: Path, market_file: Path) -> None:
    """Killed with rows on their way, and resumed: each generation is there once, with the numbers of metrics.jsonl."""
    server = Server(tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment |= {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.address, "HOME": str(tmp_path)}
    online = ["--set", "wandb_mode=online"]
    folder, _ = start_and_stop(market_file, tmp_path / "runs", signal.SIGKILL, *online, environment=environment)
    resumed = subprocess.run(
        command("--resume", str(folder.path)), env=environment, capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    server.stop()
    (run,) = server.runs()
    assert run["id"] == folder.identity()
    assert [step["generation"] for step in run["history"]] == list(range(GENERATIONS))
    for step, row in zip(run["history"], rows_of(folder), strict=True):
        numbers = {name: value for name, value in row.items() if value is not None and not name.startswith("time/")}
        assert {name: step[name] for name in numbers} == numbers
    assert KEY not in resumed.stdout + resumed.stderr
