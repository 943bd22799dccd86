"""Does it learn what is there, and nothing where nothing is? `python -m benchmarks.learning`

Populations are trained on planted markets, and their champions, chosen on validation, are measured on hold-out slices.
Finished runs are kept in the output folder: a benchmark that was cut short goes on where it was.
"""

import argparse
import io
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.learning_tables import plot, tables
from benchmarks.markets import MARKETS, planted
from benchmarks.yardstick import Yardstick
from eigen2.config import Config, config_from_dict
from eigen2.errors import ConfigError
from eigen2.learning.agent import Agent, MarketView
from eigen2.learning.genome import genome_of
from eigen2.training.checkpoint import Archive, generations_saved
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import Session, train
from eigen2.training.vault import CHAMPION

GENERATIONS = 10
BASE: dict[str, Any] = {
    "max_holding_period": 10,
    "cost_bps": 0.0,
    "inaction_penalty": 0.0,
    "validation_days": 400,
    "holdout_days": 600,
    "training_slices": 10,
    "worst_slices": 8,
    "validation_slices": 5,
    "population_size": 8,
    "num_generations": GENERATIONS,
    "gradient_steps_per_generation": 32,
    "batch_size": 192,
    "gradient_accumulation_steps": 1,
    # ten generations are few: large steps that soon grow small, before the training days are known by heart
    "actor_lr": 0.001,
    "critic_lr": 0.002,
    "lr_decay": 0.8,
    "tau": 0.05,
    # wide exploration that does not fade, all of it remembered: members who agree would buy the same few stocks
    "noise_scale": 0.5,
    "noise_decay": 1.0,
    "buffer_size": 100_000,
    "keep": GENERATIONS,
    "wandb_mode": "disabled",
    "progress": False,
}
SWEEPS_MIDDLE: dict[str, Any] = {
    "actor_lr": 0.00007,
    "critic_lr": 0.0003,
    "lr_decay": 1.0,
    "tau": 0.005,
    "gradient_steps_per_generation": 48,
    "batch_size": 4,
    "gradient_accumulation_steps": 8,
}
UPPER_RATES = {"actor_lr": 0.0005, "critic_lr": 0.001}
UPPER_WORK = {"gradient_steps_per_generation": 96, "batch_size": 8, "gradient_accumulation_steps": 12, "tau": 0.01}
# what a row changes of it; the last three are from the sweep file's ranges, which know no lr_decay
ROWS: dict[str, dict[str, Any]] = {
    "ERL": {},
    "DDPG alone": {"elite_share": 1.0},
    # nobody to teach an heir anything, and no lead so small that selection would wait for another
    "evolution alone": {"gradient_steps_per_generation": 0, "crossover_steps": 0, "min_lead": 0.0},
    "ERL, sweep's middle": SWEEPS_MIDDLE,
    "ERL, sweep's upper rates": {**SWEEPS_MIDDLE, **UPPER_RATES},
    "ERL, sweep's upper end": {**SWEEPS_MIDDLE, **UPPER_RATES, **UPPER_WORK},
}
MAIN_ROWS = ("ERL", "DDPG alone", "evolution alone")
APART = 1_000  # seeds of two trainings on one market differ by as much: no other market's run has them


@dataclass(frozen=True)
class Task:
    """One run: a row on a market, both made from the seed; changed: further fields of the config.

    training: of how many times the row is trained on that market, each with random numbers of its own.
    """

    market: str
    row: str
    seed: int
    changed: tuple[tuple[str, Any], ...] = ()
    training: int = 0

    def config(self) -> Config:
        seed = self.seed + APART * self.training
        return config_from_dict({**BASE, **dict(self.changed), **ROWS[self.row], "seed": seed}, "the benchmark")


@dataclass(frozen=True)
class Result:
    """What a run reached: skill of the champion after each generation, and how the market's policies do.

    noise_errors: the champion's fitness less that of random agents who trade on the same days in the same sizes, in
    standard deviations of theirs; seconds: of the training, on one core.
    """

    task: Task
    skill: list[float]
    observer: float | None
    rule: float | None
    noise_errors: float
    seconds: float


