"""What a sweep found: tables, the best config, importance, the page, and the file of a second phase."""

import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from eigen2.config import Config, load_config
from eigen2.tracking.wandb_runs import RemoteRun, RemoteSweep
from tests.tune.files import sweep_of
from tune.findings import Findings, importances
from tune.folder import Settings, SweepFolder
from tune.laws import Categories, Integers, Law, LogUniform, Normal, Quantised, Uniform
from tune.narrow import narrow
from tune.pareto import pareto
from tune.records import Record, Records
from tune.results import main
from tune.search import proposals_of
from tune.sweep_file import Metric, SweepFile
from tune.table import best_of
from tune.wandb_import import folder_of

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = CONFIGS / "sweep_config.yaml"
TRIALS = 24
HOSTILE = "out of memory </script><script>alert(1)</script>"


def skill(values: dict[str, Any], rng: np.random.Generator) -> float:
    """The learning rates decide, a little of chance beside."""
    actor, critic = math.log(values["ddpg.actor_lr"] / 0.0002), math.log(values["ddpg.critic_lr"] / 0.0005)
    return -(actor**2) - 0.6 * critic**2 + 0.05 * float(rng.normal())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    """A sweep of 24 trials: one failed, the poor ones stopped at generation 5."""
    monkeypatch.chdir(tmp_path)
    sweep, rng = SweepFile.read(SHIPPED), np.random.default_rng(0)
    folder = SweepFolder.create("demo", SHIPPED, Config(), Settings.new(0, "wandb", TRIALS, (), ()))
    records, proposals = Records(folder.trials), proposals_of(sweep, 0, num_trials=TRIALS)
    while trial := proposals.ask():
        name, best = f"trial-{trial.number}", skill(trial.values, rng)
        if trial.number == 3:
            records.put(Record(name, 3, "failed", trial.values, generation=2, reason=HOSTILE))
            proposals.tell(3, None)
            continue
        generations = 5 if best < -3 else 10
        state = "stopped" if generations == 5 else "finished"
        history = (*(best - 3 * math.exp(-k / 3) for k in range(generations - 1)), best)
        metrics = {"fitness/best_ever": best}
        records.put(Record(name, trial.number, state, trial.values, metrics, history, best, generations, 60.0))  # type: ignore[arg-type]
        proposals.tell(trial.number, [best])
    return folder


