"""`eigen2 cloud`: what it shows, asks, refuses, and sends to a cluster."""

import base64
import json
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
from eigen2.cloud.provider import RunPodNodeProvider
from tests.cloud.conftest import FakeClock
from tests.cloud.fake_runpod import FakeRunPod, Fault
from tests.cloud.test_configs import ROOT
from tests.cloud.test_provider import SETTINGS, WORKER, provider, rent


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


def test_only_your_own_pods_are_listed_and_ended(
    home: Path, account: FakeRunPod, capsys: pytest.CaptureFixture[str]
) -> None:
    bobs = rent(provider(owner="bob"))
    assert main(["cloud", "list"]) == 0
    assert capsys.readouterr().out == "1 pod of other owners: `eigen2 cloud list --all` shows them\n"
    hers = rent(provider())
    assert main(["cloud", "list"]) == 0
    shown = capsys.readouterr().out
    assert hers in shown
    assert bobs not in shown
    assert main(["cloud", "list", "--all"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"{bobs} +bob +demo", shown)
    assert re.search(rf"{hers} +ann +demo", shown)
    assert main(["cloud", "sweep-up", "demo", "--yes"]) == 0
    assert list(account.pods) == [bobs]
    assert main(["cloud", "sweep-up", "--owner", "bob", "--yes"]) == 0
    assert account.pods == {}


def test_a_pod_of_no_known_owner_can_be_seen_and_ended(
    home: Path, account: FakeRunPod, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was rented before pods had owners."""
    old = base64.b64encode(json.dumps({"cluster": "demo", "tags": {"ray-node-type": "head"}}).encode()).decode()
    pod = rent(provider())
    account.pods[pod].shown = {"env": {"EIGEN2_POD": old}}
    assert main(["cloud", "list", "--all"]) == 0
    assert re.search(rf"{pod} +unknown +demo +head", capsys.readouterr().out)
    assert main(["cloud", "sweep-up", "--owner", "unknown", "--yes"]) == 0
    assert account.pods == {}


def test_a_pod_whose_owner_is_not_known_is_named_and_not_ended(
    home: Path, account: FakeRunPod, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = rent(provider(owner="bob")), rent(provider())
    account.pods[theirs].shown = {"env": None}
    (home / ".eigen2/pods.json").unlink()
    named = f"pod {theirs} ({account.pods[theirs].body['name']}) is left and still paid for: "
    assert main(["cloud", "list"]) == 0
    assert capsys.readouterr().out.count(named) == 1
    for pods in ([theirs], [theirs]):
        assert main(["cloud", "sweep-up", "demo", "--yes"]) == 1
        assert capsys.readouterr().out.count(named) == 1
        assert list(account.pods) == pods
    assert main(["cloud", "sweep-up", "other", "--yes"]) == 0
    assert ours not in account.pods


def test_a_pod_that_cannot_be_ended_is_named_and_keeps_no_other(
    fake_time: FakeClock, home: Path, account: FakeRunPod, capsys: pytest.CaptureFixture[str]
) -> None:
    stuck, _ = rent(provider()), rent(RunPodNodeProvider(SETTINGS, "other"))
    account.faults.append(Fault("DELETE", f"/v2/pods/{stuck}", 409, "locked", times=999))
    assert main(["cloud", "sweep-up", "--yes"]) == 1
    assert list(account.pods) == [stuck]
    shown = capsys.readouterr().out
    assert f"pod {stuck} ({account.pods[stuck].body['name']}) is left and still paid for: " in shown
    assert "cluster other: ended 1 pod" in shown


def test_what_is_not_known_of_a_pod_is_shown_as_such(
    home: Path, account: FakeRunPod, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = rent(provider())
    account.pods[pod].shown = dict.fromkeys(["cost", "createdAt", "gpu", "ssh", "startedAt", "name", "status"])
    assert main(["cloud", "list"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"{pod} +demo +head +UNKNOWN +CPU +\? +0\.39 +\?", shown)
    assert "$0.39 an hour, $0.00 so far, and what 1 of them cost without a known price or age" in shown


@pytest.mark.parametrize("off_by_s", [-86400, 86400])
def test_the_list_tells_age_and_cost_by_runpods_clock(
    home: Path, account: FakeRunPod, capsys: pytest.CaptureFixture[str], off_by_s: float
) -> None:
    account.clock = lambda: time.time() + off_by_s
    account.pods[rent(provider())].created -= 3605
    assert main(["cloud", "list"]) == 0
    assert re.search(r" 1:00:0\d +0\.39 +0\.39", capsys.readouterr().out)


@pytest.mark.parametrize("limit", [["--max-cost", "nan"], ["--max-hours", "0"], ["--max-cost", "-5"]])
def test_a_budget_that_bounds_nothing_is_refused(
    home: Path, cluster_file: Path, limit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cloud", "submit", "--cluster", str(cluster_file), *limit, "--", "train", "x.yaml"]) == 2
    assert "above 0" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../../x", 5, "a b"])
def test_a_cluster_file_with_a_name_that_is_none_is_refused(
    home: Path, cluster_file: Path, name: object, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(cluster_file.read_text()) | {"cluster_name": name}
    cluster_file.write_text(yaml.safe_dump(config))
    assert main(["cloud", "jobs", "--cluster", str(cluster_file)]) == 2
    assert f"cluster_name {name!r}: use 1 to 63 letters" in capsys.readouterr().err


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


@pytest.mark.parametrize("run", ["../../etc", "a/b", "..", "", "-x", "$(id)", "a b"])
def test_only_a_run_is_pulled(home: Path, cluster_file: Path, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cloud", "pull", "--cluster", str(cluster_file), "--", run]) == 1
    assert "is no name of a run" in capsys.readouterr().err
