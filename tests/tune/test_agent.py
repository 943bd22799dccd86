"""Runs for the real `wandb agent`, against a stand-in for W&B's server on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eigen2.config import load_config
from eigen2.training.run_folder import RunFolder
from tests.training.small import rows_of
from tests.tune.small_sweep import lay_down

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("EIGEN2_SHARED", ROOT.parent / "shared"))
STUB = SHARED / "tools" / "wandb_stub.py"
KEY = "0123456789abcdef0123456789abcdef01234567"
METRIC = "fitness/best_ever"
PATIENCE_S = 400  # with whatever is slow here
LOSES_NOTHING = {"loss_penalty_multiplier": 0.0, "inaction_penalty": 0.0, "zero_trades_penalty": 0.0}
WINS_NOTHING = {"cost_bps": 5000.0, "inaction_penalty": 1.0}
# the stand-in, whose record leaves out whether a run was marked as preempting
STAND_IN = f"""
import sys
sys.path.insert(0, {str(STUB.parent)!r})
import wandb_stub
record = wandb_stub.Backend.record
def with_preempting(backend):
    told = record(backend)
    for run in backend.runs.values():
        told["runs"][run["id"]]["preempting"] = run["preempting"]
    return told
wandb_stub.Backend.record = with_preempting
sys.exit(wandb_stub.main())
"""

needs_stub = pytest.mark.skipif(
    not STUB.exists(), reason=f"needs a stand-in for the W&B server, which is not part of this repository ({STUB})"
)


class Server:
    """The stand-in, and what it makes of what it saw."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._record = folder / "record.json"
        port_file = folder / "port"
        files = ["--port", "0", "--port-file", str(port_file), "--record", str(self._record)]
        self._process = subprocess.Popen([sys.executable, "-c", STAND_IN, "--quiet", *files, *options])
        deadline = time.monotonic() + PATIENCE_S
        while not (port_file.exists() and port_file.read_text().strip()):
            assert time.monotonic() < deadline, "the stand-in did not start"
            time.sleep(0.05)
        self.address = f"http://127.0.0.1:{port_file.read_text().strip()}"

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_S)

    def verdict(self, *expected: str) -> tuple[int, str]:
        """The stand-in's own judgement of its record: exit code and text."""
        self.stop()
        command = [sys.executable, str(STUB), "--verify", str(self._record), *expected]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    def runs(self) -> list[dict[str, Any]]:
        if not self._record.exists():
            return []
        record = json.loads(self._record.read_text())["runs"]
        return [{**run, "id": name.rpartition("/")[2]} for name, run in record.items()]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of someone who uses W&B, with this Python first on the PATH: agents start `/usr/bin/env python`."""
    monkeypatch.chdir(tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "NETRC": str(tmp_path / "netrc"),
        "WANDB_CONFIG_DIR": str(tmp_path / "wandb-config"),
        "WANDB_CACHE_DIR": str(tmp_path / "wandb-cache"),
        "WANDB_API_KEY": KEY,
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_AGENT_REPORT_INTERVAL": "1",
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
    }


def start_sweep(server: Server, environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Give `sweep.yaml` to the stand-in: the sweep's path, and the environment of its agents."""
    online = environment | {"WANDB_BASE_URL": server.address}
    command = [sys.executable, "-m", "wandb", "sweep", "--project", "p", "--entity", "stub-user", "sweep.yaml"]
    done = subprocess.run(command, env=online, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).split("wandb agent ")[1].split()[0], online


def start_agent(
    sweep: str, environment: dict[str, str], log: Path, *options: str, folder: Path | None = None
) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "wandb", "agent", *options, sweep]
    with log.open("wb") as file:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT)


def wait_for(*agents: "subprocess.Popen[bytes]") -> None:
    try:
        for agent in agents:
            agent.wait(PATIENCE_S)
    finally:
        for agent in agents:
            agent.kill()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)


@needs_stub
def test_an_agent_trains_the_runs_of_a_sweep(tmp_path: Path, environment: dict[str, str]) -> None:
    sweep = {
        "parameters": {"seed": {"values": [1, 2, 3]}, "num_generations": {"value": 10}},
    }
    lay_down(tmp_path, sweep, wandb_mode="auto")
    server = Server(tmp_path, "--run-cap", "3")
    try:
        path, online = start_sweep(server, environment)
        wait_for(start_agent(path, online, tmp_path / "agent.log"))
        log = (tmp_path / "agent.log").read_text()
        code, verdict = server.verdict("--expect-runs", "3", "--expect-metric", METRIC, "--expect-rows", "10")
        assert code == 0, verdict + log
    finally:
        server.stop()
    for run in server.runs():
        folder = RunFolder(tmp_path / "runs" / f"{path.rpartition('/')[2]}-{run['id']}")
        assert [row[METRIC] for row in rows_of(folder)] == [row[METRIC] for row in run["history"]]
        assert load_config(folder.config).run.seed == run["params_handed_out"]["seed"]
        assert run["summary"]["final/win_rate"] >= 0
        assert run["config_received"]["ddpg"]["gamma"] == 0.99
        assert folder.champion.exists()
    assert KEY not in log


