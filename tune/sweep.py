"""`python -m tune.sweep [FILE]`: search hyper-parameters with Ray Tune, by a W&B sweep file."""

import argparse
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import ray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eigen2.errors import ConfigError, Eigen2Error, RunError, printable, printable_lines
from eigen2.terminal import show_warnings
from eigen2.training.cluster import connect, nodes
from eigen2.training.room import nodes_in_reach
from tune import CONFIGS
from tune.estimate import estimate_table, time_generation
from tune.folder import Settings, SweepFolder, checked_name
from tune.hyperband import Hyperband
from tune.pareto import pareto_table
from tune.planning import SMOKE_TRIALS, base_config, plan_from, plan_of, require_harmless, smoke_overrides
from tune.records import Records
from tune.resources import Room, room_for
from tune.running import Plan, grow, retry_failed, run
from tune.scheduler import NAMES, default_name
from tune.space import config_of
from tune.sweep_file import SweepFile
from tune.table import best_of, kept_processes, reasons, trials_table

DEFAULT_FILE, DEFAULT_BASE = CONFIGS / "sweep_config.yaml", CONFIGS / "quickstart.yaml"
WITH_RESUME = ("resume", "samples", "retry_failed", "concurrent", "num_cpus", "address", "trust", "debug")
DEFAULT_TRIALS = 20  # where neither the file's run_cap nor --samples limits them


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sweep; returns 0 when it is done, 1 when it failed or was stopped, 2 for bad usage or a bad file."""
    args = _parser().parse_args(argv)
    show_warnings()
    try:
        return _resume(args) if args.resume else _begin(args)
    except Eigen2Error as error:
        return _failed(args, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed(args, "stopped", 1)
    finally:
        ray.shutdown()


def _begin(args: argparse.Namespace) -> int:
    console = Console()
    name = checked_name(args.name or datetime.now().strftime(f"{'smoke-' if args.smoke else ''}%Y%m%d-%H%M%S"))
    if args.retry_failed:
        raise ConfigError("--retry-failed is for a sweep that was begun: give it with --resume NAME")
    if args.trust:
        raise ConfigError("--trust is for --resume: leave it out")
    concurrent, asked = _concurrent(args), _samples(args)
    file = args.file or DEFAULT_FILE
    sweep = SweepFile.read(file)
    overrides = _overrides(args, sweep)
    base = base_config(args.config or DEFAULT_BASE, overrides, sweep)
    samples = asked or (SMOKE_TRIALS if args.smoke else None if _bounded(sweep) else DEFAULT_TRIALS)
    scheduler = args.scheduler or default_name(sweep)
    settings = Settings.new(args.seed or 0, scheduler, samples, tuple(args.objective), tuple(overrides), concurrent)
    plan = plan_of(sweep, base, settings)
    for note in (*sweep.notes, *_notes(plan)):
        _say(console, f"note: {note}")
    connect(base.resources)
    if args.dry_run:
        return _dry_run(plan, args, console)
    room = _room(plan)
    folder = SweepFolder.create(name, file, base, settings)
    with folder.held():
        return _run(plan, folder, room, console)


def _resume(args: argparse.Namespace) -> int:
    console = Console()
    _check_resume(args)
    folder = SweepFolder.open(args.resume)
    with folder.held():
        records = Records(folder.trials)
        settings = _settings_now(args, folder, records)
        plan = plan_from(folder, settings, args.trust)
        for note in _notes(plan):
            _say(console, f"note: {note}")
        asked = {"resources.num_cpus": args.num_cpus, "resources.address": args.address}
        given = {name: value for name, value in asked.items() if value is not None}
        if not args.trust:
            require_harmless(folder, given)
        connect(config_of(plan.base, given).resources)
        room = _room(plan)
        if args.samples is not None:
            grow(plan, folder, records)
        folder.write_settings(settings)
        if args.retry_failed:
            _say(console, f"{len(retry_failed(records))} failed trials go on from their last checkpoints")
        return _run(plan, folder, room, console)


def _check_resume(args: argparse.Namespace) -> None:
    """Raise ConfigError for arguments that a sweep which was begun does not take."""
    default = _parser().get_default
    given = [name for name, value in vars(args).items() if name not in WITH_RESUME and value != default(name)]
    if given:
        named = ", ".join("FILE" if name == "file" else f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(
            f"--resume takes the sweep's own settings: leave out {named}; "
            "it goes with --samples, --retry-failed, --concurrent, --num-cpus, --address and --trust"
        )


def _settings_now(args: argparse.Namespace, folder: SweepFolder, records: Records) -> Settings:
    """The sweep's settings with what this session wants otherwise, which later sessions keep to."""
    settings, samples = folder.read_settings(), _samples(args)
    if samples is not None and samples < len(records):
        raise ConfigError(
            f"--samples {samples}: sweep {folder.path} has {len(records)} trials already; give the number of all trials"
        )
    if samples is not None:
        settings = replace(settings, samples=samples)
    return settings if args.concurrent is None else replace(settings, concurrent=_concurrent(args))


