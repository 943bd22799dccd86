"""`eigen2 data check` and `eigen2 data fetch`."""

import argparse
import sys
from datetime import date
from pathlib import Path

from eigen2.config import load_config
from eigen2.market.build import build_market
from eigen2.market.fetch import fetch_bars
from eigen2.trading.geometry import geometry_warnings


def run(args: argparse.Namespace) -> int:
    """Carry out `args.action`; returns 0."""
    return _check(args) if args.action == "check" else _fetch(args)


def _check(args: argparse.Namespace) -> int:
    date_format = [] if args.date_format is None else [f"data.date_format={args.date_format}"]
    config = load_config(None, [f"data.source={args.file}", *date_format, *args.set])
    market, report = build_market(
        config.data, config.features, config.splits, config.agent.context_days, config.slice_days
    )
    lines = report.to_text().splitlines()
    lines += ["", *(f"warning: {warning}" for warning in geometry_warnings(config.rules, len(market.stocks)))]
    spans = {
        "training": market.splits.training,
        "validation": market.splits.validation,
        "hold-out": market.splits.holdout,
    }
    for name, span in spans.items():
        first, last = market.dates[span.first], market.dates[span.last]
        lines.append(f"{name}: {span.days} {market.bar_unit}, {first} to {last}")
    lines.append(f"ratios are annualised by {market.periods_per_year:g} {market.bar_unit} a year")
    sys.stdout.writelines(f"{line}\n" for line in lines)  # whole lines, for a reader or a filter
    return 0


def _fetch(args: argparse.Namespace) -> int:
    out = Path(args.out)
    fetch_bars(args.tickers, args.start, args.end or date.today().isoformat(), out)
    sys.stdout.write(f"written to {out}; look at it with: eigen2 data check {out}\n")
    return 0
