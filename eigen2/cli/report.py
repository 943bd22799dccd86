"""`eigen2 report RUN`: one HTML page about a run, examined first where it was not."""

import argparse
from pathlib import Path

from rich.console import Console

from eigen2.cli.evaluate import examine_run
from eigen2.errors import RunError, printable
from eigen2.files import write_atomically
from eigen2.market.build import load_market
from eigen2.market.market import Market
from eigen2.report.page import most_traded, page_of
from eigen2.report.records import (
    Curve,
    RunRecord,
    Trade,
    births_of,
    importance_of,
    read_equity,
    read_evaluation,
    read_text,
    read_trades,
)
from eigen2.tracking.jsonl import read_whole_rows
from eigen2.training.provenance import with_data_found
from eigen2.training.run_folder import RunFolder
from eigen2.training.subject import Allowed, Subject, subject_of


def run(args: argparse.Namespace) -> int:
    """Write the page of `args.run` and say where it lies; returns 0."""
    folder, config = RunFolder.open(Path(args.run), args.trust)
    console = Console()
    with folder.held():
        market, _ = load_market(with_data_found(folder, config, args.data))
        subject = subject_of(folder, config, market, Allowed(code=True))
        if not _is_examined(folder, subject):
            examine_run(folder, config, market, console)
        page = page_of(record_of(folder, market, subject.generations))
        try:
            write_atomically(folder.report, page.encode())
        except OSError as error:
            raise RunError(f"{folder.report}: can't be written: {error.strerror}") from error
    console.print(f"report: {folder.report}", highlight=False, markup=False, soft_wrap=True)
    return 0


def record_of(folder: RunFolder, market: Market, generations: int | None = None) -> RunRecord:
    """What the files of an examined run say, with the prices its trades were made at.

    generations: those behind the champion that was examined; None for all there are. Raises RunError naming the file
    that is missing or damaged.
    """
    equity, trades = read_equity(folder.equity), read_trades(folder.trades)
    candidates = read_whole_rows(folder.candidates, generations) if folder.candidates.exists() else []
    return RunRecord(
        name=folder.path.resolve().name,
        evaluation=read_evaluation(folder.evaluation),
        equity=equity,
        trades=trades,
        metrics=read_whole_rows(folder.metrics, generations),
        births=births_of(read_whole_rows(folder.lineage, generations), folder.lineage),
        columns=market.columns,
        importance=importance_of(candidates, len(market.columns), folder.candidates),
        closes=_closes(market, trades, folder),
        config=read_text(folder.config),
        data_report=read_text(folder.data_report),
    )


def _is_examined(folder: RunFolder, subject: Subject) -> bool:
    """Whether the evaluation is of this champion on these data; the code may have changed since."""
    if not folder.evaluation.exists():
        return False
    look = read_evaluation(folder.evaluation).look
    return all(look.get(part) == subject.look[part] for part in ("champion", "config", "market"))


def _closes(market: Market, trades: list[Trade], folder: RunFolder) -> dict[str, Curve]:
    """Closes of the stocks that the page shows, on validation and hold-out days."""
    days = slice(market.splits.validation.first, market.splits.holdout.last + 1)
    closes = {}
    for stock in most_traded(trades):
        if stock not in market.columns:
            raise RunError(f"{folder.trades}: trades {printable(stock)}, which is no column of the run's market")
        closes[stock] = (market.dates[days], market.prices.close[days, market.columns.index(stock)])
    return closes
