"""`eigen2 evaluate`: the verdict on a run's champion; or a study that trains anew, by windows or by seeds."""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console, RenderableType

from eigen2.config import Config
from eigen2.errors import ConfigError, RunError, concerning
from eigen2.evaluation.assessment import COSTS_BPS, Assessment, assess
from eigen2.evaluation.examination import CHAMPION, Segment, equity_of, examine, trades_of
from eigen2.evaluation.verdict import verdict, verdict_on_other_data
from eigen2.files import write_atomically, write_csv, writing_into
from eigen2.learning.agent import Agent, MarketView
from eigen2.market.build import load_market
from eigen2.market.market import Market
from eigen2.report.judgement import judgement_table
from eigen2.report.plots import plot_equity, plot_fitness
from eigen2.report.tables import Result, plain_text, results_table
from eigen2.tracking.expression import value_of
from eigen2.tracking.jsonl import read_whole_rows
from eigen2.tracking.sink import Row
from eigen2.training.provenance import with_data_found
from eigen2.training.run_folder import RunFolder
from eigen2.training.subject import STRICT, Allowed, Subject, subject_of


def run(args: argparse.Namespace) -> int:
    """Carry out the study that the arguments ask for, or examine the champion of `args.run`; returns 0."""
    if args.walk_forward or args.seeds:
        # a study trains, and training ends with an examination: it stands above this module
        from eigen2.cli.study import run_study

        return run_study(args)
    if args.set:
        raise ConfigError("--set is for --walk-forward and --seeds, which train; a run keeps its config")
    folder, config = RunFolder.open(Path(args.run), args.trust)
    console = Console()
    with folder.held():
        market, _ = load_market(with_data_found(folder, config, args.data))
        allowed = Allowed(data=args.other_data, code=args.other_code)
        results = examined(folder, config, market, console, allowed).folder
    console.print(f"run folder: {results.path}", highlight=False, markup=False, soft_wrap=True)
    return 0


def examine_run(folder: RunFolder, config: Config, market: Market, console: Console) -> Row:
    """Examine a run's champion: verdict, tables, trades, equity and plots into its folder; returns the final figures.

    Opens the hold-out, which is counted where it shows anything new.
    """
    return examined(folder, config, market, console).final


@dataclass(frozen=True)
class Examined:
    """What an examination left: the folder of its files, and the run's final figures."""

    folder: RunFolder
    final: Row


def examined(
    folder: RunFolder, config: Config, market: Market, console: Console, allowed: Allowed = STRICT
) -> Examined:
    """As `examine_run`. On other data than the run's, if that is allowed, everything goes to a folder of its own.

    Raises RunError where data or code are others than the run's, unless they are allowed to be.
    """
    subject = subject_of(folder, config, market, allowed)
    view = MarketView.of(market, config.rules, torch.device("cpu"))
    champion = Agent(config.agent, config.ddpg, config.rules, view, seed=0)
    with concerning(f"genome {subject.origin}"):
        champion.load_genome(subject.genome)
    rows, candidates = read_whole_rows(folder.metrics, subject.generations), subject.candidates()
    if not rows or (subject.generations is None and len(rows) != config.run.num_generations):
        raise RunError(
            f"{folder.metrics}: has the rows of {len(rows)} generations, but the run has {config.run.num_generations}; "
            f"`eigen2 train --resume {folder.path}` says how they come back"
        )
    results = subject.results
    openings = results.open_holdout(subject.look)
    segments = examine(market, config, champion.act, COSTS_BPS)
    assessment = assess(segments, market, candidates, openings, config.run.sweep_trials, config.run.seed)

    with writing_into(results.path):
        write_csv(results.trades, [row for segment in segments for row in trades_of(segment, market)])
        write_csv(results.equity, [row for segment in segments for row in equity_of(segment, market)])
        plot_fitness(rows, results.fitness_plot)
        _plot_holdout(segments[-1], market, results.equity_plot)
        _tell(assessment, subject, console)
    final = _final_figures(segments[0])
    score = value_of(config.tracking.combined_score, {**rows[-1], **final})
    return Examined(results, final if score is None else {**final, "combined_score": score})


def _tell(assessment: Assessment, subject: Subject, console: Console) -> None:
    """Print the verdict and the tables; write them as results.txt, and everything as evaluation.json."""
    sentences = verdict_on_other_data(assessment, subject.other_data) if subject.other_data else verdict(assessment)
    sentences = [*sentences, *subject.notes]
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
    folder = subject.results
    write_atomically(folder.results, plain_text(*told).encode())
    evaluation = {**asdict(assessment), "verdict": sentences, "look": subject.look}
    content = json.dumps(evaluation, indent=1, allow_nan=False)
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
