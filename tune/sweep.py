"""`python -m tune.sweep [FILE]`: search hyper-parameters with Ray Tune, by a W&B sweep file."""

import argparse
import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import ray
from rich.console import Console
from rich.table import Table

from eigen2.errors import ConfigError, Eigen2Error
from eigen2.training.cluster import connect, nodes
from eigen2.training.room import nodes_in_reach
from tune.estimate import estimate_table, time_generation
from tune.folder import Settings, SweepFolder, checked_name
from tune.pareto import pareto_table
from tune.planning import SMOKE_TRIALS, base_config, plan_from, plan_of, require_harmless, smoke_overrides
from tune.records import Records
from tune.resources import Room, room_for
from tune.running import Plan, run
from tune.scheduler import NAMES, default_name
from tune.space import config_of
from tune.sweep_file import SweepFile
from tune.table import best_of, kept_processes, trials_table

DEFAULT_FILE = Path("configs/sweep_config.yaml")
DEFAULT_BASE = Path("configs/quickstart.yaml")
DEFAULT_TRIALS = 20  # where neither the file's run_cap nor --samples limits them


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sweep; returns 0 when it is done, 1 when it failed or was stopped, 2 for bad usage or a bad file."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
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
    concurrent = _concurrent(args)
    sweep = SweepFile.read(args.file)
    overrides = _overrides(args, sweep)
    base = base_config(args.config, overrides, sweep)
    samples = SMOKE_TRIALS if args.smoke else args.samples or (None if _bounded(sweep) else DEFAULT_TRIALS)
    scheduler = args.scheduler or default_name(sweep)
    settings = Settings.new(args.seed, scheduler, samples, tuple(args.objective), tuple(overrides))
    plan = plan_of(sweep, base, settings)
    for note in (*sweep.notes, *_notes(plan)):
        _say(console, f"note: {note}")
    connect(base.resources)
    if args.dry_run:
        return _dry_run(plan, args, console)
    room = _room(plan, concurrent)
    return _run(plan, SweepFolder.create(name, args.file, base, settings), room, console)


def _resume(args: argparse.Namespace) -> int:
    if args.set or args.name or args.samples or args.scheduler or args.objective or args.smoke:
        raise ConfigError("--resume takes the sweep's own settings: give only --concurrent, --num-cpus or --address")
    concurrent = _concurrent(args)
    folder = SweepFolder.open(args.resume)
    plan = plan_from(folder, args.trust)
    resources = plan.base.resources
    asked = {"num_cpus": args.num_cpus, "address": args.address}
    given = {name: value for name, value in asked.items() if value is not None}
    if not args.trust:
        require_harmless(folder, [f"resources.{name}" for name in given])
    connect(resources.model_copy(update=given))
    return _run(plan, folder, _room(plan, concurrent), Console())


def _run(plan: Plan, folder: SweepFolder, room: Room, console: Console) -> int:
    _say(console, f"sweep {folder.path}: {plan.trials} trials of {plan.generations} generations")
    _say(console, room.says)
    for number in (signal.SIGTERM, signal.SIGHUP):  # a polite end, or a terminal that is closed, is the same as Ctrl-C
        signal.signal(number, signal.default_int_handler)
    try:
        with folder.held():
            records = run(plan, folder, room, console)
    except KeyboardInterrupt:
        _say(console, f"go on with: python -m tune.sweep --resume {folder.name}")
        raise
    _conclude(plan, folder, records, console)
    return 0


def _conclude(plan: Plan, folder: SweepFolder, records: Records, console: Console) -> None:
    """All trials, the best one with its values, and the commands that make use of it."""
    console.print(trials_table(records, plan.metric))
    if len(plan.objectives) > 1:
        console.print(pareto_table(records, plan.objectives))
    if saved := kept_processes(records):
        _say(console, saved)
    best = best_of(records, plan.metric)
    if best is None:
        _say(console, "no trial has a value of the metric; the reasons are in the table")
        return
    values = Table("parameter", f"{best.trial}, the best", header_style="bold")
    for parameter in plan.sweep.space.parameters:
        values.add_row(parameter.field, f"{best.values[parameter.field]}")
    console.print(values)
    for command in (
        f"python -m tune.results {folder.name} best --apply configs/best.yaml",
        "eigen2 train configs/best.yaml",
        f"python -m tune.results {folder.name} report",
        f"python -m tune.results {folder.name} narrow",
    ):
        _say(console, f"  {command}")


