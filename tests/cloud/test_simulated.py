"""A day with `ray up` on simulated pods, by both versions of the autoscaler: what was seen, and that nothing is left.

The day itself is tests/cloud/simulated_day.py. It needs root, namespaces, and an SSH server; see docs/runpod.md.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from eigen2.config import config_from_dict
from eigen2.market.build import load_market
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import train
from tests.cloud.pods import NAMESPACES, why_not
from tests.cloud.test_configs import ROOT
from tests.training.small import make_session

LIMIT_S = 1500
WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")
Seen = dict[str, Any]


def day(folder: Path, name: str) -> Seen:
    """What a day in namespaces of its own has seen."""
    command = ["unshare", *NAMESPACES, sys.executable, "-m", "tests.cloud.simulated_day", str(folder), name]
    with (folder / "transcript.txt").open("wb") as transcript:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=transcript,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
        )
    told = (folder / "transcript.txt").read_text(errors="replace")
    assert done.returncode == 0, told[-6000:]
    seen: Seen = json.loads((folder / "seen.json").read_text())
    return {**seen, "folder": folder, "transcript": told}


@pytest.fixture(scope="module")
def long_day(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return day(tmp_path_factory.mktemp("day"), "long")


@pytest.fixture(scope="module")
def short_day(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return day(tmp_path_factory.mktemp("short"), "short")


def test_the_pushed_code_ran(long_day: Seen) -> None:
    assert "/root/eigen2/eigen2/__init__.py" in long_day["code"]


def test_nothing_is_left_rented(long_day: Seen) -> None:
    assert long_day["left"] == []
    assert "no pods of eigen2 are rented" in long_day["transcript"]


def test_every_request_was_within_the_published_schema(long_day: Seen) -> None:
    assert long_day["broken"] == []


def test_the_api_was_not_asked_more_than_it_allows(long_day: Seen) -> None:
    assert long_day["most calls in a minute"] <= 60


def test_workers_were_rented_for_the_population_and_it_was_on_both(long_day: Seen) -> None:
    assert long_day["members a pod"] == [2, 2]


def test_a_pod_lost_within_a_generation_changes_no_number(long_day: Seen, tmp_path: Path) -> None:
    """The same run in one process, undisturbed, gives the same rows but for times and costs."""
    before, after = long_day["generations"]
    assert 0 < before < after == 12
    assert "was lost in phase" in long_day["transcript"]
    assert plain_rows(long_day["folder"] / "volume/runs/day") == plain_rows(undisturbed(long_day["folder"], tmp_path))


def test_the_cost_was_told(long_day: Seen) -> None:
    total, generations = long_day["cost"]["total"], long_day["cost"]["generations"]
    assert min(generations) >= 0
    assert total > sum(generations) > 0, "the pods were there before the run began"


def test_only_ssh_can_be_reached_from_outside(long_day: Seen) -> None:
    assert long_day["banners"] == ["SSH-2.0-"] * long_day["pods when scanned"]


def test_the_dashboard_wants_the_token(long_day: Seen) -> None:
    assert long_day["status"] == {"none": 401, "wrong": 403, "right": 200}


def test_secrets_are_where_they_belong_and_nowhere_else(long_day: Seen) -> None:
    found = long_day["secrets"]
    assert found["RUNPOD_API_KEY"] == ["head:/root/.eigen2/secrets/RUNPOD_API_KEY 600"]
    assert found["WANDB_API_KEY"] == ["head:/root/.eigen2/secrets/WANDB_API_KEY 600"]
    assert found["the token"] == ["head:/root/.ray/auth_token 600", "worker:/root/.ray/auth_token 600"]
    assert "rpa_" not in long_day["transcript"]


def test_the_older_autoscaler_replaces_a_lost_worker_too(short_day: Seen) -> None:
    assert short_day["left"] == []
    assert short_day["broken"] == []


def test_a_second_up_a_tunnel_and_a_stopped_job(short_day: Seen) -> None:
    assert short_day["status"] == 401, "through `eigen2 cloud dashboard`"
    assert "STOPPED" in short_day["transcript"]


def test_the_preflight_finds_nothing_wrong_with_the_pods(short_day: Seen) -> None:
    assert "FAIL" not in short_day["preflight"]
    assert "on 2 nodes" in short_day["preflight"]
    assert "the cluster answers nobody without it" in short_day["preflight"]


def test_a_sweep_had_workers_rented_for_its_trials_and_came_home(long_day: Seen) -> None:
    assert len(long_day["trials"]) == 2
    there, here = (long_day["folder"] / top / "day/trials.jsonl" for top in ("volume/sweeps", "sweeps"))
    assert here.read_bytes() in there.read_bytes()


def test_a_budget_ends_the_run_at_a_checkpoint_and_the_head_takes_the_cluster_down(long_day: Seen) -> None:
    rows = long_day["budget"]["rows"]
    assert 0 < rows < 5000
    assert long_day["budget"]["newest checkpoint"] == f"gen_{rows:06d}"


def test_a_run_was_brought_home(long_day: Seen) -> None:
    there, here = (long_day["folder"] / top / "day/champion.safetensors" for top in ("volume/runs", "runs"))
    assert here.read_bytes() == there.read_bytes()


def undisturbed(folder: Path, where: Path) -> Path:
    settings = yaml.safe_load((folder / "day/run.yaml").read_text())
    here = {"source": str(folder / "day/market.csv"), "address": None}
    config = config_from_dict({**settings, **here}, "the test")
    market, _ = load_market(config)
    run = RunFolder(where / "run")
    run.path.mkdir()
    train(config, market, run, LocalRuntime(), Share, make_session(config, run, 0))
    return run.path


def plain_rows(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith(("time/", "cost/"))} for row in rows]
