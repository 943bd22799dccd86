"""The folder of a sweep may be somebody else's: it is not obeyed in what opens the machine, and no link is followed."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from eigen2.config import dump_config, load_config
from eigen2.config.trust import load_named_config, with_fields, withhold
from eigen2.errors import ConfigError
from eigen2.ownership import write_owned
from tests.tune.small_sweep import SWEEP, lay_down, make_plan
from tune import agent, results
from tune.folder import SweepFolder
from tune.planning import plan_from
from tune.records import Record, Records, read_records
from tune.sweep import main
from tune.sweep_file import Metric, SweepFile
from tune.table import trials_table

SETTINGS = {"id": "a", "seed": 0, "scheduler": "none", "samples": None, "objectives": [], "overrides": []}
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


def a_sweep_of_theirs(folder: Path, overrides: tuple[str, ...] = (), sweep: dict[str, Any] | None = None) -> str:
    """A sweep with two finished trials and without a mark of ours; returns its base config's path."""
    lay_down(folder, sweep)
    plan = make_plan()
    theirs = SweepFolder.create("theirs", Path("sweep.yaml"), plan.base, plan.settings)
    theirs.write_settings(replace(plan.settings, overrides=overrides))
    for number, rate in enumerate((0.001, 0.004)):
        record = Record(f"trial_{number}", number, "finished", {"ddpg.actor_lr": rate}, best=1.0, generation=1)
        Records(theirs.trials).put(record)
    (theirs.path / ".base.yaml.mark").unlink()
    return str(theirs.base)


@pytest.mark.parametrize("field", HOSTILE)
def test_the_base_config_of_a_foreign_sweep_is_not_obeyed_where_it_is_named(
    small_folder: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = a_sweep_of_theirs(small_folder)
    values = with_fields(load_config(Path(base)), {field: HOSTILE[field]})
    Path(base).write_text(dump_config(values))
    for command in (
        lambda: main(["sweep.yaml", "--config", base]),
        lambda: agent.main(["--config", base, "--sweep-file", "sweep.yaml"]),
    ):
        assert command() == 2
        assert f"theirs/base.yaml sets {field}, which" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=rf"base.yaml sets {field}, which .*--set {field}="):
        load_named_config(Path(base))
    assert load_named_config(Path(base), [f"{field}={HOSTILE[field]}"]) == values, "asked for by name"
    (small_folder / "link.yaml").symlink_to(base)
    with pytest.raises(ConfigError, match=field):
        load_named_config(Path("link.yaml"))
    copy = Path("copy.yaml")
    copy.write_bytes(Path(base).read_bytes())
    assert load_named_config(copy) == values, "a file of one's own"
    write_owned(Path(base), copy.read_bytes())
    assert load_named_config(Path(base)) == values, "a sweep of one's own"


