"""`eigen2 data check` and `eigen2 data fetch`."""

import argparse
from datetime import date
from pathlib import Path

from rich.console import Console

from eigen2.config import load_config
from eigen2.market.build import build_market
from eigen2.market.fetch import fetch_bars


def run(args: argparse.Namespace) -> int:
    """Carry out `args.action`; returns 0."""
    return _check(args) if args.action == "check" else _fetch(args)


def _check(args: argparse.Namespace) -> int:
    config = load_config(None, [f"data.source={args.file}", *args.set])
    market, report = build_market(
        config.data, config.features, config.splits, config.agent.context_days, config.slice_days
    )
    console = Console()
    console.print(report.to_text(), markup=False, highlight=False)
    spans = {
        "training": market.splits.training,
        "validation": market.splits.validation,
        "hold-out": market.splits.holdout,
    }
    for name, span in spans.items():
        first, last = market.dates[span.first], market.dates[span.last]
        console.print(f"{name}: {span.days} {market.bar_unit}, {first} to {last}", highlight=False)
    return 0


def _fetch(args: argparse.Namespace) -> int:
    out = Path(args.out)
    fetch_bars(args.tickers, args.start, args.end or date.today().isoformat(), out)
    Console().print(f"written to {out}; look at it with: eigen2 data check {out}", highlight=False)
    return 0
