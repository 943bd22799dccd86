"""`eigen2 cloud`: what it shows, asks, refuses, and sends to a cluster."""

import re
import shlex
import time
from pathlib import Path

import pytest
import yaml

from eigen2.__main__ import main
from eigen2.cloud.api import RunPod
from eigen2.cloud.jobs import entrypoint
from eigen2.cloud.link import Cluster, Head
from tests.cloud.fake_runpod import FakeRunPod
from tests.cloud.test_configs import ROOT
from tests.cloud.test_provider import WORKER, provider, rent


@pytest.fixture
def cluster_file(home: Path) -> Path:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    config["cluster_name"] = "demo"
    path = home / "cluster.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def head_of(path: Path) -> Head:
    return Head.find(Cluster.load(path), RunPod.from_environment())


def test_the_list_shows_age_and_cost(home: Path, account: FakeRunPod, capsys: pytest.CaptureFixture[str]) -> None:
    made = provider()
    head, worker = rent(made), rent(made, WORKER)
    account.pods[head].created = time.time() - 7205
    assert main(["cloud", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in (head, worker, "demo", "head", "worker", "RUNNING", "NVIDIA L4", " 2:0"))
    assert re.search(r"2 pods: \$0\.78 an hour, \$0\.\d\d so far", shown)
    assert float(shown.rsplit("$", 1)[1].split()[0]) >= 0.78


def test_nothing_rented_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cloud", "list"]) == 0
    assert capsys.readouterr().out == "no pods of eigen2 are rented\n"


def test_sweep_up_asks_before_it_ends_anything(
    home: Path, account: FakeRunPod, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = rent(provider())
    assert main(["cloud", "sweep-up"]) == 1  # nobody is there to answer
    assert list(account.pods) == [pod]
    assert "nothing was ended" in capsys.readouterr().out
    assert main(["cloud", "sweep-up", "other", "--yes"]) == 0
    assert list(account.pods) == [pod]
    assert main(["cloud", "sweep-up", "demo", "--yes"]) == 0
    assert account.pods == {}
    assert "cluster demo: ended 1 pod" in capsys.readouterr().out


def test_without_a_head_there_is_nothing_to_submit_to(
    home: Path, account: FakeRunPod, cluster_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cloud", "submit", "--cluster", str(cluster_file), "--", "train", "x.yaml"]
    assert main(words) == 1
    assert "cluster demo has no head to log in to: there is none; start one with `ray up`" in capsys.readouterr().err
    account.start_delay_s = 60
    rent(provider())
    assert main(words) == 1
    assert "is PROVISIONING" in capsys.readouterr().err


def test_a_budget_is_refused_where_the_results_would_be_lost(
    home: Path, cluster_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rent(provider())
    assert main(["cloud", "submit", "--cluster", str(cluster_file), "--max-cost", "5", "--", "train", "x.yaml"]) == 2
    assert "set provider.volume_id" in capsys.readouterr().err


def test_a_run_on_the_cluster_uses_all_of_it_and_keeps_its_budget(home: Path, cluster_file: Path) -> None:
    rent(provider())
    shell = entrypoint(head_of(cluster_file), ["train", "configs/full.yaml", "--name", "it's"], 5.0, None)
    assert shell.startswith("cd ~/eigen2 && ")
    assert " && exec python -m eigen2.cloud.keeper --owner ann --cluster demo --max-cost 5 -- " in shell
    assert shlex.split(shell.split(" -- ")[1]) == [
        *["eigen2", "train", "configs/full.yaml", "--name", "it's", "--address", "auto", "--max-cost", "5"],
        *["--set", "run.runs_dir=/workspace/runs"],
    ]


def test_any_other_command_runs_as_it_stands(home: Path, cluster_file: Path) -> None:
    rent(provider())
    head = head_of(cluster_file)
    assert entrypoint(head, ["nvidia-smi"], None, None).endswith("--cluster demo -- nvidia-smi")
    resumed = entrypoint(head, ["train", "--resume", "/workspace/runs/a"], None, None)
    assert resumed.endswith("-- eigen2 train --resume /workspace/runs/a --address auto")


def test_a_sweep_on_the_cluster_writes_where_every_node_sees_it_and_ends_with_its_budget(
    home: Path, cluster_file: Path
) -> None:
    rent(provider())
    shell = entrypoint(head_of(cluster_file), ["python", "-m", "tune.sweep", "x.yaml"], None, 2.0)
    assert "mkdir -p /workspace/sweeps && ln -sfn /workspace/sweeps sweeps && " in shell
    assert shell.endswith("--max-hours 2 --grace 0 -- python -m tune.sweep x.yaml --address auto")


@pytest.mark.parametrize("content", ["", "cluster_name: a", "provider: [", "[]"])
def test_a_file_that_is_no_cluster_file_is_named(home: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "x.yaml"
    path.write_text(content)
    assert main(["cloud", "jobs", "--cluster", str(path)]) == 2
    assert f"--cluster {path}: not a cluster file" in capsys.readouterr().err


@pytest.mark.parametrize("run", ["../../etc", "a/b", ".."])
def test_only_a_run_is_pulled(home: Path, cluster_file: Path, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cloud", "pull", "--cluster", str(cluster_file), run]) == 1
    assert "is no name of a run" in capsys.readouterr().err
