"""`eigen2 train`: train a population, then examine its champion. Studies train through here as well."""

import argparse
import signal
from pathlib import Path

from rich.console import Console

from eigen2.cli.evaluate import examine_run
from eigen2.cloud.cost import Budget, Ledger, Meter
from eigen2.cloud.places import cost_file
from eigen2.config import Config, RunConfig, load_config
from eigen2.errors import ConfigError
from eigen2.market.cleaning import DataReport
from eigen2.market.market import Market
from eigen2.tracking.expression import check
from eigen2.training.checkpoint import rewind
from eigen2.training.cluster import connect
from eigen2.training.metrics import NUMBERS
from eigen2.training.room import Room
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime
from eigen2.training.session import Resume, Session, load_market, sinks_of, train
from eigen2.training.storage import fetch_run
from eigen2.training.traffic import bytes_a_generation


def run(args: argparse.Namespace) -> int:
    """Train or resume as the arguments say; returns 0 when the run is done."""
    console = Console(stderr=True)
    resume = _resume(args)
    config = resume.config if resume else load_config(_config_path(args), _overrides(args))
    market = load_checked(config)
    join_cluster(config, console)
    folder = train_run(config, market, resume, console, Budget(Ledger(cost_file()), args.max_cost, args.max_hours))
    Console().print(f"run folder: {folder.path}", highlight=False)
    return 0


def load_checked(config: Config) -> tuple[Market, DataReport]:
    """The market of a config whose `combined_score` can be worked out, before anything is started."""
    check(config.tracking.combined_score, NUMBERS)
    return load_market(config)


def join_cluster(config: Config, console: Console) -> None:
    """Join or start Ray and say where its dashboard is. Raises ResourceError where the population can't fit."""
    dashboard = connect(config.resources)
    # what can't fit is said before a folder is made
    _room(config).wait(lambda message: console.print(message, highlight=False, markup=False))
    if dashboard:
        console.print(f"Ray dashboard: http://{dashboard}", highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end is the same as Ctrl-C


def train_run(
    config: Config,
    market_and_report: tuple[Market, DataReport],
    resume: Resume | None,
    console: Console,
    budget: Budget | None = None,
) -> RunFolder:
    """Train what is left of a run on the joined cluster, then examine its champion; returns its folder.

    Raises BudgetSpentError at the first checkpoint after the budget is spent.
    """
    market, report = market_and_report
    folder = resume.folder if resume else RunFolder.create(config)
    folder.data_report.write_text(report.to_text(), encoding="utf-8")
    generation = resume.generation if resume else 0
    rewind(folder.checkpoints, generation)
    _greet(console, config, folder, generation)
    room = _room(config)
    _say_what_travels(config, market, room, console)
    meter, between = Meter(Ledger(cost_file())), budget.check if budget else lambda: None
    session = Session(config, folder, generation, sinks_of(config, folder, resume is not None), console, meter.read)
    try:
        trainer = train(config, market, folder, RayRuntime(), room.fit, session, generation, between)
        summary = examine_run(folder, config, market, Console())
        trainer.flush()
        session.finish(summary, folder.champion)
    except BaseException:
        session.finish({}, None)
        _say_how_to_go_on(console, folder)
        raise
    return folder


def _say_what_travels(config: Config, market: Market, room: Room, console: Console) -> None:
    room.fit()
    if room.away:
        mb = bytes_a_generation(config, market, room.away) / 1e6
        console.print(f"{room.away} members live on other nodes: up to {mb:.1f} MB a generation between them and here")


def _room(config: Config) -> Room:
    return Room(config.evolution.population_size, config.resources)


def _resume(args: argparse.Namespace) -> Resume | None:
    if not args.resume:
        return None
    if args.config or args.name or args.set:
        raise ConfigError("--resume takes the run's own config: leave out CONFIG, --name and --set")
    return Resume.find(_brought_home(args.resume) if "://" in args.resume else args.resume)


def _brought_home(uri: str) -> str:
    """Fetch a run from its storage into the default folder of runs; `RUN@GEN` keeps its @GEN."""
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    run, at, generation = name.partition("@")
    folder = Path(RunConfig().runs_dir) / run
    fetch_run(uri.rstrip("/").removesuffix(at + generation), folder)
    return f"{folder}{at}{generation}"


def _config_path(args: argparse.Namespace) -> Path:
    if not args.config:
        raise ConfigError("name a config, for example configs/quickstart.yaml, or a run with --resume RUN")
    return Path(args.config)


def _overrides(args: argparse.Namespace) -> list[str]:
    named = {"run.name": args.name, "resources.num_cpus": args.num_cpus, "resources.address": args.address}
    named["checkpoint.storage"] = args.storage
    return [*args.set, *(f"{field}={value}" for field, value in named.items() if value is not None)]


def _greet(console: Console, config: Config, folder: RunFolder, generation: int) -> None:
    size, total = config.evolution.population_size, config.run.num_generations
    after = f", going on after generation {generation}" if generation else ""
    console.print(f"run {folder.name}: {size} members, {total} generations{after}", highlight=False)


def _say_how_to_go_on(console: Console, folder: RunFolder) -> None:
    console.print(f"go on from the last checkpoint with: eigen2 train --resume {folder.path}", highlight=False)