def _run(plan: Plan, folder: SweepFolder, room: Room, console: Console) -> int:
    _say(console, f"sweep {folder.path}: {plan.trials} trials of {plan.generations} generations")
    _say(console, room.says)
    for number in (signal.SIGTERM, signal.SIGHUP):  # a polite end, or a terminal that is closed, is the same as Ctrl-C
        signal.signal(number, signal.default_int_handler)
    try:
        records = run(plan, folder, room, console)
    except KeyboardInterrupt:
        _say(console, f"go on with: python -m tune.sweep --resume {folder.name}")
        raise
    _conclude(plan, folder, records, console)
    return 0


def _conclude(plan: Plan, folder: SweepFolder, records: Records, console: Console) -> None:
    """All trials, the best one with its values, and the commands that make use of it."""
    console.print(trials_table(records, plan.metric))
    for reason in reasons(records):
        _say(console, reason)
    if len(plan.objectives) > 1:
        console.print(pareto_table(records, plan.objectives))
    if saved := kept_processes(records):
        _say(console, saved)
    failed, again = records.in_state("failed"), f"python -m tune.sweep --resume {folder.name}"
    if len(failed) == len(records):
        raise RunError(f"all {len(failed)} trials failed, as told above; run them again with {again} --retry-failed")
    best = best_of(records, plan.metric)
    if best is None:
        raise RunError(f"no trial has a value of {plan.metric.name}; optimise another metric, with --objective METRIC")
    by = f" by {plan.metric.name}" if len(plan.objectives) > 1 else ""
    values = Table("parameter", header_style="bold")
    values.add_column(Text(f"{printable(best.trial)}, the best{by}"))
    for parameter in plan.sweep.space.parameters:
        values.add_row(parameter.field, Text(printable(str(best.values.get(parameter.field)))))
    console.print(values)
    for command in (
        f"python -m tune.results {folder.name} best --apply configs/best.yaml",
        "eigen2 train configs/best.yaml",
        f"python -m tune.results {folder.name} report",
        f"python -m tune.results {folder.name} narrow",
        *([f"{again} --retry-failed"] if failed else []),
        *([] if plan.sweep.method == "grid" else [f"{again} --samples {2 * len(records)}"]),
    ):
        _say(console, f"  {command}")


def _dry_run(plan: Plan, args: argparse.Namespace, console: Console) -> int:
    console.print(_space_table(plan))
    trials = plan.trials or DEFAULT_TRIALS
    _say(console, f"{trials} trials of {plan.generations} generations, scheduler {plan.scheduler}")
    if plan.scheduler != "none" and plan.sweep.early_terminate:
        _say(console, comparisons(plan, plan.sweep.early_terminate))
    room = _room(replace(plan, settings=replace(plan.settings, concurrent=1)))
    timing = time_generation(plan, room.share)
    _say(
        console,
        f"a generation with middle values took {timing.train_s + timing.rest_s:.1f} s"
        f"{'' if timing.learned else ', without learning: the buffer was not warm'}; "
        f"starting the processes {timing.start_s:.1f} s",
    )
    console.print(estimate_table(plan, timing, nodes(), trials, args.price_per_hour))
    return 0


def comparisons(plan: Plan, rule: Hyperband) -> str:
    """After how many generations trials are compared; `s` beside `min_iter` changes nothing in W&B's rule."""
    rungs = dict.fromkeys(rung for rung in rule.rungs() if rung < plan.generations)
    if not rungs:
        return f"no trial is stopped early: the first comparison is after {rule.rungs()[0]} generations"
    return f"trials are compared by {' and '.join(plan.compared)} after {', '.join(map(str, rungs))} generations"


def _space_table(plan: Plan) -> Table:
    table = Table("parameter", "values", "middle", header_style="bold")
    middle = plan.sweep.space.middle()
    for parameter in plan.sweep.space.parameters:
        cells = (parameter.law, middle[parameter.field])
        table.add_row(parameter.field, *(Text(printable(str(cell))) for cell in cells))
    for field, value in plan.sweep.space.constants.items():
        table.add_row(field, "fixed", Text(printable(str(value))))
    return table


