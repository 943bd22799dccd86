"""`eigen2 evaluate`: the verdict on a run's champion; or a study that trains anew, by windows or by seeds."""

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console, RenderableType

from eigen2.config import Config
from eigen2.errors import ConfigError, concerning
from eigen2.evaluation.assessment import COSTS_BPS, Assessment, assess
from eigen2.evaluation.examination import CHAMPION, Segment, equity_of, examine, trades_of
from eigen2.evaluation.verdict import verdict
from eigen2.files import write_atomically
from eigen2.learning.agent import Agent, MarketView
from eigen2.market.build import load_market
from eigen2.market.market import Market
from eigen2.report.judgement import judgement_table
from eigen2.report.plots import plot_equity, plot_fitness
from eigen2.report.tables import Result, plain_text, results_table
from eigen2.tracking.expression import value_of
from eigen2.tracking.jsonl import read_rows
from eigen2.tracking.sink import Row
from eigen2.training.candidates import read_candidates
from eigen2.training.checkpoint import load_genome
from eigen2.training.run_folder import RunFolder


def run(args: argparse.Namespace) -> int:
    """Carry out the study that the arguments ask for, or examine the champion of `args.run`; returns 0."""
    if args.walk_forward or args.seeds:
        # a study trains, and training ends with an examination: it stands above this module
        from eigen2.cli.study import run_study

        return run_study(args)
    if args.set:
        raise ConfigError("--set is for --walk-forward and --seeds, which train; a run keeps its config")
    folder, config = RunFolder.open(Path(args.run))
    market, _ = load_market(config)
    console = Console()
    examine_run(folder, config, market, console)
    console.print(f"run folder: {folder.path}", highlight=False)
    return 0


def examine_run(folder: RunFolder, config: Config, market: Market, console: Console) -> Row:
    """Examine a finished run's champion: verdict, tables, trades, equity and plots into its folder.

    Opens the hold-out, which is counted. Returns the final figures.
    """
    view = MarketView.of(market, config.rules, torch.device("cpu"))
    champion = Agent(config.agent, config.ddpg, config.rules, view, seed=0)
    genome = load_genome(folder.champion)
    with concerning(f"genome {folder.champion}"):
        champion.load_genome(genome)
    candidates = read_candidates(folder.candidates) if folder.candidates.exists() else None
    rows = read_rows(folder.metrics)
    openings = folder.open_holdout()
    segments = examine(market, config, champion.act, COSTS_BPS)
    assessment = assess(segments, market, candidates, openings, config.run.sweep_trials, config.run.seed)

    _write_csv(folder.trades, [row for segment in segments for row in trades_of(segment, market)])
    _write_csv(folder.equity, [row for segment in segments for row in equity_of(segment, market)])
    plot_fitness(rows, folder.fitness_plot)
    _plot_holdout(segments[-1], market, folder.equity_plot)
    _tell(assessment, folder, console)
    final = _final_figures(segments[0])
    score = value_of(config.tracking.combined_score, {**rows[-1], **final})
    return final if score is None else {**final, "combined_score": score}


def _tell(assessment: Assessment, folder: RunFolder, console: Console) -> None:
    """Print the verdict and the tables; write them as results.txt, and everything as evaluation.json."""
    sentences = verdict(assessment)
    results: list[Result] = [
        (name, segment, figures)
        for segment, assessed in assessment.segments.items()
        for name, figures in assessed.figures.items()
    ]
    told: tuple[RenderableType, ...] = (
        sentences[0],
        "",
        *sentences[1:],
        "",
        results_table(results, assessment.periods_per_year, assessment.bar_unit),
        "",
        judgement_table(assessment),
    )
    folder.results.write_text(plain_text(*told), encoding="utf-8")
    content = json.dumps({**asdict(assessment), "verdict": sentences}, indent=1, allow_nan=False)
    write_atomically(folder.evaluation, f"{content}\n".encode())
    for part in told:
        console.print(part, highlight=False, markup=False)


def _plot_holdout(segment: Segment, market: Market, out: Path) -> None:
    dates = market.dates[segment.days]
    curves = {name: (dates, curve) for name, curve in segment.curves.items()}
    plot_equity(curves, f"One unit of capital on the {segment.name} {market.bar_unit}", out)


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
