"""The table of a judgement: how sure a champion's figures are, and what costs make of them."""

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from eigen2.evaluation.assessment import Assessment

Row = tuple[str, ...]


def judgement_table(assessment: Assessment) -> Table:
    """A column a segment: intervals, probabilities of earning more than others, and results at several costs."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("champion", no_wrap=True)
    for name in assessment.segments:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for row in (*_intervals(assessment), *_beats(assessment), *_costs(assessment)):
        table.add_row(*(Text(cell) for cell in row))
    return table


def _intervals(assessment: Assessment) -> Iterator[Row]:
    segments = assessment.segments.values()
    level = next(iter(segments)).level
    for heading, figure, decimals in (("total return %", "total_return_pct", 1), ("Sharpe", "sharpe_ratio", 2)):
        cells = (segment.intervals[figure] for segment in segments)
        yield f"{heading}, {level:.0%} interval", *(f"{low:.{decimals}f} to {high:.{decimals}f}" for low, high in cells)


def _beats(assessment: Assessment) -> Iterator[Row]:
    segments = list(assessment.segments.values())
    for name in segments[0].beats:
        yield f"earns more than {name}, sure by %", *(f"{100 * segment.beats[name]:.0f}" for segment in segments)


def _costs(assessment: Assessment) -> Iterator[Row]:
    for cost, results in assessment.costs.items():
        figures = (results[name] for name in assessment.segments)
        cells = (f"{each['total_return_pct']:.1f}, {each['sharpe_ratio']:.2f}" for each in figures)
        yield f"at {cost} bps a side: return %, Sharpe", *cells
