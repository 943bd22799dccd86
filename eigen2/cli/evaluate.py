"""`eigen2 evaluate RUN`: the champion on validation and hold-out, beside the baselines."""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from eigen2.config import Config
from eigen2.evaluation.examination import CHAMPION, Segment, equity_of, examine, trades_of
from eigen2.learning.agent import Agent, MarketView
from eigen2.market.market import Market
from eigen2.report.plots import plot_equity, plot_fitness
from eigen2.report.tables import Result, results_table, results_text
from eigen2.tracking.expression import evaluate
from eigen2.tracking.jsonl import read_rows
from eigen2.tracking.sink import Row
from eigen2.training.checkpoint import load_genome
from eigen2.training.run_folder import RunFolder
from eigen2.training.session import load_market


def run(args: argparse.Namespace) -> int:
    """Examine the champion of `args.run` and print where everything lies; returns 0."""
    folder, config = RunFolder.open(Path(args.run))
    market, _ = load_market(config)
    console = Console()
    examine_run(folder, config, market, console)
    console.print(f"run folder: {folder.path}", highlight=False)
    return 0


def examine_run(folder: RunFolder, config: Config, market: Market, console: Console) -> Row:
    """Examine a finished run's champion: table, trades, equity and plots into its folder; returns final figures."""
    view = MarketView.of(market, config.rules, torch.device("cpu"))
    champion = Agent(config.agent, config.ddpg, config.rules, view, seed=0)
    champion.become(load_genome(folder.champion))
    segments = examine(market, config, champion.act)

    results: list[Result] = [
        (name, segment.name, figures) for segment in segments for name, figures in segment.figures.items()
    ]
    folder.results.write_text(results_text(results), encoding="utf-8")
    _write_csv(folder.trades, [row for segment in segments for row in trades_of(segment, market)])
    _write_csv(folder.equity, [row for segment in segments for row in equity_of(segment, market)])
    rows = read_rows(folder.metrics)
    plot_fitness(rows, folder.fitness_plot)
    _plot_holdout(segments[-1], market, folder.equity_plot)
    console.print(results_table(results))
    final = _final_figures(segments[0])
    return {**final, "combined_score": evaluate(config.tracking.combined_score, {**rows[-1], **final})}


def _plot_holdout(segment: Segment, market: Market, out: Path) -> None:
    dates = market.dates[segment.days]
    curves = {name: (dates, curve) for name, curve in segment.curves.items()}
    plot_equity(curves, f"One unit of capital on the {segment.name} days", out)


def _final_figures(validation: Segment) -> dict[str, float | int | str]:
    """The run's `final/` metrics: the champion on all validation days. The hold-out is nothing to optimise on."""
    figures = validation.figures[CHAMPION]
    return {
        "final/win_rate": figures["win_rate"],
        "final/avg_trade_duration": figures["avg_trade_duration"],
        "final/sharpe_ratio": figures["sharpe_ratio"],
        "final/total_return": figures["total_return_pct"],
    }


def _write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