@needs_stub
def test_hyperband_stops_the_worse_of_two_agents_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    """The better run is over before the worse one begins, which would go on for days: only a stop ends it."""
    sweep = {
        "early_terminate": {"type": "hyperband", "max_iter": 6, "eta": 3, "s": 1},  # one rung, at 2
        "parameters": {"seed": {"values": [1, 2]}},  # one for each run
    }
    lay_down(tmp_path, sweep, num_generations=3, wandb_mode="auto", **LOSES_NOTHING)
    machine = tmp_path / "other"
    machine.mkdir()
    lay_down(machine, sweep, num_generations=100_000, wandb_mode="auto", **WINS_NOTHING)
    server = Server(tmp_path, "--run-cap", "2", "--stop-rule", "hyperband")
    try:
        path, online = start_sweep(server, environment)
        wait_for(start_agent(path, online, tmp_path / "better.log", "--count", "1"))
        wait_for(start_agent(path, online, tmp_path / "worse.log", "--count", "1", folder=machine))
        code, verdict = server.verdict("--expect-runs", "2", "--expect-stopped", "1", "--expect-metric", METRIC)
        assert code == 0, verdict
    finally:
        server.stop()
    (stopped,) = [run for run in server.runs() if run["stop"]]
    (better,) = [run for run in server.runs() if not run["stop"]]
    assert (stopped["state"], stopped["exitcode"]) == ("finished", 0)
    folder = RunFolder(machine / "runs" / f"{path.rpartition('/')[2]}-{stopped['id']}")
    trained = len(rows_of(folder))
    # the signal may come between a generation's row and its count
    assert 3 <= stopped["summary"]["stopped_after"] <= trained <= stopped["summary"]["stopped_after"] + 1
    assert stopped["history_rows"] in (trained - 1, trained), "every generation reached the server before the end"
    assert len(list(folder.checkpoints.glob("gen_*"))) > 0
    assert better["history_rows"] == 3


@needs_stub
def test_a_run_ends_with_its_agent_and_goes_on_with_the_next(tmp_path: Path, environment: dict[str, str]) -> None:
    """The first agent is ended by SIGTERM, which it does not pass on; the second begins the run again, as W&B asks."""
    lay_down(tmp_path, {"parameters": {"seed": {"values": [7]}}}, num_generations=100_000, wandb_mode="auto")
    server = Server(tmp_path, "--run-cap", "1")
    try:
        path, online = start_sweep(server, environment)
        agent = start_agent(path, online, tmp_path / "agent.log")
        wait_until(lambda: any(run["history_rows"] >= 2 for run in server.runs()))
        agent.terminate()
        wait_for(agent)
        wait_until(lambda: server.runs()[0]["exitcode"] is not None)
        (run,) = server.runs()
        assert (run["preempting"], run["exitcode"]) == (True, 1), "W&B gives such a run out again"

        folder = RunFolder(tmp_path / "runs" / f"{path.rpartition('/')[2]}-{run['id']}")
        trained = len(rows_of(folder))
        base = tmp_path / "base.yaml"  # what an agent is told decides, not the config in the run's folder
        base.write_text(base.read_text().replace('"num_generations": 100000', f'"num_generations": {trained + 2}'))
        given = {
            "WANDB_SWEEP_ID": path.rpartition("/")[2],
            "WANDB_RUN_ID": run["id"],
            "WANDB_ENTITY": "stub-user",
            "WANDB_PROJECT": "p",
            "WANDB_SWEEP_PARAM_PATH": str(next((tmp_path / "wandb").glob(f"sweep-*/config-{run['id']}.yaml"))),
        }
        command = [sys.executable, "-m", "tune.agent", "--config", "base.yaml"]
        done = subprocess.run(
            command, env=online | given, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
    finally:
        server.stop()
    (run,) = server.runs()
    assert (run["state"], run["exitcode"]) == ("finished", 0)
    assert [row["generation"] for row in run["history"]] == list(range(trained + 2))
    assert load_config(folder.config).run.seed == 7


def test_without_a_sweep_it_is_one_run_with_middle_values(tmp_path: Path, environment: dict[str, str]) -> None:
    lay_down(tmp_path, {"parameters": {"gamma": {"values": [0.9, 0.95, 0.99]}}}, num_generations=2)
    command = [sys.executable, "-m", "tune.agent", "--config", "base.yaml", "--sweep-file", "sweep.yaml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "runs").iterdir()
    folder, config = RunFolder.open(path)
    assert config.ddpg.gamma == 0.95
    assert len(rows_of(folder)) == 2
    assert folder.champion.exists()


def test_values_that_no_run_can_have_are_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    lay_down(tmp_path, population_size=0)
    command = [sys.executable, "-m", "tune.agent", "--config", "base.yaml", "--sweep-file", "sweep.yaml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert "evolution.population_size is 0" in done.stderr
