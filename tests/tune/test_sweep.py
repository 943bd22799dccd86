"""`python -m tune.sweep`: killed and resumed, stopped early, refused; and what it keeps and shows."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from rich.console import Console

from eigen2.config import ResourcesConfig, load_config
from eigen2.errors import ConfigError, ResourceError, RunError
from eigen2.training.cluster import Node, connect
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import Share
from tests.training.small import assert_same_run, rows_of
from tests.training.small import run as train_alone
from tests.tune.small_sweep import SWEEP, lay_down, make_plan, run_sweep
from tune.estimate import Timing, estimate_table, share_trained, trial_seconds
from tune.folder import Settings, SweepFolder
from tune.hyperband import Hyperband
from tune.pareto import pareto
from tune.records import Record, Records, State, read_records
from tune.resources import Room, room_for
from tune.running import Plan, target_reached, told_of
from tune.search import proposals_of
from tune.sweep import comparisons, main
from tune.sweep_file import Metric
from tune.table import Progress, best_of, kept_processes, reasons, trials_table

ROOT = Path(__file__).parents[2]
METRIC = Metric("fitness/best_ever", "maximize")
GENERATIONS = 12


def record(number: int, best: float | None = None, **changed: Any) -> Record:
    return Record(
        **{"trial": f"trial_{number:04d}", "number": number, "state": "finished", "values": {}, "best": best, **changed}
    )


# --- the command line -------------------------------------------------------------------------------------------------


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "tune.sweep", *args]


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def start_and_kill(folder: Path, environment: dict[str, str]) -> None:
    """Start a sweep and kill its driver while its second trial runs."""
    trials = folder / "sweeps" / "s" / "trials.jsonl"
    options = ["sweep.yaml", "--config", "base.yaml", "--name", "s"]
    process = subprocess.Popen(command(*options), cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    while not (trials.exists() and trials.read_text().count("trial_0001") >= 4):
        assert process.poll() is None, "the sweep ended before it could be killed"
        assert time.monotonic() < deadline, "the sweep never got to its second trial"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_sweep_goes_on_where_it_was(small_folder: Path, environment: dict[str, str]) -> None:
    lay_down(small_folder, num_generations=GENERATIONS, wandb_mode="offline")
    start_and_kill(small_folder, environment)
    folder = SweepFolder(small_folder / "sweeps" / "s")
    first, second = read_records(folder.trials)
    assert (first.state, second.state) == ("finished", "running")
    checkpoints = sorted((folder.runs / "trial_0001" / "checkpoints").glob("gen_*"))
    assert 0 < len(checkpoints) < GENERATIONS
    before = {path: path.stat().st_mtime_ns for path in checkpoints}
    kept = (folder.runs / "trial_0000" / "champion.safetensors").stat().st_mtime_ns

    done = subprocess.run(
        command("--resume", "s"), cwd=small_folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [(trial.state, trial.generation) for trial in read_records(folder.trials)] == [("finished", GENERATIONS)] * 2
    assert read_records(folder.trials)[0] == first
    assert (folder.runs / "trial_0000" / "champion.safetensors").stat().st_mtime_ns == kept
    again = {path: path.stat().st_mtime_ns for path in checkpoints if path.exists()}
    assert again
    assert again.items() <= before.items(), "generations that were done are not done again"
    assert [row["generation"] for row in rows_of(RunFolder(folder.runs / "trial_0001"))] == list(range(GENERATIONS))
    assert "python -m tune.results s best --apply configs/best.yaml" in done.stdout
    logged = sorted((folder.path / "wandb").glob("offline-run-*"))
    assert [path.name.rpartition("-")[2] for path in logged] == ["trial_0000", "trial_0001"], "one W&B run a trial"
    for path in logged:
        (file,) = path.glob("*.wandb")
        assert file.read_bytes().count(b"validation/champion") >= GENERATIONS


def test_bad_usage_is_refused_before_anything_starts(small_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for args, said in (
        (["sweep.yaml", "--config", "base.yaml", "--set", "actor_lr=0.1"], "the sweep file varies actor_lr"),
        (["sweep.yaml", "--config", "base.yaml", "--scheduler", "wandb"], "early_terminate"),
        (["sweep.yaml", "--config", "base.yaml", "--objective", "fitness/bestever"], "did you mean fitness/best_ever"),
        (["sweep.yaml", "--config", "base.yaml", "--concurrent", "two"], "--concurrent two"),
        (["sweep.yaml", "--config", "base.yaml", "--name", "a/b"], "--name"),
        (["--resume", "nothing"], "is not the folder of a sweep"),
        (["--resume", "nothing", "--seed", "0", "--name", "x"], "leave out --name, --seed; it goes with --samples"),
        (["--resume", "nothing", "--dry-run"], "leave out --dry-run"),
        (["sweep.yaml", "--resume", "nothing", "--config", "base.yaml"], "leave out FILE, --config"),
        (
            ["sweep.yaml", "--config", "base.yaml", "--samples", "0"],
            "--samples 0: it is the number of trials, at least 1",
        ),
        (["sweep.yaml", "--config", "base.yaml", "--samples", "-3"], "--samples -3: it is"),
        (["sweep.yaml", "--config", "base.yaml", "--retry-failed"], "give it with --resume NAME"),
    ):
        assert main(args) in (1, 2)
        assert said in capsys.readouterr().err
    assert not (small_folder / "sweeps").exists()


def begun(states: Sequence[State], **settings: Any) -> SweepFolder:
    """A sweep in the working folder that an earlier session left behind, with trials in these states."""
    plan = make_plan(samples=len(states), **settings)
    folder = SweepFolder.create("begun", Path("sweep.yaml"), plan.base, plan.settings)
    records = Records(folder.trials)
    for number, state in enumerate(states):
        values = {"ddpg.actor_lr": 0.001 * (number + 1), "ddpg.gamma": 0.9}
        best = None if state == "failed" else float(number)
        reason = "member 0 put out NaN or infinity" if state == "failed" else None
        metrics = {} if best is None else {"fitness/best_ever": best}
        records.put(record(number, best, state=state, values=values, metrics=metrics, reason=reason))
    return folder


RANDOM = {"method": "random", "parameters": {"actor_lr": {"min": 0.001, "max": 0.004}}}


def resume(monkeypatch: pytest.MonkeyPatch, *args: str, state: State = "finished") -> int:
    """`--resume begun`, without Ray: each trial that is left gets this state at once."""
    monkeypatch.setattr("tune.sweep.connect", lambda resources: None)
    monkeypatch.setattr("tune.sweep.nodes", lambda: [Node(2.0, 0.0)])

    def run(plan: Plan, folder: SweepFolder, room: Room, console: Console) -> Records:
        records = Records(folder.trials)
        told = [told_of(one, plan.objectives) for one in records]
        search = proposals_of(plan.sweep, plan.settings.seed, num_trials=plan.trials, told=told)
        while trial := search.ask():
            best = None if state == "failed" else float(trial.number)
            records.put(record(trial.number, best, state=state, values=trial.values))
            search.tell(trial.number, None if best is None else [best])
        return records

    monkeypatch.setattr("tune.sweep.run", run)
    return main(["--resume", "begun", *args])


def test_a_finished_sweep_is_extended(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_down(small_folder, {**RANDOM, "run_cap": 2})
    folder = begun(["finished", "finished"])
    assert resume(monkeypatch, "--samples", "5") == 0
    assert [one.number for one in read_records(folder.trials)] == list(range(5))
    assert folder.read_settings().samples == 5, "the next session keeps to it"
    assert resume(monkeypatch) == 0
    assert len(read_records(folder.trials)) == 5


def test_the_runs_of_an_extended_sweep_count_its_trials(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_down(small_folder, RANDOM)
    folder = begun(["finished", "finished"])
    run = RunFolder(folder.runs / "trial_0000")
    run.path.mkdir(parents=True)
    run.config.write_text("run: {sweep_trials: 2}\nddpg: {tau: 0.5}\n")
    Records(folder.trials).change("trial_0000", run=str(run.path))
    assert resume(monkeypatch, "--samples", "5") == 0
    assert load_config(run.config) == load_config(None, ["sweep_trials=5", "tau=0.5"])


def test_fewer_trials_than_there_are_is_refused(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begun(["finished", "failed"])
    for samples, said in (("1", "has 2 trials already"), ("0", "at least 1"), ("-2", "at least 1")):
        assert resume(monkeypatch, "--samples", samples) == 2
        assert said in capsys.readouterr().err
    assert folder.read_settings().samples == 2
    assert resume(monkeypatch, "--num-cpus", "-3") == 2
    assert "resources.num_cpus is -3" in capsys.readouterr().err


def test_a_grid_is_extended_to_its_end_and_says_so(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begun(["finished"])
    assert resume(monkeypatch, "--samples", "40") == 0
    assert len(read_records(folder.trials)) == 2
    assert "note: the grid has 2 combinations, so there are 2 trials" in capsys.readouterr().out


def test_failed_trials_are_run_again_when_asked(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_down(small_folder, RANDOM)
    folder = begun(["finished", "failed", "stopped", "failed"])
    before = read_records(folder.trials)
    assert resume(monkeypatch) == 0
    assert read_records(folder.trials) == before
    assert resume(monkeypatch, "--retry-failed") == 0
    after = read_records(folder.trials)
    assert [one.state for one in after] == ["finished", "finished", "stopped", "finished"]
    assert [one.values for one in after] == [one.values for one in before]


def test_a_sweep_whose_trials_all_failed_has_failed(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(["failed"])
    assert resume(monkeypatch, "--samples", "2", state="failed") == 1
    assert "all 2 trials failed" in (said := capsys.readouterr().err)
    assert "--resume begun --retry-failed" in said


def test_trials_at_once_are_remembered(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(["finished"], concurrent=2)
    for args, said in (
        ([], "2 trials at once (as asked)"),
        (["--concurrent", "1"], "1 trial at once (as asked)"),
        ([], "1 trial at once (as asked)"),
        (["--concurrent", "auto"], "1 trial at once (as many"),
    ):
        assert resume(monkeypatch, *args) == 0
        assert said in capsys.readouterr().out


def test_what_can_not_be_run_changes_no_setting(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_down(small_folder, RANDOM, cpus_per_member=1.0)
    folder = begun(["failed"])
    assert resume(monkeypatch, "--samples", "5", "--concurrent", "9", "--retry-failed") == 1
    assert (folder.read_settings().samples, folder.read_settings().concurrent) == (1, None)
    assert [one.state for one in read_records(folder.trials)] == ["failed"]


def test_settings_of_an_older_version_are_read(small_folder: Path) -> None:
    folder = begun(["finished"])
    older = json.loads(folder.settings.read_text())
    del older["concurrent"]
    folder.settings.write_text(json.dumps(older))
    assert folder.read_settings().concurrent is None


# --- trials -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    yield
    ray.shutdown()


def test_w_and_b_rule_stops_trials_and_w_and_b_has_every_row(cluster: None, small_folder: Path) -> None:
    parameters = {"seed": {"values": [1, 2, 3, 4]}, "num_generations": {"value": 4}}
    rule = {"type": "hyperband", "min_iter": 2, "eta": 2}
    lay_down(small_folder, {"parameters": parameters, "early_terminate": rule}, wandb_mode="offline")
    folder, trials, _ = run_sweep(make_plan(scheduler="wandb"), "offline")
    assert len(trials) == 4
    judged: dict[str, tuple[float, ...]] = {}
    for trial in trials:
        judged[trial.trial] = trial.history
        stopped = bool(
            Hyperband(min_iter=2, eta=2).stops({**judged, trial.trial: trial.history[:2]}, {trial.trial}, "maximize")
        )
        assert trial.state == ("stopped" if stopped else "finished")
        assert trial.generation == (2 if stopped else 4)
        assert (trial.reason is not None) == stopped
    for trial in trials:
        (offline,) = (folder.path / "wandb").glob(f"offline-run-*-{folder.read_settings().id}-{trial.trial}")
        logged = (offline / f"run-{folder.read_settings().id}-{trial.trial}.wandb").read_bytes()
        assert b"fitness/best_ever" in logged
        assert folder.name.encode() in logged


def test_processes_are_taken_over_by_the_next_trial(cluster: None, small_folder: Path) -> None:
    lay_down(small_folder, num_generations=1)
    _, trials, _ = run_sweep(make_plan(), "kept")
    assert len(trials) == 2
    ready_s = [trial.metrics["time/ready"] for trial in trials]
    assert ready_s[1] < ready_s[0], "the second trial waits for no process to start"


# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_folder_keeps_settings_and_one_process_at_a_time(small_folder: Path) -> None:
    plan = make_plan(objectives=("fitness/best_ever", "validation/max_drawdown:minimize"), overrides=("keep=2",))
    folder = SweepFolder.create("mine", Path("sweep.yaml"), plan.base, plan.settings)
    assert SweepFolder.open("mine").read_settings() == plan.settings
    assert folder.read_base() == (plan.base, ())
    with pytest.raises(ConfigError, match="--resume mine"):
        SweepFolder.create("mine", Path("sweep.yaml"), plan.base, plan.settings)
    with (
        folder.held(),
        pytest.raises(RunError, match=r"in use by .*, process \d+ on "),
        SweepFolder.open("mine").held(),
    ):
        pass
    folder.settings.write_text("[]")
    with pytest.raises(RunError, match=r"settings\.json"):
        folder.read_settings()


def test_records_survive_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    records = Records(path)
    records.put(record(0, state="running"))
    records.change("trial_0000", state="finished", best=float("nan"), history=(1.0, 2.0))
    records.put(record(1, 3.0))
    with path.open("a") as file:
        file.write('{"trial": "trial_0002", "gen')
    read = Records(path)
    assert [(one.trial, one.state, one.best) for one in read] == [
        ("trial_0000", "finished", None),
        ("trial_0001", "finished", 3.0),
    ]
    assert [one.trial for one in read.in_state("finished")] == ["trial_0000", "trial_0001"]
    read.put(record(2))
    assert len(read_records(path)) == 3
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_the_search_remembers_trials_as_they_ended() -> None:
    metrics = {"fitness/best_ever": 2.0}
    assert told_of(record(3, values={"ddpg.gamma": 0.9}, metrics=metrics), [METRIC]).outcome == (2.0,)
    assert told_of(record(3, state="stopped", metrics=metrics), [METRIC]).state == "done"
    assert told_of(record(3, state="running", metrics=metrics), [METRIC]).state == "running"
    assert told_of(record(3, state="failed", metrics=metrics), [METRIC]).state == "failed"
    assert told_of(record(3), [METRIC]).state == "failed", "no value came of it"


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_command_line_stands_over_constants(small_folder: Path) -> None:
    plan = make_plan(overrides=("gamma=0.5", "num_generations=7", "batch_size=8"))
    assert plan.sweep.space.constants["ddpg.gamma"] == 0.5
    assert (plan.generations, plan.base.ddpg.batch_size) == (7, 8)
    assert plan.trials == 2, "the grid's size"


def test_a_metric_of_the_end_stops_nobody(small_folder: Path) -> None:
    lay_down(small_folder, {"metric": {"name": "combined_score", "goal": "maximize"}})
    assert make_plan(scheduler="asha").scheduler == "none"
    two = ("fitness/best_ever", "final/win_rate")
    assert make_plan(scheduler="wandb", objectives=two).scheduler == "none", "one of two objectives is known at the end"


def test_a_dry_run_tells_when_trials_are_compared(small_folder: Path) -> None:
    plan = replace(make_plan(), generations=20)
    said = {min_iter: comparisons(plan, Hyperband(min_iter=min_iter, eta=2, s=3)) for min_iter in (5, 20)}
    assert said[5] == "trials are compared by fitness/best_ever after 5, 10 generations"
    assert said[20] == "no trial is stopped early: the first comparison is after 20 generations"


def test_a_combined_score_of_each_generation_allows_early_stopping(small_folder: Path, tmp_path: Path) -> None:
    score = {"value": "fitness/max - 2 * fitness/std"}
    parameters = {"actor_lr": {"values": [0.001, 0.004]}, "combined_score": score}
    lay_down(small_folder, {"metric": {"name": "combined_score", "goal": "maximize"}, "parameters": parameters})
    plan = make_plan(scheduler="asha")
    assert (plan.scheduler, plan.compared) == ("asha", ("combined_score",))
    folder = train_alone(tmp_path / "run", combined_score=score["value"])
    expected = [row["fitness/max"] - 2 * row["fitness/std"] for row in rows_of(folder)]
    assert [row["combined_score"] for row in rows_of(folder)] == expected
    overridden = make_plan(scheduler="asha", overrides=("combined_score=final/win_rate",))
    assert overridden.scheduler == "none"


def test_a_combined_score_of_the_end_is_in_no_row(tmp_path: Path) -> None:
    folder = train_alone(tmp_path / "run", num_generations=1, combined_score="fitness/max + final/win_rate")
    assert "combined_score" not in rows_of(folder)[0]


def test_the_best_the_target_and_the_pareto_front(tmp_path: Path) -> None:
    records = Records(tmp_path / "trials.jsonl")
    for number, (fitness, drawdown) in enumerate([(1.0, 5.0), (3.0, 9.0), (2.0, 9.0), (0.5, 4.0)]):
        records.put(
            record(number, fitness, metrics={"fitness/best_ever": fitness, "validation/max_drawdown": drawdown})
        )
    records.put(record(4, 99.0, state="failed", metrics={"fitness/best_ever": 99.0, "validation/max_drawdown": 0.0}))
    best = best_of(records, METRIC)
    assert best is not None
    assert best.trial == "trial_0001"
    front = pareto(records, [METRIC, Metric("validation/max_drawdown", "minimize")])
    assert [one.number for one in front] == [0, 1, 3]
    assert target_reached(records, Metric("fitness/best_ever", "maximize", target=99.0))
    assert not target_reached(records, Metric("fitness/best_ever", "maximize", target=100.0))


def test_the_table_of_trials_is_whole_at_80_columns() -> None:
    failed = [record(number, state="failed", reason="member 0 put out NaN or infinity") for number in (1, 3)]
    shown = Console(file=io.StringIO(), width=80)
    for metric in ("validation/avg_trade_duration", "evolution/mutation_rate", "combined_score"):
        shown.print(trials_table([record(0, -1234.5678), *failed, record(2, 0.000123456)], Metric(metric, "maximize")))
    assert isinstance(shown.file, io.StringIO)
    text = shown.file.getvalue()
    assert "…" not in text
    assert {len(line) for line in text.splitlines()} <= set(range(81))
    assert text.count("0.0001235") == 3
    assert reasons(failed) == ["trial_0001, trial_0003 failed: member 0 put out NaN or infinity"]


def test_progress_counts_states_and_time_left(tmp_path: Path) -> None:
    records = Records(tmp_path / "trials.jsonl")
    now = [0.0]
    shown = Console(file=io.StringIO(), width=200)
    progress = Progress(shown, records, METRIC, trials=4, generations=10, concurrent=1, clock=lambda: now[0])
    records.put(record(0, 2.5, generation=10, metrics={"time/ready": 8.0}))
    records.put(record(1, state="running", generation=5, metrics={"time/ready": 1.0}))
    now[0] = 30.0
    assert progress.summary() == (
        "2 of 4 trials: 1 running, 1 finished; best 2.5 (trial_0000); 0:00:30 elapsed, at most 0:00:50 left"
    )
    assert kept_processes(records) == (
        "processes are kept from trial to trial: 8.0 s to start them, 1.0 s to take them over, 7 s saved in 1 trials"
    )


def test_room_is_shared_equally_and_refused_where_there_is_none() -> None:
    resources, two = ResourcesConfig(), [Node(2.0, 0.0)]
    assert room_for(8, resources, two, None).concurrent == 1
    assert room_for(8, resources, two, 1).share == Share(0.25, together=4)
    assert room_for(8, resources, two, 2).share == Share(0.125, together=8)
    assert room_for(8, resources, two, 2).says.endswith("takes 0.125 CPUs and 0 GPUs, up to 8 in one actor")
    assert room_for(8, resources, [Node(64.0, 2.0)], None).concurrent == 2
    assert room_for(8, resources, [Node(64.0, 2.0)], None).share.gpus == 0.125
    assert room_for(8, resources, [Node(64.0, 2.0, memory_bytes=8e9)], None).concurrent == 1
    with pytest.raises(ResourceError, match="--concurrent"):
        room_for(8, ResourcesConfig(cpus_per_member=1.0), two, 2)


def test_an_estimate_follows_the_work_and_the_early_stopping(small_folder: Path) -> None:
    lay_down(
        small_folder, {"parameters": {"gradient_steps_per_generation": {"values": [10, 20, 60]}}, "method": "random"}
    )
    plan = make_plan()
    timing = Timing(start_s=10.0, train_s=2.0, rest_s=1.0, learned=True)
    assert trial_seconds(plan, timing) == pytest.approx(3 * (1.0 + 2.0 * 1.5), rel=0.15)
    assert share_trained(None, 20, 10) == 1.0
    assert 0.5 < share_trained(Hyperband(min_iter=5, eta=2), 20, 10) < 0.95
    assert share_trained(Hyperband(min_iter=20, eta=2), 20, 10) == 1.0
    table = estimate_table(plan, timing, [Node(2.0, 0.0)], 20, 1.2)
    assert table.row_count == 4
    assert SWEEP["method"] == "grid"


def test_settings_of_a_new_sweep_have_an_id_of_their_own() -> None:
    one, other = (Settings.new(0, "none", None, (), ()) for _ in range(2))
    assert one.id != other.id


def test_trials_side_by_side_have_the_numbers_of_trials_one_by_one(cluster: None, small_folder: Path) -> None:
    lay_down(small_folder, num_generations=2)
    apart, _, _ = run_sweep(make_plan(), "apart")
    beside, _, _ = run_sweep(make_plan(), "beside", concurrent=2)
    for name in ("trial_0000", "trial_0001"):
        assert_same_run(RunFolder(beside.runs / name), RunFolder(apart.runs / name))
