"""The page of a run: one HTML file that needs nothing else, the verdict first."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from eigen2.report.charts import family_figure, importance_figure, population_figure, trades_figure
from eigen2.report.family import Family, champion_of, family_of
from eigen2.report.months import Year, monthly_returns
from eigen2.report.plots import equity_figure
from eigen2.report.records import CHAMPION, HOLDOUT, RANDOM, VALIDATION, Birth, Curve, Number, RunRecord, Trade
from eigen2.report.svg import for_pages, svg_of
from eigen2.report.tables import COLUMNS, columns_in

STOCKS_SHOWN = 5  # on the price charts
COLUMNS_SHOWN = 30  # in the chart of column importance
EQUITY_INCHES = (9.0, 5.4)
COST_FIGURES = ("total_return_pct", "sharpe_ratio", "max_drawdown_pct")
SPLITS = (HOLDOUT, VALIDATION)  # in the order of the page
STRONGEST_SHADE_PCT = 10.0  # monthly return from which a cell has the full colour
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def page_of(run: RunRecord) -> str:
    """The whole page of a run as HTML. Text of the run's files is shown as text, whatever it holds."""
    champion = champion_of(run.births)
    family = family_of(run.births, champion.name)
    with for_pages():
        figures = _figures(run, champion, family)
    environment = Environment(
        loader=PackageLoader("eigen2.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "pct": pct, "shade": shade, "times": times}
    return environment.get_template("page.html").render(
        run=run,
        evaluation=run.evaluation,
        figures=figures,
        splits=SPLITS,
        holdout=HOLDOUT,
        validation=VALIDATION,
        columns=columns_in(run.evaluation.bar_unit),
        cost_columns=[column for column in COLUMNS if column.figure in COST_FIGURES],
        months=[(split, name, year) for split in SPLITS for name, year in _months(run.equity[split])],
        champion=champion,
        family=family,
        trades=_trade_counts(run.trades),
        stocks=most_traded(run.trades),
        **_importance(run),
    )


def most_traded(trades: list[Trade], shown: int = STOCKS_SHOWN) -> list[str]:
    """The stocks with the most trades, most first; of equals those bought first."""
    return [stock for stock, _ in Counter(trade.stock for trade in trades).most_common(shown)]


def number(value: Number, decimals: int = 2, factor: float = 1.0) -> str:
    """A figure with a fixed number of decimals, or a dash where it is none."""
    if value is None or not math.isfinite(value):
        return DASH
    shown = round(value * factor, decimals) + 0.0  # what rounds to zero has no sign
    return f"{shown:,.{decimals}f}".replace("-", MINUS)


def signed(value: Number, decimals: int = 1) -> str:
    """A figure that always has a sign, apart from zero."""
    text = number(value, decimals)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.") else text


def pct(probability: Number) -> str:
    """A share of 1 in %; what is not quite none or all is told so."""
    if probability is None or not math.isfinite(probability):
        return DASH
    if 0 < probability < 0.005:
        return "under 1 %"
    if 0.995 <= probability < 1:
        return "over 99 %"
    return f"{100 * probability:.0f} %"


def times(count: int) -> str:
    """How often, in words where there are some."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def shade(value: float) -> str:
    """The ground of a cell with a return in %: blue for gains, orange for losses, stronger for larger ones."""
    strength = min(abs(value) / STRONGEST_SHADE_PCT, 1.0)
    red, green, blue = (0, 114, 178) if value >= 0 else (213, 94, 0)
    return f"rgba({red}, {green}, {blue}, {0.06 + 0.5 * strength:.2f})"


def _figures(run: RunRecord, champion: Birth, family: Family) -> dict[str, Markup]:
    """The page's figures by name, each with a text for those who can't see it."""
    made: dict[str, tuple[Callable[[], Figure], str]] = {
        f"equity-{split}": (_equity(run.equity[split]), _equity_text(run, split)) for split in SPLITS
    }
    made["population"] = (
        lambda: population_figure(run.births, champion),
        "Fitness of every member by generation, on training and on validation slices.",
    )
    made["family"] = (
        lambda: family_figure(run.births, family),
        f"Family tree of the champion, slot {champion.member} of generation {champion.generation}, "
        f"with {len(family.shares) - 1} ancestors.",
    )
    if len(run.importance):
        made["importance"] = (
            lambda: importance_figure(run.columns, run.importance, COLUMNS_SHOWN),
            "Attention to each column by generation, in units of an equal share.",
        )
    stocks = most_traded(run.trades)
    if stocks:
        closes = {stock: run.closes[stock] for stock in stocks}
        begins = run.equity[HOLDOUT][CHAMPION][0][0]
        made["trades"] = (
            lambda: trades_figure(closes, run.trades, begins),
            f"Prices of {', '.join(stocks)} with the champion's purchases and sales.",
        )
    return {name: svg_of(make(), name, text) for name, (make, text) in made.items()}


def _equity(curves: Mapping[str, Curve]) -> Callable[[], Figure]:
    return lambda: equity_figure(curves, size_inches=EQUITY_INCHES)


def _equity_text(run: RunRecord, split: str) -> str:
    ends = ", ".join(f"{name} {curve[-1]:.3f}" for name, (_, curve) in run.equity[split].items())
    return f"Equity of one unit of capital on {split} and its drawdown; at the end: {ends}."


def _months(curves: Mapping[str, Curve]) -> list[tuple[str, Year]]:
    return [(name, year) for name, curve in curves.items() if name != RANDOM for year in monthly_returns(*curve)]


def _trade_counts(trades: list[Trade]) -> dict[str, Any]:
    """How many trades ended how: (reason, number), most first; and how many stocks were ever bought."""
    return {
        "reasons": Counter(trade.reason for trade in trades).most_common(),
        "stocks": len({trade.stock for trade in trades}),
    }


def _importance(run: RunRecord) -> dict[str, Any]:
    """The column with most attention in the last generation, how many equal shares it gets, how many are drawn."""
    if not len(run.importance):
        return {}
    last = run.importance[-1]
    top = int(np.argmax(last))
    return {
        "top_column": run.columns[top],
        "top_share": float(last[top] * len(last)),
        "drawn": min(COLUMNS_SHOWN, len(last)),
    }
