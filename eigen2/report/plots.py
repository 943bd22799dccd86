"""Plots of a run: fitness by generation, and equity with its drawdown."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eigen2.files import write_atomically
from eigen2.report.style import (
    COLORS,
    INK,
    SIZE_INCHES,
    by_date,
    by_generation,
    heading,
    label_lines,
    name_figure,
    panels,
    scale,
)

Curves = Mapping[str, tuple[NDArray[np.datetime64], NDArray[np.float64]]]
Lines = Sequence[tuple[str, str]]  # label, metric

BAND_ALPHA = 0.18
MARKED_POINTS = 30  # up to so many points each is marked


def plot_fitness(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write `fitness_figure` as a PNG, complete or not at all."""
    _save(fitness_figure(rows), out)


def plot_equity(curves: Curves, title: str, out: Path) -> None:
    """Write `equity_figure` as a PNG, complete or not at all."""
    _save(equity_figure(curves, title), out)


def fitness_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Two panels by generation: the population's fitness on training slices; contender and champion on validation.

    `rows` are a run's rows of metrics; a figure that is missing or None leaves a gap.
    """
    figure, (training, validation) = panels((1, 1))
    name_figure(figure, "Fitness by generation")
    generations = _series(rows, "generation")
    low, high = _series(rows, "fitness/min"), _series(rows, "fitness/max")
    if len(rows) == 1:
        training.vlines(generations, low, high, color=COLORS[0], alpha=BAND_ALPHA, linewidth=8)
    training.fill_between(generations, low, high, color=COLORS[0], alpha=BAND_ALPHA, linewidth=0)
    _lines(
        training,
        rows,
        (("mean (band: min to max)", "fitness/mean"), ("best so far, any episodes", "fitness/best_ever")),
    )
    _lines(validation, rows, (("contender", "validation/fitness"), ("champion", "validation/champion")))
    heading(training, "Training slices, drawn anew each generation, whole population")
    heading(validation, "Validation slices, never trained on")
    by_generation(validation)
    for panel in (training, validation):
        scale(panel, "fitness")
        label_lines(panel)
    return figure


def equity_figure(curves: Curves, title: str = "", size_inches: tuple[float, float] = SIZE_INCHES) -> Figure:
    """Value of one unit of capital by date, and below it the drawdown from the highest value so far, in %.

    curves: name -> ([L] dates, [L] equity at each day's close). The first curve is drawn boldest.
    """
    figure, (equity_panel, drawdown_panel) = panels((2.2, 1), size_inches)
    name_figure(figure, title)
    for number, (name, (dates, equity)) in enumerate(curves.items()):
        color, width = COLORS[number % len(COLORS)], 2.2 if number == 0 else 1.3
        order = len(curves) - number + 2
        fallen = drawdown_pct(equity)
        equity_panel.plot(dates, equity, color=color, linewidth=width, label=name, zorder=order)
        drawdown_panel.plot(dates, fallen, color=color, linewidth=width * 0.7, label=name, zorder=order)
        if number == 0:
            drawdown_panel.fill_between(dates, fallen, 0, color=color, alpha=BAND_ALPHA, linewidth=0)
    equity_panel.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    heading(equity_panel, "Equity, one unit of capital at the start")
    heading(drawdown_panel, "Drawdown, % below the highest value so far")
    equity_panel.set_ylabel("equity", color=INK)
    drawdown_panel.set_ylabel("%", color=INK)
    by_date(drawdown_panel)
    label_lines(equity_panel)
    return figure


def drawdown_pct(equity: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each day's equity is below the highest so far, [L], in %, 0 or negative; the start at 1 counts."""
    peak = np.maximum(np.maximum.accumulate(equity), 1.0)
    fallen: NDArray[np.float64] = 100 * (equity / peak - 1)
    return fallen


def _series(rows: Sequence[Mapping[str, Any]], metric: str) -> NDArray[np.float64]:
    return np.array([np.nan if row.get(metric) is None else row[metric] for row in rows], dtype=np.float64)


def _lines(panel: Axes, rows: Sequence[Mapping[str, Any]], lines: Lines) -> None:
    generations = _series(rows, "generation")
    marker = "o" if len(rows) <= MARKED_POINTS else None
    for color, (label, metric) in zip(COLORS, lines, strict=False):
        values = _series(rows, metric)
        panel.plot(generations, values, color=color, linewidth=1.8, marker=marker, markersize=3.5, label=label)


def _save(figure: Figure, out: Path) -> None:
    image = io.BytesIO()
    figure.savefig(image, format="png", facecolor="white")
    write_atomically(out, image.getvalue())
