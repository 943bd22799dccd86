"""`eigen2 train`: train a population, then examine its champion.

What takes seconds to start runs side by side: a local Ray, and the import of torch.
"""

import argparse
import importlib
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from eigen2.cloud.cost import Budget, Ledger
from eigen2.cloud.places import cost_file
from eigen2.config import Config, RunConfig
from eigen2.config.trust import load_named_config
from eigen2.errors import ConfigError
from eigen2.market.build import load_market
from eigen2.market.cleaning import DataReport
from eigen2.market.market import Market
from eigen2.tracking.expression import check
from eigen2.trading.geometry import geometry_warnings
from eigen2.training.cluster import connect
from eigen2.training.metrics import NUMBERS
from eigen2.training.provenance import require_same, with_data_found
from eigen2.training.resume import Resume
from eigen2.training.room import Room
from eigen2.training.run_folder import RunFolder
from eigen2.training.storage import fetch_run


def run(args: argparse.Namespace) -> int:
    """Train or resume as the arguments say; returns 0 when the run is done."""
    console = Console(stderr=True)
    budget = Budget(Ledger(cost_file()), args.max_cost, args.max_hours)
    resume = _resume(args)
    if resume:
        with resume.folder.held():
            config = with_data_found(resume.folder, resume.config)
            market = load_checked(config)
            require_same(resume.folder, market[0])
            folder = _trained(config, market, resume, console, budget)
    else:
        config = load_named_config(_config_path(args), _overrides(args))
        folder = _trained(config, load_checked(config), None, console, budget)
    Console().print(f"run folder: {folder.path}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _trained(
    config: Config, market: tuple[Market, DataReport], resume: Resume | None, console: Console, budget: Budget
) -> RunFolder:
    warn_of_geometry(config, market[0], console)
    join_cluster(config, console)
    from eigen2.cli.training import train_run

    return train_run(config, market, resume, console, budget)


def load_checked(config: Config) -> tuple[Market, DataReport]:
    """The market of a config whose `combined_score` can be worked out, before anything is started."""
    check(config.tracking.combined_score, NUMBERS)
    return load_market(config)


def warn_of_geometry(config: Config, market: Market, console: Console) -> None:
    """Warn, before anything is trained, where the number of stocks leaves an agent no choice."""
    for warning in geometry_warnings(config.rules, len(market.stocks)):
        console.print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=True)


def join_cluster(config: Config, console: Console) -> None:
    """Join or start Ray and say where its dashboard is. Raises ResourceError where the population can't fit.

    From here on SIGTERM stops the command as Ctrl-C does.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ThreadPoolExecutor(1) as background:
        # not the other way round: what Ray starts dies with the thread that started it
        loading = background.submit(importlib.import_module, "eigen2.cli.training")
        dashboard = connect(config.resources)
        loading.result()
    # what can't fit is said before a folder is made
    room = Room(config.evolution.population_size, config.resources)
    room.wait(lambda message: console.print(message, highlight=False, markup=False))
    if dashboard:
        console.print(f"Ray dashboard: http://{dashboard}", highlight=False)


def _resume(args: argparse.Namespace) -> Resume | None:
    if not args.resume:
        if args.trust:
            raise ConfigError("--trust is for --resume: leave it out")
        return None
    if args.config or args.name:
        raise ConfigError("--resume takes the run's own config: leave out CONFIG and --name")
    if "://" not in args.resume:
        return Resume.find(args.resume, args.trust).with_options(_overrides(args))
    resume = Resume.find(_brought_home(args.resume), args.trust)
    asked = args.storage or args.resume.rstrip("/").rpartition("/")[0]  # the storage that the run comes from
    return resume.with_options([*_overrides(args), f"checkpoint.storage={asked}"])


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
