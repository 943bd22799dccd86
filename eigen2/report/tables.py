"""The table of results: how the champion did beside the baselines."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

Result = tuple[str, str, Mapping[str, float]]

TEXT_WIDTH = 100
MISSING = "-"


@dataclass(frozen=True)
class Column:
    """A figure of a score: its heading, its name in the score, the factor to the heading's unit, its decimals."""

    heading: str
    figure: str
    factor: float
    decimals: int


COLUMNS = (
    Column("total\nreturn %", "total_return_pct", 1, 1),
    Column("\nSharpe", "sharpe_ratio", 1, 2),
    Column("\nSortino", "sortino_ratio", 1, 2),
    Column("max\ndrawdown %", "max_drawdown_pct", 1, 1),
    Column("win\nrate %", "win_rate", 100, 0),
    Column("\ntrades", "num_trades", 1, 0),
    Column("bars\nheld", "avg_trade_duration", 1, 0),
    Column("expo-\nsure %", "exposure", 100, 0),
    Column("turn-\nover", "turnover", 1, 1),
)


def columns_in(bar_unit: str) -> tuple[Column, ...]:
    """The columns of a table whose bars are called `bar_unit`."""
    return tuple(replace(column, heading=column.heading.replace("bars", bar_unit)) for column in COLUMNS)


def results_table(rows: Sequence[Result], periods_per_year: float, bar_unit: str) -> Table:
    """A table of (name, segment, figures), grouped by segment in the order given; below it how ratios are annualised.

    Figures are those of a score (`Score.as_dict`): pct figures in %, win_rate and exposure as shares; one that is
    missing or not finite is shown as a dash.
    """
    caption = f"Sharpe and Sortino ratios are annualised: {periods_per_year:g} {bar_unit} a year"
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
        caption=caption,
        caption_style="none",
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    for column in columns_in(bar_unit):
        table.add_column(Text(column.heading), justify="right", no_wrap=True)
    for segment, results in groupby(rows, key=lambda row: row[1]):
        table.add_row(Text(segment, style="bold"))
        for name, _, figures in results:
            table.add_row(Text(f" {name}"), *_cells(figures))
        table.add_section()
    return table


def plain_text(*parts: RenderableType) -> str:
    """Parts below each other as plain text, without escape codes or trailing blanks."""
    console = Console(file=io.StringIO(), width=TEXT_WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part, highlight=False, markup=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _cells(figures: Mapping[str, float]) -> Iterable[str]:
    for column in COLUMNS:
        value = figures.get(column.figure, math.nan)
        yield f"{value * column.factor:.{column.decimals}f}" if math.isfinite(value) else MISSING
