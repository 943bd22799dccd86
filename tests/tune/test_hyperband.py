"""W&B's rule for stopping: the same decisions as its published engine, and its table of rungs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tune.hyperband import Hyperband

VECTORS = Path(__file__).parent / "hyperband_vectors.json"  # made by make_hyperband_vectors.py


def decided(case: dict[str, Any]) -> list[int]:
    histories = {str(number): history for number, history in enumerate(case["histories"])}
    running = {str(number) for number in case["running"]}
    return [int(run) for run in Hyperband(**case["settings"]).stops(histories, running, case["goal"])]


def test_it_decides_like_the_published_engine() -> None:
    cases = json.loads(VECTORS.read_text())
    assert [decided(case) for case in cases] == [case["stopped"] for case in cases]


def test_the_vectors_hold_every_kind_of_decision() -> None:
    cases = json.loads(VECTORS.read_text())
    for form in ("min_iter", "max_iter"):
        for strict in (True, False):
            for goal in ("minimize", "maximize"):
                alike = [
                    case
                    for case in cases
                    if form in case["settings"]
                    and case["settings"].get("strict", True) == strict
                    and case["goal"] == goal
                ]
                assert sum(bool(case["stopped"]) for case in alike) >= 2
                assert any(set(case["running"]) - set(case["stopped"]) for case in alike)


@pytest.mark.parametrize(
    ("rule", "rungs"),
    [
        (Hyperband(min_iter=5, eta=2, s=3), (5, 10, 20, 40, 80, 160, 320)),
        (Hyperband(min_iter=5), (5, 15, 45, 135)),
        (Hyperband(min_iter=5, eta=1.5), (5, 7, 11, 16, 25, 37, 56, 85)),
        (Hyperband(max_iter=5, eta=2, s=3), (1, 2)),
        (Hyperband(max_iter=30, eta=2, s=3), (3, 7, 15)),
        (Hyperband(max_iter=40, min_iter=5, eta=2, s=3), (5, 10, 20)),
        (Hyperband(max_iter=100, eta=2, s=3), (12, 25, 50)),
        (Hyperband(max_iter=27, eta=3, s=2), (3, 9)),
    ],
)
def test_rungs(rule: Hyperband, rungs: tuple[int, ...]) -> None:
    assert rule.rungs()[: len(rungs)] == rungs
    assert len(rule.rungs()) == (len(rungs) if rule.max_iter else 100)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_iter": 1, "eta": 2, "s": 3}, "no rung"),
        ({"max_iter": 9}, "needs s"),
        ({}, "needs min_iter"),
        ({"min_iter": 0}, "at least 1"),
        ({"min_iter": 5, "eta": 1}, "above 1"),
    ],
)
def test_settings_without_a_rung_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Hyperband(**settings)


@pytest.mark.parametrize(("runs", "stopped"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_survivors_at_one_rung_with_eta_2(runs: int, stopped: int) -> None:
    histories = {str(run): [float(run)] * 5 for run in range(runs)}
    worst_first = [str(run) for run in range(stopped)]
    assert Hyperband(min_iter=5, eta=2).stops(histories, list(histories), "maximize") == worst_first


def test_a_run_past_a_rung_is_stopped_when_later_runs_tighten_it() -> None:
    rule = Hyperband(min_iter=5, eta=2)
    histories = {"first": [1.0] * 6, "second": [2.0] * 5}
    assert rule.stops(histories, ["first", "second"], "maximize") == []
    assert rule.stops({**histories, "third": [3.0] * 5}, ["first"], "maximize") == ["first"]


def test_only_running_runs_are_stopped_but_all_count() -> None:
    histories = {"stopped": [3.0] * 5, "finished": [2.0] * 5, "running": [1.0] * 5}
    rule = Hyperband(min_iter=5, eta=2)
    assert rule.stops(histories, ["running"], "maximize") == ["running"]
    assert rule.stops({"running": histories["running"]}, ["running"], "maximize") == []


@pytest.mark.parametrize("seed", range(5))
def test_with_several_objectives_no_run_is_stopped_that_none_beats(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = draw.integers(0, 6, (40, 2)).astype(float)  # coarse, so that ties happen
    histories = {str(run): [(float("nan"), 0.0), (a, b)] for run, (a, b) in enumerate(values.tolist())}
    stopped = Hyperband(min_iter=1, eta=2).stops_of_several(histories, list(histories), ("maximize", "minimize"))
    assert len(stopped) > 5

    def beaten_by(run: int) -> int:
        a, b = values[run]
        return int(((values[:, 0] >= a) & (values[:, 1] <= b) & (values != values[run]).any(axis=1)).sum())

    beaten = {str(run): beaten_by(run) for run in range(40)}
    assert all(beaten[run] > 0 for run in stopped)
    assert min(beaten[run] for run in stopped) > max(count for run, count in beaten.items() if run not in stopped)
