"""What the next trial tries: in order, at random, by Optuna; the same after a restart."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from eigen2.errors import RunError
from tests.tune.files import sweep_of
from tune.search import NUMBER, Proposals, Told, proposals_of, searcher_of
from tune.sweep_file import Metric, SweepFile

SHIPPED = Path(__file__).parents[2] / "configs" / "sweep_config.yaml"
FITNESS, WIN_RATE = Metric("fitness/best_ever", "maximize"), Metric("final/win_rate", "minimize")
METHODS = ("grid", "random", "bayes")


def skill(values: dict[str, Any]) -> float:
    return -((math.log(values["ddpg.actor_lr"] / 0.0002)) ** 2) - (math.log(values["ddpg.critic_lr"] / 0.0005)) ** 2


def small(folder: Path, method: str) -> SweepFile:
    parameters = {"actor_lr": {"values": [0.0001, 0.0002]}, "critic_lr": {"values": [0.0003, 0.0005, 0.001]}}
    return sweep_of(folder, parameters, method=method)


def play(proposals: Proposals, trials: int) -> list[Told]:
    """Ask for some trials and tell what came of them."""
    for _ in range(trials):
        trial = proposals.ask()
        assert trial is not None
        proposals.tell(trial.number, [skill(trial.values)])
    return list(proposals.told)


def test_a_grid_is_played_in_order_and_ends(tmp_path: Path) -> None:
    sweep = small(tmp_path, "grid")
    proposals = proposals_of(sweep, 0)
    assert [trial.values for trial in play(proposals, 6)] == list(sweep.space.grid())
    assert proposals.ask() is None


@pytest.mark.parametrize("method", METHODS)
def test_run_cap_and_the_number_of_trials_end_it(tmp_path: Path, method: str) -> None:
    sweep = replace(small(tmp_path, method), run_cap=3)
    for proposals, trials in ((proposals_of(sweep, 0), 3), (proposals_of(sweep, 0, num_trials=2), 2)):
        play(proposals, trials)
        assert proposals.ask() is None


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_the_seed_decides(method: str) -> None:
    sweep = replace(SweepFile.read(SHIPPED), method=method)
    once, again, other = (play(proposals_of(sweep, seed), 12) for seed in (1, 1, 2))
    assert once == again
    assert all(a.values != b.values for a, b in zip(once, other, strict=True))


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_that_is_told_of_the_past_goes_on_as_the_old_one(method: str) -> None:
    sweep = replace(SweepFile.read(SHIPPED), method=method)
    whole = play(proposals_of(sweep, 3), 14)
    assert play(proposals_of(sweep, 3, told=whole[:8]), 6) == whole


def test_trials_left_running_come_first_with_their_numbers() -> None:
    sweep = SweepFile.read(SHIPPED)
    proposals = proposals_of(sweep, 0)
    first, second, third = proposals.ask(), proposals.ask(), proposals.ask()
    assert first
    assert second
    assert third
    proposals.tell(second.number, None)
    later = proposals_of(sweep, 0, told=proposals.told)
    assert [later.ask(), later.ask()] == [first, third]
    fresh = later.ask()
    assert fresh
    assert fresh.number == 3


def test_tpe_learns_where_random_draws_do_not() -> None:
    sweep = SweepFile.read(SHIPPED)
    late: dict[str, list[float]] = {"random": [], "bayes": []}
    for method, outcomes in late.items():
        for seed in range(3):
            told = play(proposals_of(replace(sweep, method=method), seed), 40)  # type: ignore[arg-type]
            outcomes += [trial.outcome[0] for trial in told[20:]]
    assert sum(late["bayes"]) / 60 > 0.6 * sum(late["random"]) / 60


@pytest.mark.parametrize("outcome", [None, [float("nan")], [float("inf")]])
def test_a_trial_without_a_number_has_failed(outcome: list[float] | None) -> None:
    proposals = proposals_of(SweepFile.read(SHIPPED), 0)
    trial = proposals.ask()
    assert trial
    proposals.tell(trial.number, outcome)
    assert proposals.told[0].state == "failed"
    assert proposals.ask()


def test_proposals_of_laws_without_ends_fit_their_fields(tmp_path: Path) -> None:
    spec = {"noise_scale": {"distribution": "normal", "mu": 0.1, "sigma": 0.1}}
    told = [proposals_of(sweep_of(tmp_path, spec, method="bayes"), seed).ask() for seed in range(30)]
    assert min(trial.values["ddpg.noise_scale"] for trial in told if trial) >= 0


def test_several_objectives(tmp_path: Path) -> None:
    proposals = proposals_of(SweepFile.read(SHIPPED), 0, objectives=(FITNESS, WIN_RATE))
    for _ in range(12):
        trial = proposals.ask()
        assert trial
        proposals.tell(trial.number, [skill(trial.values), trial.values["ddpg.tau"]])
    assert all(len(trial.outcome) == 2 for trial in proposals.told)


def test_the_searcher_hands_out_flat_configs_and_takes_results() -> None:
    searcher = searcher_of(SweepFile.read(SHIPPED), 0, num_trials=3)
    configs = [searcher.suggest(name) for name in "abc"]
    assert [config.pop(NUMBER) for config in configs] == [0, 1, 2]
    assert configs[1] == searcher.told[1].values
    assert searcher.suggest("d") == Searcher.FINISHED
    searcher.on_trial_complete("a", {"fitness/best_ever": 2.5})
    searcher.on_trial_complete("b", {"fitness/best_ever": 2.5}, error=True)
    searcher.on_trial_complete("c", None)
    assert [(trial.state, trial.outcome) for trial in searcher.told] == [
        ("done", (2.5,)),
        ("failed", ()),
        ("failed", ()),
    ]


def test_the_searcher_knows_its_objectives() -> None:
    one, two = (searcher_of(SweepFile.read(SHIPPED), 0, objectives=given) for given in ((), (FITNESS, WIN_RATE)))
    assert (one.metric, one.mode) == ("fitness/best_ever", "max")
    assert (two.metric, two.mode) == (["fitness/best_ever", "final/win_rate"], ["max", "min"])


def test_the_searcher_is_saved_and_restored_as_json(tmp_path: Path) -> None:
    sweep = SweepFile.read(SHIPPED)
    searcher, other = searcher_of(sweep, 5), searcher_of(sweep, 5)
    for name in "ab":
        searcher.suggest(name)
    searcher.on_trial_complete("a", {"fitness/best_ever": 1.0})
    searcher.save(str(tmp_path / "state"))
    other.restore(str(tmp_path / "state"))
    assert other.told == searcher.told
    other.on_trial_complete("b", {"fitness/best_ever": 2.0})
    assert other.suggest("c")[NUMBER] == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"numbers": {}, "told": [{"number": 0}]}', "\x80"])
def test_a_state_that_can_not_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match="state of the search"):
        searcher_of(SweepFile.read(SHIPPED), 0).restore(str(tmp_path / "state"))