def _room(plan: Plan) -> Room:
    population = max(
        config_of(plan.base, values).evolution.population_size
        for values in (plan.sweep.space.middle(), *_largest_population(plan))
    )
    resources = plan.base.resources
    return room_for(population, resources, nodes_in_reach(resources, nodes()), plan.settings.concurrent)


def _largest_population(plan: Plan) -> list[dict[str, object]]:
    field = "evolution.population_size"
    sizes = [p.extremes[-1] for p in plan.sweep.space.parameters if p.field == field]
    return [{**plan.sweep.space.middle(), field: size} for size in sizes]


def _concurrent(args: argparse.Namespace) -> int | None:
    """Trials at once; None where the machine decides."""
    text: str = args.concurrent or "auto"
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--concurrent {text}: it is `auto` or the number of trials at once, at least 1")
    return int(text)


def _samples(args: argparse.Namespace) -> int | None:
    """Trials in all; None where the command line does not say."""
    samples: int | None = args.samples
    if samples is not None and samples < 1:
        raise ConfigError(f"--samples {samples}: it is the number of trials, at least 1")
    return samples


def _bounded(sweep: SweepFile) -> bool:
    return sweep.run_cap is not None or sweep.method == "grid"


def _notes(plan: Plan) -> list[str]:
    notes = []
    if plan.settings.samples and plan.trials and plan.settings.samples > plan.trials:
        notes.append(f"the grid has {plan.trials} combinations, so there are {plan.trials} trials")
    if plan.scheduler != plan.settings.scheduler:
        notes.append(_no_early_stopping(plan))
    return notes


def _no_early_stopping(plan: Plan) -> str:
    return (
        f"{' and '.join(plan.known_at_the_end)} is known only when a trial is over: no trial is stopped early "
        f"({plan.settings.scheduler} would need it every generation)"
    )


def _overrides(args: argparse.Namespace, sweep: SweepFile) -> list[str]:
    named = {"resources.num_cpus": args.num_cpus, "resources.address": args.address}
    smoke = smoke_overrides(sweep) if args.smoke else []
    return [*smoke, *(f"{field}={value}" for field, value in named.items() if value is not None), *args.set]


def _say(console: Console, text: str) -> None:
    console.print(printable_lines(text), markup=False, highlight=False, soft_wrap=True)


def _failed(args: argparse.Namespace, message: str, code: int) -> int:
    if args.debug:
        traceback.print_exc()
    sys.stderr.write(f"tune.sweep: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tune.sweep", description="Search hyper-parameters with Ray Tune, by a W&B sweep file."
    )
    add = parser.add_argument
    add("file", nargs="?", type=Path, metavar="FILE", help=f"sweep file; default: configs/{DEFAULT_FILE.name}")
    add("--config", type=Path, help=f"config under the trials' values; default: configs/{DEFAULT_BASE.name}")
    add("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field that the file holds fixed")
    add("--name", help="name of the sweep, a folder under sweeps/; default: date and time")
    default_trials = f"the file's run_cap, its grid, or {DEFAULT_TRIALS}"
    add("--samples", type=int, metavar="N", help=f"trials in all, with --resume too; default: {default_trials}")
    add("--seed", type=int, metavar="N", help="the search follows from it; default: 0")
    add("--scheduler", choices=NAMES, help="who stops trials early; default: wandb where the file says hyperband")
    add("--concurrent", metavar="N", help="trials at once, `auto`: what fits the machine (default); resumes keep to it")
    add("--objective", action="append", default=[], metavar="METRIC[:GOAL]",
        help="optimise this instead of the file's metric; several give a Pareto table")  # fmt: skip
    add("--resume", metavar="NAME", help="go on with a sweep that was interrupted, or extend it with --samples")
    add("--retry-failed", action="store_true", help="with --resume: run failed trials again, from their checkpoints")
    add("--trust", action="store_true",
        help="the sweep to go on with is your own: obey its pickle, cluster, storage and W&B account")  # fmt: skip
    add("--dry-run", action="store_true", help="show the space, and what the sweep will take; run nothing else")
    add("--price-per-hour", type=float, metavar="PRICE", help="of the machine, for the cost in --dry-run")
    add("--smoke", action="store_true", help=f"{SMOKE_TRIALS} trials of 2 tiny generations: does it run here?")
    add("--num-cpus", type=int, metavar="N", help="CPUs of the local Ray; default: all of this machine")
    add("--address", help="a running Ray cluster, `auto` for the one on this machine")
    add("--debug", action="store_true", help="show a traceback with an error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
