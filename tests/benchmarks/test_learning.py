"""The learning benchmark in small: skill where there is a signal, none where there is none."""

from dataclasses import replace

import pytest

from benchmarks.learning import Result, Task, main, run
from benchmarks.learning_tables import tables

FEW = (("num_generations", 3),)


@pytest.fixture(scope="module")
def of_reversion() -> Result:
    return run(Task("reversion", "ERL", 0, FEW))


def test_a_planted_signal_is_learned(of_reversion: Result) -> None:
    assert of_reversion.skill[-1] > 0.5
    assert of_reversion.noise_errors > 4


def test_no_skill_is_found_in_noise() -> None:
    result = run(Task("noise", "ERL", 0, FEW))
    assert result.skill[-1] < 0.25
    assert abs(result.noise_errors) < 3


def test_a_result_has_a_skill_a_generation_and_the_baselines(of_reversion: Result) -> None:
    assert len(of_reversion.skill) == 3
    assert of_reversion.observer is not None
    assert of_reversion.rule is not None
    assert 0.5 < of_reversion.rule < of_reversion.observer < 1


def test_the_table_tells_the_share_of_the_observer_seed_by_seed() -> None:
    first = Result(Task("reversion", "ERL", 0), [0.1] * 9 + [0.6], 0.8, 0.5, 10.0, 60.0)
    second = replace(first, task=Task("reversion", "ERL", 1), skill=[0.1] * 9 + [0.8])
    line = next(line for line in tables([first, second]).splitlines() if line.startswith("| ERL"))
    assert line.split(" | ")[3:6] == ["0.70 (0.60 .. 0.80)", "0.70", "0.75 1.00"]


def test_the_table_of_a_market_without_an_observer_tells_how_far_it_is_from_guessing() -> None:
    first = Result(Task("noise", "ERL", 0), [0.0] * 10, None, None, -0.5, 60.0)
    second = replace(first, task=Task("noise", "ERL", 1), noise_errors=1.26)
    lines = tables([first, second]).splitlines()
    assert next(line for line in lines if line.startswith("| ERL")).split(" | ")[5] == "-0.5 1.3"
    assert any("| sd above random agents, by seed |" in line for line in lines)


def test_another_training_on_a_market_differs_by_its_random_numbers_only() -> None:
    first, again = (Task("reversion", "ERL", 3, FEW, training).config() for training in (0, 1))
    assert again.run.seed != first.run.seed
    same_run = again.run.model_copy(update={"seed": first.run.seed})
    assert again.model_copy(update={"run": same_run}) == first


def test_no_training_has_the_seed_of_another_market() -> None:
    seeds = [Task("reversion", "ERL", seed, FEW, again).config().run.seed for seed in range(100) for again in range(3)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("name", ["seeds", "trainings", "jobs"])
def test_numbers_below_one_are_refused(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["learning", f"--{name}", "0"])
    with pytest.raises(SystemExit):
        main()
    assert f"--{name} is 0, and must be at least 1" in capsys.readouterr().err
