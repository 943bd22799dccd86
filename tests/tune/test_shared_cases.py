"""Sweep files of users, where the folder of cases lies beside the checkout: each is read with its right meaning."""

from pathlib import Path
from typing import Any

import pytest

from eigen2.config import Config
from tune.folder import Settings
from tune.laws import Categories, Integers
from tune.planning import plan_of
from tune.scheduler import scheduler_of
from tune.sweep_file import SweepFile
from tune.trial import GENERATIONS, HISTORY

CASES = Path(__file__).parents[2].parent / "shared" / "cases" / "sweeps"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no folder of cases at {CASES}")


def read(name: str) -> SweepFile:
    return SweepFile.read(CASES / f"{name}.yaml")


def law_of(sweep: SweepFile, name: str) -> object:
    return next(parameter.law for parameter in sweep.space.parameters if parameter.name == name)


def test_numbers_in_the_command_are_read() -> None:
    assert len(read("s04_numbers_in_command").space.parameters) == 6


def test_a_whole_number_in_exponent_form_is_read_and_said() -> None:
    sweep = read("s27_sci_grid_ints_as_text")
    assert law_of(sweep, "buffer_size") == Categories((3_000_000,))
    assert "line 33: buffer_size.values '3e6' is text in YAML 1.1; read as 3000000" in sweep.notes


def test_a_grid_with_a_repeated_value_has_24_trials() -> None:
    sweep = read("s19_grid_duplicate_values")
    combinations = [tuple(values.values()) for values in sweep.space.grid()]
    assert len(combinations) == len(set(combinations)) == sweep.space.size() == 24
    assert any("5e-05 more than once" in note for note in sweep.notes)


def test_whole_ends_of_a_range_are_said() -> None:
    sweep = read("s31_float_int_cast")
    assert law_of(sweep, "input_noise") == Integers(0, 1)
    assert any("input_noise has a whole min and max" in note for note in sweep.notes)


@pytest.mark.parametrize("name", ["wandb", "asha", "hyperband"])
def test_a_trial_without_the_metric_yet_goes_on(name: Any) -> None:
    plan = plan_of(read("in_sw_hb"), Config(), Settings.new(0, name, None, (), ()))
    scheduler = scheduler_of(plan.scheduler, plan.sweep, plan.objectives, plan.generations, [])
    trial: Any = type("Trial", (), {"trial_id": "a", "config": {"trial": "a"}})()
    controller: Any = None
    scheduler.on_trial_add(controller, trial)
    assert scheduler.on_trial_result(controller, trial, {GENERATIONS: 1, HISTORY: []}) == "CONTINUE"
