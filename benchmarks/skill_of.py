"""The skill of runs on a planted market: `python -m benchmarks.skill_of reversion RUN ...`

For runs of `eigen2 train` or of a sweep on a file of `python -m benchmarks.markets`; skill: see docs/results.md.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.markets import MARKETS, planted
from benchmarks.yardstick import Yardstick
from eigen2.config import Config
from eigen2.learning.agent import Agent, MarketView
from eigen2.learning.genome import genome_of
from eigen2.training.checkpoint import Archive, generations_saved, load_genome
from eigen2.training.run_folder import RunFolder
from eigen2.training.vault import CHAMPION


def skill_of(folder: RunFolder, config: Config, name: str, seed: int) -> float:
    """Where the champion of a run, finished or not, lies between random trading (0) and the oracle (1)."""
    made = planted(name, seed)
    market = made.market(config)
    agent = Agent(config.agent, config.ddpg, config.rules, MarketView.of(market, config.rules, torch.device("cpu")), 0)
    if folder.champion.exists():
        agent.load_genome(load_genome(folder.champion))
    else:
        newest = generations_saved(folder.checkpoints)[-1]
        agent.load_genome(genome_of(Archive(folder.checkpoints, keep=1).load(newest).parts[CHAMPION]))
    yardstick = Yardstick.of(made, market, config)
    return yardstick.skill(float(yardstick.ledger_of(agent).fitness.mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description="The skill of runs on a planted market, on its hold-out slices.")
    parser.add_argument("market", choices=list(MARKETS))
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--seed", type=int, default=0, help="of the market")
    args = parser.parse_args()
    console = Console()
    for path in args.runs:
        folder, config = RunFolder.open(path)
        skill = skill_of(folder, config, args.market, args.seed)
        console.print(f"{path}: skill {skill:.2f}", highlight=False)


if __name__ == "__main__":
    main()
