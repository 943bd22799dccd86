"""Cost and budgets: the ledger's sums, the row's metrics, and a run that stops at a checkpoint."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eigen2.cloud.cost import Budget, BudgetSpentError, Ledger, Meter
from eigen2.cloud.pod import Pod
from eigen2.errors import ConfigError
from eigen2.training.checkpoint import generations_saved
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import Session, train
from tests.training.small import MARKET, assert_same_run, rows_of, run, small_config


def pod(name: str, hours: float, usd_per_hour: float = 2.0) -> Pod:
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
