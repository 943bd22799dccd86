"""Cost and budgets: the ledger's sums, the row's metrics, and a run that stops at a checkpoint."""

import io
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eigen2.cloud.cost import Budget, BudgetSpentError, Ledger, Meter
from eigen2.cloud.places import cost_file, keep_cost_on
from eigen2.cloud.pod import Label, Pod
from eigen2.errors import ConfigError
from eigen2.training.checkpoint import generations_saved
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import Session, train
from tests.training.small import MARKET, assert_same_run, rows_of, run, small_config


def pod(name: str, hours: float, usd_per_hour: float | None = 2.0) -> Pod:
    rented = datetime.now(UTC) - timedelta(hours=hours)
    return Pod(name, name, "RUNNING", usd_per_hour, rented, "1 x NVIDIA L4")


def enter(ledger: Ledger, *pods: Pod) -> None:
    ledger.enter(pods, datetime.now(UTC))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "books" / "cost.json")


def test_a_cluster_costs_what_its_pods_do_gone_ones_too(ledger: Ledger) -> None:
    assert ledger.usd() is None
    enter(ledger, pod("a", 1), pod("b", 0.5, 4.0))
    assert ledger.usd() == pytest.approx(4.0, abs=0.01)
    enter(ledger, pod("a", 3))
    assert ledger.usd() == pytest.approx(8.0, abs=0.01)


class Head:
    """A ledger on a head whose clock may be wrong, and pods whose age is known by RunPod's clock."""

    def __init__(self, path: Path, clock_error_s: float = 0.0) -> None:
        self.hours, self._error_s = 0.0, clock_error_s
        self.ledger = Ledger(path, clock=self.clock)

    def clock(self) -> float:
        return 2e9 + self.hours * 3600 + self._error_s

    def look(self, *names: str, usd_per_hour: float | None = 2.0, status: str = "RUNNING", label: float = 2.0) -> None:
        rented = datetime.fromtimestamp(1e9, UTC)
        labelled = Label("demo", {}, "ann", usd_per_hour=label)
        pods = [Pod(name, name, status, usd_per_hour, rented, "L4", label=labelled) for name in names]
        self.ledger.enter(pods, rented + timedelta(hours=self.hours))


@pytest.fixture(params=[0.0, -86400.0, 1e8], ids=["right clock", "a day behind", "years ahead"])
def head(tmp_path: Path, request: pytest.FixtureRequest) -> Head:
    return Head(tmp_path / "cost.json", request.param)


def test_the_cost_goes_on_while_nobody_looks(head: Head) -> None:
    head.hours = 1
    head.look("a", "b")
    head.hours = 5
    assert head.ledger.usd() == pytest.approx(20)
    assert Ledger(head.ledger._file._path, head.clock).usd() == pytest.approx(20), "another process"


def test_what_was_rented_and_ended_while_nobody_looked_is_paid_for(head: Head) -> None:
    head.hours = 1
    head.look("a", "b")
    head.hours = 5
    head.look("a", "c")
    assert head.ledger.usd() == pytest.approx(10 + 10 + 10), "b until it was seen to be gone, c since it was rented"
    head.hours = 6
    assert head.ledger.usd() == pytest.approx(10 + 12 + 12)


def test_a_pod_that_was_overlooked_once_has_cost_all_the_same(head: Head) -> None:
    for hours, seen in ((1.0, ["a"]), (2.0, []), (4.0, ["a"])):
        head.hours = hours
        head.look(*seen)
    assert head.ledger.usd() == pytest.approx(8)


def test_a_pod_that_stops_has_cost_what_it_did(head: Head) -> None:
    """RunPod says that it costs nothing now."""
    head.hours = 3
    head.look("a")
    head.hours = 4
    head.look("a", usd_per_hour=0.0, status="EXITED")
    head.hours = 9
    assert head.ledger.usd() == pytest.approx(8)
    head.look("a", "b", usd_per_hour=0.0, status="EXITED")
    assert head.ledger.usd() == pytest.approx(8 + 18), "b ran while nobody looked, for all that is known"


def test_a_price_that_changes_counts_from_then_on(head: Head) -> None:
    head.hours = 1
    head.look("a")
    head.hours = 2
    head.look("a", usd_per_hour=1.0)
    head.hours = 4
    assert head.ledger.usd() == pytest.approx(6)


def test_a_ledger_that_is_damaged_later_loses_nothing_to_who_has_read_it(head: Head) -> None:
    head.hours = 1
    head.look("a", "b")
    head.hours = 2
    head.look("a")
    path: Path = head.ledger._file._path
    for content in ("{", "[1]", '{"a": {}}'):
        path.write_text(content)
        assert head.ledger.usd() == pytest.approx(8)
        assert path.read_text() == content, "who reads it changes nothing"
        head.look("a")
        assert path.with_suffix(".damaged").read_text() == content
    assert Ledger(path, head.clock).usd() == pytest.approx(8)