def _dry_run(plan: Plan, args: argparse.Namespace, console: Console) -> int:
    console.print(_space_table(plan))
    trials = plan.trials or DEFAULT_TRIALS
    _say(console, f"{trials} trials of {plan.generations} generations, scheduler {plan.scheduler}")
    room = _room(plan, 1)
    timing = time_generation(plan, room.share)
    _say(
        console,
        f"a generation with middle values took {timing.train_s + timing.rest_s:.1f} s"
        f"{'' if timing.learned else ', without learning: the buffer was not warm'}; "
        f"starting the processes {timing.start_s:.1f} s",
    )
    console.print(estimate_table(plan, timing, nodes(), trials, args.price_per_hour))
    return 0


def _space_table(plan: Plan) -> Table:
    table = Table("parameter", "values", "middle", header_style="bold")
    middle = plan.sweep.space.middle()
    for parameter in plan.sweep.space.parameters:
        table.add_row(parameter.field, str(parameter.law), str(middle[parameter.field]))
    for field, value in plan.sweep.space.constants.items():
        table.add_row(field, "fixed", str(value))
    return table


def _room(plan: Plan, concurrent: int | None) -> Room:
    population = max(
        config_of(plan.base, values).evolution.population_size
        for values in (plan.sweep.space.middle(), *_largest_population(plan))
    )
    return room_for(population, plan.base.resources, nodes_in_reach(plan.base.resources, nodes()), concurrent)


def _largest_population(plan: Plan) -> list[dict[str, object]]:
    field = "evolution.population_size"
    sizes = [p.extremes[-1] for p in plan.sweep.space.parameters if p.field == field]
    return [{**plan.sweep.space.middle(), field: size} for size in sizes]


def _concurrent(args: argparse.Namespace) -> int | None:
    """Trials at once; None where the machine decides."""
    text: str = args.concurrent
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--concurrent {text}: it is `auto` or the number of trials at once, at least 1")
    return int(text)


def _bounded(sweep: SweepFile) -> bool:
    return sweep.run_cap is not None or sweep.method == "grid"


def _notes(plan: Plan) -> list[str]:
    if plan.scheduler == plan.settings.scheduler:
        return []
    return [
        f"{plan.metric.name} is known only when a trial is over: no trial is stopped early "
        f"({plan.settings.scheduler} would need it every generation)"
    ]


def _overrides(args: argparse.Namespace, sweep: SweepFile) -> list[str]:
    named = {"resources.num_cpus": args.num_cpus, "resources.address": args.address}
    smoke = smoke_overrides(sweep) if args.smoke else []
    return [*smoke, *(f"{field}={value}" for field, value in named.items() if value is not None), *args.set]


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


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
    add("file", nargs="?", type=Path, default=DEFAULT_FILE, metavar="FILE", help=f"sweep file; default: {DEFAULT_FILE}")
    add("--config", type=Path, default=DEFAULT_BASE, help=f"config under the trials' values; default: {DEFAULT_BASE}")
    add("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field that the file holds fixed")
    add("--name", help="name of the sweep, a folder under sweeps/; default: date and time")
    add("--samples", type=int, metavar="N", help=f"trials; default: the file's run_cap, its grid, or {DEFAULT_TRIALS}")
    add("--seed", type=int, default=0, metavar="N", help="the search follows from it; default: 0")
    add("--scheduler", choices=NAMES, help="who stops trials early; default: wandb where the file says hyperband")
    add("--concurrent", default="auto", metavar="N", help="trials at once; default: what fits the machine")
    add("--objective", action="append", default=[], metavar="METRIC[:GOAL]",
        help="optimise this instead of the file's metric; several give a Pareto table")  # fmt: skip
    add("--resume", metavar="NAME", help="go on with a sweep that was interrupted")
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