def test_narrow_leaves_out_what_a_foreign_folder_may_not_decide(
    small_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = {"allow_pickle": {"value": True}, "gamma": {"value": 0.9}, "actor_lr": {"values": [0.001, 0.004]}}
    overrides = ("storage=file:///theirs", "resources.address=10.6.6.6:6379", "gamma=0.8")
    a_sweep_of_theirs(small_folder, overrides, {"parameters": fixed, "entity": "them"})
    assert results.main(["theirs", "narrow", "--out", "second.yaml"]) == 0
    out = capsys.readouterr().out
    for field in ("checkpoint.storage", "resources.address", "data.allow_pickle", "tracking.wandb_entity"):
        assert f"note: left out {field}, which" in out
    assert "--set gamma=0.8" in out
    assert "file:///theirs" not in out
    assert "10.6.6.6" not in out
    second = SweepFile.read(Path("second.yaml"))
    assert second.entity is None
    assert "data.allow_pickle" not in second.space.constants


def test_the_terminal_obeys_no_text_of_a_record(small_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_sweep_of_theirs(small_folder)
    esc, folder = "\x1b]0;theirs\x07\x1b[2J\n[link=x]", SweepFolder.open("theirs")
    values = {"ddpg.actor_lr": 0.004}
    record = Record(f"best{esc}", 2, "finished", values, best=9.0, generation=1, reason=f"why{esc}", run=f"run{esc}")
    Records(folder.trials).put(record)
    Records(folder.trials).put(Record("failed", 3, "failed", {"ddpg.actor_lr": f"1{esc}"}))
    for words in (["show"], ["best"], ["show", "--sort", "actor_lr"]):
        assert results.main(["theirs", *words]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\\x1b[2J [link=x]" in out
    table = io.StringIO()
    Console(file=table, width=200).print(trials_table([record], Metric("fitness/best_ever", "maximize")))
    assert "best\\x1b]0;theirs\\x07\\x1b[2J [link=x]" in table.getvalue()


def test_a_name_begins_no_line_of_the_narrowed_file(small_folder: Path) -> None:
    a_sweep_of_theirs(small_folder, sweep={"name": "x\nentity: them\n#"})
    assert results.main(["theirs", "narrow", "--out", "second.yaml"]) == 0
    assert SweepFile.read(Path("second.yaml")).entity is None


ROW = {"trial": "t", "number": 0, "state": "finished", "values": {"ddpg.actor_lr": 0.004}, "best": 1.0, "generation": 1}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"trial": ...}, "trial"),
        ({"colour": 1}, "colour"),
        ({"state": "odd"}, "state is 'odd'"),
        ({"values": None}, "values"),
        ({"values": {}}, "has no value of ddpg.actor_lr"),
        ({"values": {"ddpg.actor_lr": "fast"}}, "ddpg.actor_lr can't be 'fast'"),
        ({"values": {"ddpg.actor_lr": [[]]}}, "ddpg.actor_lr can't be"),
        ({"history": None}, "history"),
        ({"history": ["x"]}, "history"),
        ({"others": [[1.0]]}, "others"),
        ({"best": "much"}, "best is 'much'"),
        ({"best": math.inf}, "best is inf"),
        ({"best": math.nan}, "best is nan"),
        ({"generation": 10**400}, "generation"),
        ({"seconds": math.inf}, "seconds"),
        ({"metrics": []}, "metrics"),
    ],
)
def test_a_row_that_is_no_record_is_named_by_its_line(
    small_folder: Path, changed: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a_sweep_of_theirs(small_folder)
    row = {key: value for key, value in {**ROW, **changed}.items() if value is not ...}
    with Path("sweeps/theirs/trials.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    for command in ("show", "best", "importance", "narrow", "report"):
        assert results.main(["theirs", command]) == 1
        error = capsys.readouterr().err
        assert error.startswith("tune.results: sweeps/theirs/trials.jsonl")
        assert said in error
        assert ", line 3: " in error or "trial 't'" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("field", ["nowhere.actor_lr", "ddpg.nothing", "actor_lr", ""])
def test_an_unknown_field_of_a_record_is_named(
    small_folder: Path, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a_sweep_of_theirs(small_folder)
    values = {"ddpg.actor_lr": 0.004, field: 1}
    Records(SweepFolder.open("theirs").trials).put(Record("t", 2, "finished", values, best=9.0, generation=1))
    assert results.main(["theirs", "best", "--apply", "best.yaml", "--sizes", "base.yaml"]) == 2
    assert "unknown field" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        "{}",
        "not JSON",
        *(
            json.dumps({**SETTINGS, **changed})
            for changed in (
                {"seed": "0"},
                {"id": None},
                {"samples": 1.5},
                {"overrides": "gamma=1"},
                {"overrides": [1]},
                {"objectives": None},
                {"concurrent": [1]},
                {"colour": 1},
                {"scheduler": "odd"},
            )
        ),
    ],
)
def test_settings_that_are_none_are_named(small_folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    a_sweep_of_theirs(small_folder)
    Path("sweeps/theirs/settings.json").write_text(text)
    assert results.main(["theirs", "show"]) == 1
    assert main(["--resume", "theirs"]) == 1
    error = capsys.readouterr().err
    assert error.count("sweeps/theirs/settings.json: not the settings of a sweep: ") == 2
    assert len(error) < 1000


def test_an_unknown_field_of_the_settings_is_named(small_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_sweep_of_theirs(small_folder, ("gama=0.9",))
    assert results.main(["theirs", "show"]) == 2
    assert "did you mean gamma?" in capsys.readouterr().err


def test_figures_that_were_not_finite_are_read_back(small_folder: Path) -> None:
    a_sweep_of_theirs(small_folder)
    records = Records(SweepFolder.open("theirs").trials)
    records.put(Record("t", 2, "finished", {"ddpg.actor_lr": 0.004}, {"x": math.nan}, (math.nan, 1.0), generation=1))
    assert read_records(SweepFolder.open("theirs").trials)[-1].history == (None, 1.0)


def test_the_best_trials_record_decides_nothing_but_the_sweeps_own_fields(
    small_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_sweep_of_theirs(small_folder)
    foreign = {"run.runs_dir": "/theirs", "tracking.wandb_project": "theirs", "data.source": "/etc/passwd"}
    values = {"ddpg.actor_lr": 0.002, "ddpg.gamma": 0.7, **foreign}
    Records(SweepFolder.open("theirs").trials).put(Record("t", 2, "finished", values, best=9.0, generation=1))
    assert results.main(["theirs", "best", "--apply", "best.yaml", "--sizes", "base.yaml"]) == 0
    best, base = load_config(Path("best.yaml")), make_plan().base
    assert (best.ddpg.actor_lr, best.ddpg.gamma) == (0.002, 0.7)
    assert (best.run.runs_dir, best.data.source) == (base.run.runs_dir, base.data.source)
    assert best.tracking.wandb_project == base.tracking.wandb_project
    out = capsys.readouterr().out
    for field in foreign:
        assert f"note: left out {field} of the trial's record" in out
