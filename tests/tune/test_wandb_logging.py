"""The W&B runs of a sweep's trials: the real client, in processes of their own; sent to a stand-in on loopback."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracking.test_wandb_sink import ROOT, Server, no_credentials, server, sync

__all__ = ["no_credentials", "server"]  # fixtures

# sweep's folder, first and last generation of this session, how it ends: a session of a sweep with two trials at once
SESSION = """
import json, os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from eigen2.config import Config, TrackingConfig
from eigen2.tracking.jsonl import JsonLines
from eigen2.training.runtime import Share
from tune.trial import Ground
from tune.wandb_logging import on_wandb

path, first, last, end = json.loads(sys.argv[1])
folder = Path(path)
base = Config(tracking=TrackingConfig(wandb_project="p"))
ground = Ground(base, Share(), folder / "runs", "small", "abcd", ("fitness/best_ever",), 2)
trials = [SimpleNamespace(config=ground.task(f"trial_{n}", n, {"ddpg.gamma": 0.9}), last_result={}) for n in (0, 1)]
callback = on_wandb(base, folder)
for generation in range(first, last):
    for trial in trials:
        run = folder / "runs" / trial.config["trial"]
        row = {"generation": generation, "fitness/best_ever": generation / 2}
        JsonLines(run / "metrics.jsonl", keep_generations=generation).log(row)
        trial.last_result = {**row, "run": str(run), "done": False}
        callback.on_trial_result(generation, trials, trial, trial.last_result)
        callback.on_trial_result(generation, trials, trial, trial.last_result)  # played again after a failure
if end == "killed":
    time.sleep(4)
    os.kill(os.getpid(), signal.SIGKILL)
if end == "done":
    callback.on_trial_complete(last, trials, trials[0])
    callback.on_trial_error(last, trials, trials[1])
callback.close()
"""


# for a server that never answers
IMPATIENT = """
from functools import partial
from eigen2.tracking.wandb_sink import WandbSink
WandbSink.start = partial(WandbSink.start, init_timeout_s=6.0)
"""


def session(folder: Path, first: int, last: int, end: str, prelude: str = "") -> str:
    """Run a session; what it said on stderr."""
    for trial in ("trial_0", "trial_1"):
        (folder / "runs" / trial).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", prelude + SESSION, json.dumps([str(folder), first, last, end])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == (-signal.SIGKILL if end == "killed" else 0), done.stderr
    return done.stderr


@pytest.mark.parametrize("end", ["done", "interrupted", "killed"])
def test_offline_a_session_leaves_every_row_however_it_ends(tmp_path: Path, end: str) -> None:
    assert session(tmp_path, 0, 3, end) == ""
    for trial in ("trial_0", "trial_1"):
        (offline,) = (tmp_path / "wandb").glob(f"offline-run-*-abcd-{trial}")
        assert (offline / f"run-abcd-{trial}.wandb").read_bytes().count(b"fitness/best_ever") >= 3


@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("end", ["interrupted", "killed"])
def test_a_trial_that_goes_on_is_one_run_with_each_generation_once(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, mode: str, end: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    session(tmp_path, 0, 3, end)
    session(tmp_path, 3, 5, "done")
    if mode == "offline":
        sync(*(tmp_path / "wandb").glob("offline-run-*"))
    runs = server.record()["runs"]
    assert sorted(runs) == ["abcd-trial_0", "abcd-trial_1"]
    for run in runs.values():
        assert [row["generation"] for row in run["history"]] == [0, 1, 2, 3, 4]
        assert run["config_received"]["sweep_values"] == {"ddpg.gamma": 0.9}
        assert run["config_received"]["ddpg"]["gamma"] == 0.9
    assert [runs[f"abcd-trial_{number}"]["exitcode"] for number in (0, 1)] == [0, 1], "the second one failed"


def test_once_w_and_b_is_out_of_reach_the_sweep_is_logged_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    said = session(tmp_path, 0, 2, "done", prelude=IMPATIENT)
    assert said.count("can't be reached") == 1, said
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2
