"""The keeper on the head: a command gets its secrets, and a budget is kept whatever the command does."""

import sys
import time
from pathlib import Path

import pytest

from eigen2.cloud import keeper
from eigen2.cloud.api import RunPod
from eigen2.cloud.cost import Budget, Ledger
from tests.cloud.fake_runpod import KEY, FakeRunPod
from tests.cloud.test_provider import HEAD, WORKER, provider, rent

WHOSE = ["--owner", "ann", "--cluster", "demo"]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def no_budget(home: Path) -> Budget:
    return Budget(Ledger(home / "cost.json"), None, None)


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_ends_as_it_ends(home: Path, code: int) -> None:
    assert keeper.keep(python(f"raise SystemExit({code})"), no_budget(home), poll_s=0.01) == code


def test_a_run_gets_its_secrets_but_not_the_key_that_rents(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    folder = home / ".eigen2/secrets"
    folder.mkdir(parents=True)
    (folder / "RUNPOD_API_KEY").write_text(KEY)
    (folder / "WANDB_API_KEY").write_text("planted")
    look = "import os; assert os.environ['WANDB_API_KEY'] == 'planted'; assert 'RUNPOD_API_KEY' not in os.environ"
    assert keeper.keep(python(look), no_budget(home), poll_s=0.01) == 0


def test_a_run_that_reaches_no_checkpoint_is_ended(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    budget = Budget(Ledger(home / "cost.json"), None, 1e-6)
    assert keeper.keep(SLEEP, budget, poll_s=0.05, grace_s=0.2) == -15
    assert "the run has 0.2 s to reach a checkpoint" in capfd.readouterr().err


def test_with_a_budget_the_cluster_is_taken_down_its_head_last(
    home: Path, account: FakeRunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = provider()
    head, worker = rent(made, HEAD), rent(made, WORKER)
    monkeypatch.setenv("RUNPOD_POD_ID", head)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    arguments = [*WHOSE, "--max-hours", "1", "--", *python("raise SystemExit(3)")]
    assert keeper.main(arguments) == 3
    ended = [path.rsplit("/", 1)[1] for method, path, _ in account.requests if method == "DELETE"]
    assert ended == [worker, head]
    assert account.pods == {}


def test_without_a_budget_the_cluster_stays(home: Path, account: FakeRunPod) -> None:
    head = rent(provider())
    assert keeper.main([*WHOSE, "--", *python("pass")]) == 0
    assert list(account.pods) == [head]
    assert [pod.id for pod in RunPod.from_environment().pods()] == [head]
