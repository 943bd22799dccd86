"""The folder of a sweep may be somebody else's: it is not obeyed in what opens the machine, and no link is followed."""

from pathlib import Path

import pytest

from eigen2.config.trust import withhold
from tests.tune.small_sweep import SWEEP, lay_down, make_plan
from tune import results
from tune.folder import SweepFolder
from tune.planning import plan_from
from tune.records import Record, Records
from tune.sweep import main

HOSTILE = {
    "data.allow_pickle": True,
    "resources.address": "10.6.6.6:6379",
    "checkpoint.storage": "file:///theirs",
    "tracking.wandb_entity": "them",
    "tracking.wandb_mode": "online",
}


@pytest.mark.parametrize("field", HOSTILE)
def test_a_sweep_folders_base_config_is_not_obeyed_unasked(
    small_folder: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_down(small_folder, **{field: HOSTILE[field]})
    plan = make_plan()
    folder = SweepFolder.create("theirs", Path("sweep.yaml"), plan.base, plan.settings)
    assert folder.read_base()[1] == (("data.allow_pickle",) if field == "data.allow_pickle" else ()), "it is our own"
    (folder.path / ".base.yaml.mark").unlink()
    assert main(["--resume", "theirs"]) == 2
    assert f"theirs sets {field}, which" in capsys.readouterr().err
    assert withhold(plan_from(folder).base)[1] == ()
    assert plan_from(folder, trust=True).base == plan.base


@pytest.mark.parametrize("place", ["constant", "varied", "trial"])
def test_a_sweep_folders_file_and_trials_are_not_obeyed_unasked(
    small_folder: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    held = {"constant": {"value": True}, "varied": {"values": [True]}}
    more = {"data.allow_pickle": held[place]} if place in held else {}
    lay_down(small_folder, {"parameters": SWEEP["parameters"] | more})
    plan = make_plan()
    folder = SweepFolder.create("theirs", Path("sweep.yaml"), plan.base, plan.settings)
    if place == "trial":
        Records(folder.trials).put(Record("trial_0000", 0, "running", {"data.allow_pickle": True}))
    assert main(["--resume", "theirs"]) == 2
    assert "theirs sets data.allow_pickle, which runs code" in capsys.readouterr().err


@pytest.mark.parametrize("link", ["report.html", ".report.html.partial", "trials.jsonl", "runs", "tune", ".lock"])
def test_a_link_in_a_sweep_folder_leads_nowhere(
    small_folder: Path, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan()
    folder = SweepFolder.create("theirs", Path("sweep.yaml"), plan.base, plan.settings)
    (small_folder / "outside").write_text("precious")
    (folder.path / link).symlink_to(small_folder / "outside")
    assert main(["--resume", "theirs"]) == 1
    assert results.main(["theirs", "report"]) == 1
    error = capsys.readouterr().err
    assert error.count(f"{link}' is a symbolic link that leads out of sweeps/theirs") == 2
    assert (small_folder / "outside").read_text() == "precious"