def test_a_ledger_that_cannot_be_read_is_no_end_of_the_run(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    head.hours = 1
    head.look("a")

    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    head.hours = 2
    assert head.ledger.usd() == pytest.approx(4)


def test_a_pod_without_any_price_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(tmp_path / "cost.json")
    enter(ledger, pod("a", 1), pod("b", 1, None))
    enter(ledger, pod("a", 1), pod("b", 1, None))
    assert ledger.usd() == pytest.approx(2, abs=0.01)
    assert caplog.text.count("no price for pod b") == 1


def test_the_ledger_of_a_head_lies_on_the_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is there again when the pod was stopped and its disk emptied; a new head begins a new one."""
    volume = tmp_path / "volume"
    volume.mkdir()
    for home, head_id, before in (("first", "p1", None), ("emptied", "p1", 2.0), ("another", "p2", None)):
        monkeypatch.setenv("HOME", str(tmp_path / home))
        for _ in range(2):
            keep_cost_on(volume, head_id)
        ledger = Ledger(cost_file())
        assert ledger.usd() == (before and pytest.approx(before, abs=0.01))
        enter(ledger, pod("a", 1))
        assert ledger.usd() == pytest.approx(2, abs=0.01)
        assert cost_file().is_symlink()


def test_without_a_volume_the_ledger_lies_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    keep_cost_on(tmp_path / "none", "p1")
    assert not cost_file().is_symlink()


@pytest.mark.parametrize("limit", [math.nan, math.inf, 0.0, -1.0])
def test_a_limit_that_bounds_nothing_is_refused(ledger: Ledger, limit: float) -> None:
    enter(ledger, pod("a", 1))
    with pytest.raises(ConfigError, match=r"--max-cost .*: give a number of USD above 0"):
        Budget(ledger, limit, None)
    with pytest.raises(ConfigError, match=r"--max-hours .*: give a number of hours above 0"):
        Budget(ledger, None, limit)


def test_a_generation_costs_what_came_on_top(ledger: Ledger) -> None:
    enter(ledger, pod("a", 1))
    meter = Meter(ledger)
    enter(ledger, pod("a", 2))
    assert meter.read() == {"cost/total": pytest.approx(4, abs=0.01), "cost/generation": pytest.approx(2, abs=0.01)}
    assert meter.read()["cost/generation"] == 0


def test_where_nothing_is_rented_there_is_no_cost(ledger: Ledger) -> None:
    assert Meter(ledger).read() == {}
    with pytest.raises(ConfigError, match="--max-cost needs a cost"):
        Budget(ledger, 1.0, None)


def test_a_budget_of_hours(ledger: Ledger) -> None:
    now = [0.0]
    budget = Budget(ledger, None, 2.0, clock=lambda: now[0])
    now[0] = 7199
    assert budget.spent() is None
    now[0] = 7200
    assert budget.spent() == "2.00 hours have passed, --max-hours is 2"


def test_a_budget_of_dollars(ledger: Ledger) -> None:
    enter(ledger, pod("a", 1))
    budget = Budget(ledger, 3.0, None)
    budget.check()
    enter(ledger, pod("a", 1.6))
    with pytest.raises(BudgetSpentError, match=r"the cluster has cost \$3\.20, --max-cost is 3") as caught:
        budget.check()
    assert caught.value.exit_code == 3


def test_no_budget_is_never_spent(ledger: Ledger) -> None:
    enter(ledger, pod("a", 1000))
    assert Budget(ledger, None, None).spent() is None


@pytest.mark.parametrize(("every", "saved"), [(1, 2), (3, 3)])
def test_a_run_stops_at_a_checkpoint_and_goes_on_from_it(
    tmp_path: Path, ledger: Ledger, every: int, saved: int
) -> None:
    """Spent in the second generation: the run ends at the next checkpoint, and nothing is lost or played twice."""
    sizes: dict[str, Any] = {"every_generations": every, "num_generations": 5}
    whole = run(tmp_path / "whole", **sizes)
    stopped = RunFolder(tmp_path / "stopped")
    stopped.path.mkdir()
    enter(ledger, pod("a", 1))
    meter = Meter(ledger)

    def read() -> dict[str, float]:
        enter(ledger, pod("a", 2 + len(rows)))
        rows.append(meter.read())
        return rows[-1]

    rows: list[dict[str, float]] = []
    config = small_config(**sizes)
    session = Session(config, stopped, 0, {}, Console(file=io.StringIO()), read)
    with pytest.raises(BudgetSpentError):
        train(config, MARKET, stopped, LocalRuntime(), Share, session, between=Budget(ledger, 5.9, None).check)
    assert generations_saved(stopped.checkpoints)[-1] == saved
    assert len(rows_of(stopped)) == saved
    assert rows_of(stopped)[1]["cost/total"] == pytest.approx(6, abs=0.01)
    assert rows_of(stopped)[1]["cost/generation"] == pytest.approx(2, abs=0.01)
    run(stopped.path, generation=saved, **sizes)
    without_cost(stopped)
    assert_same_run(stopped, whole)


def without_cost(folder: RunFolder) -> None:
    rows = [{key: value for key, value in row.items() if not key.startswith("cost/")} for row in rows_of(folder)]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