def test_show_is_sorted_and_whole(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    ranked = [record.trial for record in Findings.of(folder).ranked]
    assert main(["demo", "show"]) == 0
    columns = shown_columns(capsys.readouterr().out)
    assert columns["trial"] == [*ranked, "trial-3"]
    assert len(columns) == 5 + 14
    assert main(["demo", "show", "--sort", "actor_lr", "--reverse"]) == 0
    rates = [float(cell) for cell in shown_columns(capsys.readouterr().out)["actor_lr"]]
    assert rates == sorted(rates, reverse=True)


def shown_columns(text: str) -> dict[str, list[str]]:
    """The cells below each header, of tables one below the other."""
    columns: dict[str, list[str]] = {}
    for table in text.split("┏")[1:]:
        heads = [line.strip("┃").split("┃") for line in table.splitlines() if "┃" in line]
        rows = [line.strip("│").split("│") for line in table.splitlines() if "│" in line]
        for place, parts in enumerate(zip(*heads, strict=True)):
            columns["".join(map(str.strip, parts))] = [row[place].strip() for row in rows]
    return columns


@pytest.mark.parametrize("width", ["80", "140"])
def test_show_fits_the_terminal_with_every_number(
    folder: SweepFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert main(["demo", "show"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= int(width)
    assert "…" not in out
    assert f"trial-3 failed: {HOSTILE}" in out
    best = Findings.of(folder).best
    columns = shown_columns(out)
    assert columns["gradient_accumulation_steps"][0] == str(best.values["ddpg.gradient_accumulation_steps"])
    assert float(columns["critic_lr"][0]) == pytest.approx(best.values["ddpg.critic_lr"], rel=1e-3)


def test_show_by_a_column_that_is_not_there(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "show", "--sort", "actor_rl"]) == 2
    assert "did you mean actor_lr?" in capsys.readouterr().err


def test_best_is_applied_with_the_sizes_of_full_runs(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    best = Findings.of(folder).best
    assert main(["demo", "best", "--apply", "configs/best.yaml", "--sizes", str(CONFIGS / "full.yaml")]) == 0
    assert "eigen2 train configs/best.yaml" in capsys.readouterr().out
    config, full = load_config(Path("configs/best.yaml")), load_config(CONFIGS / "full.yaml")
    assert config.ddpg.actor_lr == best.values["ddpg.actor_lr"]
    assert config.rules.max_holding_period == best.values["rules.max_holding_period"]
    assert config.agent == full.agent
    assert config.replay == full.replay
    assert (config.run.num_generations, config.evolution.population_size) == (25, 16)
    assert config.run.sweep_trials == len(Findings.of(folder).ranked) == TRIALS - 1


def test_the_trials_of_both_phases_are_counted(folder: SweepFolder) -> None:
    assert main(["demo", "narrow", "--out", "second.yaml"]) == 0
    second = SweepFile.read(Path("second.yaml"))
    assert second.space.constants["run.sweep_trials"] == TRIALS - 1
    close = SweepFolder.create("close", Path("second.yaml"), Config(), Settings.new(0, "wandb", 4, (), ()))
    records, proposals = Records(close.trials), proposals_of(second, 0, num_trials=4)
    while trial := proposals.ask():
        name = f"trial-{trial.number}"
        records.put(Record(name, trial.number, "finished", trial.values, best=float(trial.number), generation=10))
    assert main(["close", "best", "--apply", "best.yaml", "--sizes", str(CONFIGS / "full.yaml")]) == 0
    assert load_config(Path("best.yaml")).run.sweep_trials == TRIALS - 1 + 4
    assert main(["close", "narrow", "--out", "third.yaml"]) == 0
    assert SweepFile.read(Path("third.yaml")).space.constants["run.sweep_trials"] == TRIALS - 1 + 4


@pytest.mark.parametrize("name", ["run.sweep_trials", "run", "sweep_trials"])
def test_a_count_of_trials_that_a_file_holds_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    spec: dict[str, Any] = {"value": 7}
    held = {name: {"parameters": {"sweep_trials": spec}} if name == "run" else spec}
    sweep = sweep_of(tmp_path, {"tau": {"min": 0.1, "max": 0.9}, **held})
    folder = SweepFolder.create("one", sweep.path, Config(), Settings.new(0, "none", None, (), ()))
    records = Records(folder.trials)
    for number, tau in enumerate((0.4, 0.5)):
        records.put(Record(str(number), number, "finished", {"ddpg.tau": tau}, best=1.0, generation=1))
    assert main(["one", "narrow", "--out", "second.yaml"]) == 0
    assert SweepFile.read(Path("second.yaml")).space.constants["run.sweep_trials"] == 7 + 2


def test_narrow_goes_on_with_the_objectives_and_prints_the_whole_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = sweep_of(tmp_path, {"tau": {"min": 0.1, "max": 0.9}, "gamma": {"value": 0.9}})
    objectives, overrides = ("validation/max_drawdown:minimize", "fitness/mean"), ("gamma=0.5", "name=a b")
    settings = Settings.new(0, "none", None, objectives, overrides)
    SweepFolder.create("one", sweep.path, Config(), settings)
    records = Records(SweepFolder.open("one").trials)
    for number, (tau, drawdown, mean) in enumerate(
        [(0.2, 9.0, 1.0), (0.4, 1.0, 2.0), (0.5, 2.0, 3.0), (0.8, 2.0, 2.0)]
    ):
        metrics = {"validation/max_drawdown": drawdown, "fitness/mean": mean}
        records.put(Record(str(number), number, "finished", {"ddpg.tau": tau}, metrics, best=drawdown, generation=1))
    assert [record.number for record in Findings.of(SweepFolder.open("one")).ranked] == [1, 2, 3, 0]
    assert main(["one", "narrow", "--top", "0.5", "--out", "second.yaml"]) == 0
    second = SweepFile.read(Path("second.yaml"))
    assert second.metric == Metric("validation/max_drawdown", "minimize")
    assert second.space.parameters[0].law == Uniform(0.35, 0.55)
    assert (
        "python -m tune.sweep second.yaml --config sweeps/one/base.yaml --objective validation/max_drawdown:minimize "
        "--objective fitness/mean --set gamma=0.5 --set 'name=a b'\n"
    ) in capsys.readouterr().out


def test_importance_ranks_what_decides_first(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    found = importances(Findings.of(folder))
    assert {one.parameter.name for one in found[:2]} == {"actor_lr", "critic_lr"}
    assert sum(one.share for one in found) == pytest.approx(1.0)
    assert all(one.top_share is None for one in found)
    assert main(["demo", "importance"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("actor_lr") < shown.index("gamma")


def test_a_sweep_without_trials_says_so(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.trials.unlink()
    for command, said in (("best", "no finished trial"), ("importance", "needs 4"), ("narrow", "narrow needs 2")):
        assert main(["demo", command]) == 1
        assert said in capsys.readouterr().err
    assert main(["demo", "report"]) == 0
    assert main(["demo", "show"]) == 0


class Page(HTMLParser):
    """Counts what a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def count(self, tag: str, **attributes: str) -> int:
        return sum(one == tag and attributes.items() <= held.items() for one, held in self.tags)


def test_the_page_holds_every_trial_and_needs_nothing_else(folder: SweepFolder) -> None:
    assert main(["demo", "report"]) == 0
    text = (folder.path / "report.html").read_text()
    page = Page(text)
    ranked = len(Findings.of(folder).ranked)
    assert page.count("polyline", **{"class": "record"}) == 1
    assert page.count("polyline") == 2 * ranked + 1
    assert page.count("circle") == 15 * ranked  # the order of the trials, and a slice a parameter
    assert page.count("tr") == 1 + 14 + 1 + TRIALS
    assert page.count("script") == 1
    assert HOSTILE not in text
    assert not [held for _, held in page.tags if {"src", "href"} & held.keys()]
    assert not [value for _, held in page.tags for value in held.values() if value and "nan" in value]


def test_the_page_shows_the_pareto_front_of_several_objectives(folder: SweepFolder) -> None:
    objectives = ("fitness/best_ever", "validation/max_drawdown:minimize")
    folder.write_settings(replace(folder.read_settings(), objectives=objectives))
    records = Records(folder.trials)
    for record in records.in_state("finished", "stopped"):
        drawdown = 10.0 + record.best - (5.0 if record.number == 0 else 0.0)
        records.change(record.trial, metrics={**record.metrics, "validation/max_drawdown": drawdown})
    assert main(["demo", "report"]) == 0
    text = (folder.path / "report.html").read_text()
    page, findings = Page(text), Findings.of(folder)
    front = pareto(findings.ranked, findings.plan.objectives)
    assert 1 < len(front) < TRIALS
    assert sum("front" in (held.get("class") or "") for tag, held in page.tags if tag == "circle") == len(front)
    assert page.count("circle") == 16 * len(findings.ranked)
    rows = text[text.index('<table id="front">') :].partition("</table>")[0]
    assert [trial for trial in (record.trial for record in findings.ranked) if f">{trial}<" in rows] == [
        record.trial for record in findings.ranked if record in front
    ]
    assert "Maximize fitness/best_ever and minimize validation/max_drawdown" in text


def test_the_page_of_a_sweep_that_has_just_begun(folder: SweepFolder) -> None:
    first, *_ = folder.trials.read_text().splitlines()
    folder.trials.write_text(first + "\n")
    assert main(["demo", "report"]) == 0
    page = Page((folder.path / "report.html").read_text())
    assert page.count("circle") == 15
    assert "Pareto" not in (folder.path / "report.html").read_text()


@pytest.mark.parametrize("top", ["0.2", "1"])
def test_the_narrowed_file_is_read_back_and_is_tighter(folder: SweepFolder, top: str) -> None:
    assert main(["demo", "narrow", "--top", top, "--out", "second.yaml"]) == 0
    first, second = SweepFile.read(SHIPPED), SweepFile.read(Path("second.yaml"))
    second.space.check(Config())
    assert second.metric == first.metric
    assert second.early_terminate == first.early_terminate
    assert {**first.space.constants}.items() <= {**second.space.constants}.items()
    before = {parameter.field: parameter.law for parameter in first.space.parameters}
    for parameter in second.space.parameters:
        old, new = before[parameter.field], parameter.law
        if isinstance(old, Categories):
            assert isinstance(new, Categories)
            assert set(new.values) <= set(old.values)
        else:
            assert type(new) is type(old)
            assert old.ends[0] <= new.ends[0] < new.ends[1] <= old.ends[1]  # type: ignore[index]


def test_narrow_says_what_it_fixed_and_keeps_the_best_inside(folder: SweepFolder) -> None:
    narrowed = narrow(Findings.of(folder), 0.2)
    raw = yaml.safe_load(narrowed.text)
    fixed = {name for name, spec in raw["parameters"].items() if "value" in spec} - {
        "num_generations",
        "population_size",
        "buffer_size",
        "buffer_warmup",
        "sweep_trials",
    }
    assert {line.partition(":")[0] for line in narrowed.fixed} == fixed
    assert raw["parameters"]["actor_lr"]["min"] > 0.00005
    best = Findings.of(folder).best.values
    assert raw["parameters"]["actor_lr"]["min"] <= best["ddpg.actor_lr"] <= raw["parameters"]["actor_lr"]["max"]


@pytest.mark.parametrize(
    ("spec", "values", "law"),
    [
        ({"min": 0.0, "max": 1.0}, [0.4, 0.6], Uniform(0.3, 0.7)),
        ({"min": 0.0, "max": 1.0}, [0.5, 0.5], Uniform(0.4, 0.6)),
        ({"distribution": "log_uniform_values", "min": 0.001, "max": 1}, [0.01, 0.04], LogUniform(0.005, 0.08)),
        (
            {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.1},
            [0.4, 0.6],
            Quantised(Uniform(0.3, 0.7), 0.1),
        ),
        ({"distribution": "normal", "mu": 0.5, "sigma": 0.2}, [0.4, 0.6], Normal(0.5, 0.1414)),
        ({"distribution": "log_normal", "mu": -2, "sigma": 1}, [0.1, 0.1], Normal(-2.303, 0.1, of_log=True)),
        ({"distribution": "beta", "a": 2, "b": 2}, [0.4, 0.6], Uniform(0.3, 0.7)),
        ({"values": [0.1, 0.2, 0.3, 0.4]}, [0.1, 0.3], Categories((0.1, 0.2, 0.3))),
        ({"values": [0.3, 0.1, 0.2]}, [0.3, 0.2], Categories((0.3, 0.2))),
        (
            {"values": [0.1, 0.2, 0.5], "probabilities": [0.5, 0.25, 0.25]},
            [0.1, 0.2],
            Categories((0.1, 0.2), (2 / 3, 1 / 3)),
        ),
    ],
)
def test_each_law_is_narrowed_in_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], values: list[float], law: Law
) -> None:
    narrowed = second_phase(tmp_path, monkeypatch, "mutation_rate", spec, values)
    (parameter,) = narrowed.space.parameters
    assert parameter.law == law


def second_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, spec: dict[str, Any], values: list[Any]
) -> SweepFile:
    """The sweep that narrow makes of a sweep over one parameter with these values as its trials."""
    monkeypatch.chdir(tmp_path)
    sweep = sweep_of(tmp_path, {name: spec})
    folder = SweepFolder.create("one", sweep.path, Config(), Settings.new(0, "none", None, (), ()))
    records = Records(folder.trials)
    for number, value in enumerate(values):
        held = {sweep.space.parameters[0].field: value}
        records.put(Record(str(number), number, "finished", held, history=(1.0,), best=1.0, generation=1))
    assert main(["one", "narrow", "--top", "1", "--out", "second.yaml"]) == 0
    return SweepFile.read(Path("second.yaml"))


@pytest.mark.parametrize(
    ("spec", "values", "left"),
    [
        ({"min": 2, "max": 64}, [8, 12], Integers(6, 14)),
        ({"min": 2, "max": 64}, [8, 8], 8),
        ({"distribution": "q_log_uniform_values", "min": 5, "max": 64, "q": 8}, [16, 16], 16),
        ({"values": [2, 4, 8]}, [4, 4], 4),
    ],
)
def test_whole_numbers_are_narrowed_to_whole_numbers_and_one_is_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], values: list[int], left: Any
) -> None:
    space = second_phase(tmp_path, monkeypatch, "batch_size", spec, values).space
    assert [parameter.law for parameter in space.parameters] == ([left] if isinstance(left, Integers) else [])
    fixed = {} if isinstance(left, Integers) else {"ddpg.batch_size": left}
    assert dict(space.constants) == {**fixed, "run.sweep_trials": 2}


def test_a_nested_parameter_is_narrowed_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = sweep_of(tmp_path, {"ddpg": {"parameters": {"tau": {"min": 0.1, "max": 0.9}}}})
    folder = SweepFolder.create("one", sweep.path, Config(), Settings.new(0, "none", None, (), ()))
    records = Records(folder.trials)
    for number, tau in enumerate((0.4, 0.5)):
        records.put(Record(str(number), number, "finished", {"ddpg.tau": tau}, best=1.0, generation=1))
    raw = yaml.safe_load(narrow(Findings.of(folder), 1.0).text)
    narrower = {"tau": {"distribution": "uniform", "min": 0.35, "max": 0.55}}
    assert raw["parameters"] == {"ddpg": {"parameters": narrower}, "sweep_trials": {"value": 2}}


def test_a_sweep_of_wandb_becomes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load(SHIPPED.read_text())
    runs = [
        remote_run("a", "finished", 10, actor_lr=0.0001),
        remote_run("b", "finished", 5, actor_lr=0.0002),
        remote_run("c", "crashed", 2, actor_lr=0.0003),
        RemoteRun("d", "run d", "crashed", {}, (), {}),
    ]
    folder = folder_of(RemoteSweep("team", "eigen2-self", "x1y2", config, tuple(runs)))
    records = Findings.of(folder).records
    assert [record.state for record in records] == ["finished", "stopped", "failed"]
    assert [record.generation for record in records] == [10, 5, 2]
    assert records[0].history == tuple(map(float, range(10)))
    assert records[1].values["ddpg.actor_lr"] == 0.0002
    assert Findings.of(folder).best.trial == "run a"
    again = folder_of(RemoteSweep("team", "eigen2-self", "x1y2", config, (runs[0],)))
    assert [record.trial for record in Findings.of(again).records] == ["run a"]


def test_the_best_of_a_sweep_of_wandb_is_applied_with_all_of_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {
        "splits": {"validation_days": 300},
        "rules": {"cost_bps": 1.5, "fill": "close"},
        "data": {"source": "own.csv"},
    }
    foreign = {"data": {"allow_pickle": True}, "checkpoint": {"storage": "s3://theirs"}, "run": {"runs_dir": "/theirs"}}
    runs = [remote_run(name, "finished", 10, rate, own, foreign) for name, rate in (("a", 0.0001), ("b", 0.0002))]
    file = {key: value for key, value in yaml.safe_load(SHIPPED.read_text()).items() if key != "early_terminate"}
    remote = RemoteSweep("team", "their-project", "x1y2", file, tuple(runs))
    monkeypatch.setattr("tune.wandb_import.read_remote_sweep", lambda path: remote)
    words = ["--wandb", "team/their-project/x1y2"]
    assert main([*words, "best", "--apply", "best.yaml", "--sizes", str(CONFIGS / "full.yaml")]) == 0
    config = load_config(Path("best.yaml"))
    assert (config.splits.validation_days, config.rules.cost_bps, config.rules.fill) == (300, 1.5, "close")
    assert (config.data.source, config.ddpg.actor_lr, config.run.sweep_trials) == ("own.csv", 0.0001, 2)
    assert (config.data.allow_pickle, config.checkpoint.storage, config.run.runs_dir) == (False, None, "runs")
    assert (config.tracking.wandb_project, config.tracking.wandb_entity) == ("their-project", "team")
    assert main([*words, "narrow"]) == 0
    assert "narrow.yaml --config sweeps/wandb-x1y2/base.yaml\n" in capsys.readouterr().out
    assert load_config(Path("sweeps/wandb-x1y2/base.yaml")).rules.cost_bps == 1.5


def remote_run(run_id: str, state: str, generations: int, actor_lr: float, *sections: dict[str, Any]) -> RemoteRun:
    """sections: fields in which the run's config differs from the defaults."""
    values = SweepFile.read(SHIPPED).space.middle()
    swept = {field.partition(".")[2]: value for field, value in values.items()} | {"actor_lr": actor_lr}
    config = Config().model_dump(mode="json") | swept  # a run tells W&B every field beside
    for section, fields in (item for group in sections for item in group.items()):
        config[section] |= fields
    rows = tuple({"generation": k, "fitness/best_ever": float(k), "importance/top": "AAPL"} for k in range(generations))
    return RemoteRun(run_id, f"run {run_id}", state, config, rows, {**rows[-1], "_runtime": 12.0})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["demo", "shwo"], "tune.results: unknown command shwo; did you mean show?"),
        (["show"], "write a sweep and a command"),
        (["none", "show"], "is not the folder of a sweep"),
        (["--wandb", "team/project", "show"], "write ENTITY/PROJECT/SWEEP"),
    ],
)
def test_bad_usage(words: list[str], said: str, folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("tune.results: ") == 1


def test_a_trial_that_was_stopped_is_not_the_best_of_those_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric may fall: after two generations, where it was stopped, the others were better."""
    monkeypatch.chdir(tmp_path)
    sweep = sweep_of(tmp_path, {"tau": {"min": 0.1, "max": 0.9}})
    folder = SweepFolder.create("one", sweep.path, Config(), Settings.new(0, "none", None, (), ()))
    records = Records(folder.trials)
    for number, (state, *history) in enumerate([("finished", 2.9, 2.7, 2.3), ("stopped", 2.6), ("finished", 2.9, 2.5)]):
        values, best = {"ddpg.tau": 0.1 * (number + 1)}, float(history[-1])
        records.put(Record(str(number), number, state, values, history=tuple(history), best=best))  # type: ignore[arg-type]
    assert [record.number for record in Findings.of(folder).ranked] == [2, 0, 1]
    best = best_of(records, Metric("fitness/best_ever", "maximize"))
    assert best is not None
    assert best.number == 2


def test_the_goal_decides_the_order(folder: SweepFolder) -> None:
    findings = Findings.of(folder)
    minimizing = replace(findings.plan.objectives[0], goal="minimize")
    turned = replace(findings, plan=replace(findings.plan, objectives=(minimizing,)))
    finished = [record.best for record in findings.ranked if record.state == "finished"]
    assert [record.best for record in turned.ranked][: len(finished)] == finished[::-1]