def run(task: Task) -> Result:
    """Train and measure in this process, on one thread."""
    torch.set_num_threads(1)
    config = task.config()
    made = planted(task.market, task.seed)
    market = made.market(config)
    yardstick = Yardstick.of(made, market, replace(task, training=0).config())
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path))
        session = Session(config, folder, 0, {}, Console(file=io.StringIO()))
        started = time.monotonic()
        train(config, market, folder, LocalRuntime(), Share, session)
        seconds = time.monotonic() - started
        champions = list(_champions(folder, config, MarketView.of(market, config.rules, torch.device("cpu"))))
    skill = [yardstick.skill(float(yardstick.ledger_of(agent).fitness.mean())) for agent in champions]
    policies = [None if p is None else yardstick.skill(yardstick.fitness_of(p)) for p in (made.observer, made.rule)]
    return Result(task, skill, policies[0], policies[1], yardstick.noise_errors(champions[-1]), seconds)


def _champions(folder: RunFolder, config: Config, view: MarketView) -> Iterator[Agent]:
    """The champion as it stood after each generation."""
    archive = Archive(folder.checkpoints, keep=GENERATIONS)
    for generation in generations_saved(folder.checkpoints):
        agent = Agent(config.agent, config.ddpg, config.rules, view, seed=0)
        agent.load_genome(genome_of(archive.load(generation).parts[CHAMPION]))
        yield agent


def run_all(tasks: Sequence[Task], kept: Path, jobs: int, console: Console) -> list[Result]:
    """The results of all tasks, those in the file `kept` without running them again; each is added as it comes."""
    results = {result.task: result for result in _read(kept)}
    left = [task for task in tasks if task not in results]
    # spawned, not forked: torch's threads do not survive a fork
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool, Progress(console=console) as bar:
        shown = bar.add_task("runs", total=len(tasks), completed=len(tasks) - len(left))
        for future in as_completed([pool.submit(run, task) for task in left]):
            result = future.result()
            results[result.task] = result
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            bar.advance(shown)
    return [results[task] for task in tasks]


def _read(kept: Path) -> Iterator[Result]:
    if not kept.exists():
        return
    for line in kept.read_text(encoding="utf-8").splitlines():
        saved = json.loads(line)
        task = saved.pop("task")
        changed = tuple((name, value) for name, value in task.pop("changed"))
        yield Result(Task(**task, changed=changed), **saved)


def main() -> None:
    args = _arguments()
    runs = product(args.markets, args.rows, range(args.seeds), range(args.trainings))
    tasks = [Task(market, row, seed, args.set, training) for market, row, seed, training in runs]
    args.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    results = run_all(tasks, args.out / "runs.jsonl", args.jobs, console)
    text = tables(results)
    (args.out / "tables.md").write_text(text, encoding="utf-8")
    plot(results, args.out / "learning.png")
    console.print(text, highlight=False, markup=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train on planted markets; print and save tables and a plot of skill.")
    parser.add_argument("--markets", nargs="+", choices=list(MARKETS), default=list(MARKETS))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(MAIN_ROWS))
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0..N-1, each a market and a run of its own")
    parser.add_argument("--trainings", type=int, default=1, help="runs on each market, with other random numbers each")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="further fields, for all rows")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, each on one core")
    parser.add_argument("--out", type=Path, default=Path("runs/learning"), help="folder of tables, plot and results")
    args = parser.parse_args()
    for name in ("seeds", "trainings", "jobs"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}, and must be at least 1")
    try:
        args.set = tuple((name, json.loads(value)) for name, _, value in (pair.partition("=") for pair in args.set))
        for row in args.rows:
            Task(args.markets[0], row, 0, args.set).config()
    except (ConfigError, json.JSONDecodeError) as error:
        parser.error(f"--set takes FIELD=VALUE with a value as in JSON: {error}")
    return args


if __name__ == "__main__":
    main()
