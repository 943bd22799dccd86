"""Plots of a run: fitness by generation, and equity with its drawdown."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from eigen2.files import write_atomically

Curves = Mapping[str, tuple[NDArray[np.datetime64], NDArray[np.float64]]]
Lines = Sequence[tuple[str, str]]  # label, metric

# Okabe and Ito's palette: told apart with any colour vision (https://jfly.uni-koeln.de/color/)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, FAINT = "#333333", "#DDDDDD"
SIZE_INCHES, DPI = (9.0, 6.5), 150
LABEL_POINTS = 9.0
BAND_ALPHA = 0.18
MARKED_POINTS = 30  # up to so many points each is marked
OUTLIER_RATIO = 50.0  # largest value over the median from which a linear axis would flatten everything else


def plot_fitness(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write `fitness_figure` as a PNG, complete or not at all."""
    _save(fitness_figure(rows), out)


def plot_equity(curves: Curves, title: str, out: Path) -> None:
    """Write `equity_figure` as a PNG, complete or not at all."""
    _save(equity_figure(curves, title), out)


def fitness_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Two panels by generation: the population's fitness on training slices, and the best member's on validation.

    `rows` are a run's rows of metrics; a figure that is missing or None leaves a gap.
    """
    figure, (training, validation) = _panels((1, 1))
    _title(figure, "Fitness by generation")
    generations = _series(rows, "generation")
    low, high = _series(rows, "fitness/min"), _series(rows, "fitness/max")
    if len(rows) == 1:
        training.vlines(generations, low, high, color=COLORS[0], alpha=BAND_ALPHA, linewidth=8)
    training.fill_between(generations, low, high, color=COLORS[0], alpha=BAND_ALPHA, linewidth=0)
    _lines(training, rows, (("mean (band: min to max)", "fitness/mean"), ("best ever", "fitness/best_ever")))
    _lines(validation, rows, (("best member", "validation/fitness"), ("best ever", "validation/best_ever")))
    _heading(training, "Training slices, whole population")
    _heading(validation, "Validation slices, never trained on")
    validation.set_xlabel("generation", color=INK)
    validation.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    for panel in (training, validation):
        _scale(panel, "fitness")
        _label_lines(panel)
    return figure


def equity_figure(curves: Curves, title: str) -> Figure:
    """Value of one unit of capital by date, and below it the drawdown from the highest value so far, in %.

    curves: name -> ([L] dates, [L] equity at each day's close). The first curve is drawn boldest.
    """
    figure, (equity_panel, drawdown_panel) = _panels((2.2, 1))
    _title(figure, title)
    for number, (name, (dates, equity)) in enumerate(curves.items()):
        color, width = COLORS[number % len(COLORS)], 2.2 if number == 0 else 1.3
        order = len(curves) - number + 2
        fallen = drawdown_pct(equity)
        equity_panel.plot(dates, equity, color=color, linewidth=width, label=name, zorder=order)
        drawdown_panel.plot(dates, fallen, color=color, linewidth=width * 0.7, label=name, zorder=order)
        if number == 0:
            drawdown_panel.fill_between(dates, fallen, 0, color=color, alpha=BAND_ALPHA, linewidth=0)
    equity_panel.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    _heading(equity_panel, "Equity, one unit of capital at the start")
    _heading(drawdown_panel, "Drawdown, % below the highest value so far")
    equity_panel.set_ylabel("equity", color=INK)
    drawdown_panel.set_ylabel("%", color=INK)
    dates_axis = AutoDateLocator(maxticks=8)
    drawdown_panel.xaxis.set_major_locator(dates_axis)
    drawdown_panel.xaxis.set_major_formatter(ConciseDateFormatter(dates_axis))
    _label_lines(equity_panel)
    return figure


def drawdown_pct(equity: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each day's equity is below the highest so far, [L], in %, 0 or negative; the start at 1 counts."""
    peak = np.maximum(np.maximum.accumulate(equity), 1.0)
    fallen: NDArray[np.float64] = 100 * (equity / peak - 1)
    return fallen


def _panels(heights: tuple[float, float]) -> tuple[Figure, tuple[Axes, Axes]]:
    """A figure of two panels above each other that share their x axis."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    for panel in (upper, lower):
        panel.grid(axis="y", color=FAINT, linewidth=0.8)
        panel.set_axisbelow(True)
        panel.margins(x=0.01)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.spines["bottom"].set_color(INK)
        panel.tick_params(colors=INK, labelsize=LABEL_POINTS, length=0)
    return figure, (upper, lower)


def _title(figure: Figure, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)


def _heading(panel: Axes, text: str) -> None:
    panel.set_title(text, loc="left", fontsize=10, color=INK)


def _series(rows: Sequence[Mapping[str, Any]], metric: str) -> NDArray[np.float64]:
    return np.array([np.nan if row.get(metric) is None else row[metric] for row in rows], dtype=np.float64)


def _lines(panel: Axes, rows: Sequence[Mapping[str, Any]], lines: Lines) -> None:
    generations = _series(rows, "generation")
    marker = "o" if len(rows) <= MARKED_POINTS else None
    for color, (label, metric) in zip(COLORS, lines, strict=False):
        values = _series(rows, metric)
        panel.plot(generations, values, color=color, linewidth=1.8, marker=marker, markersize=3.5, label=label)


def _scale(panel: Axes, label: str) -> None:
    """A symmetric log axis where a few huge values, such as the penalty for no trade, would flatten all others."""
    values = np.abs(np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in panel.get_lines()]))
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) and values.max() > OUTLIER_RATIO * np.median(values):
        threshold = 10.0 ** np.ceil(np.log10(np.median(values)))
        panel.set_yscale("symlog", linthresh=threshold, linscale=2)
        panel.yaxis.set_major_formatter("{x:g}")
        label += " (symmetric log)"
    panel.set_ylabel(label, color=INK)


def _label_lines(panel: Axes) -> None:
    """Write each line's name at its last value, in its colour, instead of a legend; labels never overlap."""
    ends = []
    for line in panel.get_lines():
        values = np.asarray(line.get_ydata(), dtype=np.float64)
        finite = np.flatnonzero(np.isfinite(values))
        if len(finite) and not str(line.get_label()).startswith("_"):
            at = finite[-1]
            ends.append((line, line.get_xdata()[at], values[at]))  # type: ignore[index]
    if not ends:
        return
    panel.figure.draw_without_rendering()  # type: ignore[union-attr]
    heights = [panel.transData.transform((0, value))[1] for _, _, value in ends]
    gap = 1.35 * LABEL_POINTS * panel.figure.dpi / 72
    for (line, x, value), height, shown in zip(ends, heights, spread(heights, gap), strict=True):
        offset = (shown - height) * 72 / panel.figure.dpi
        panel.annotate(
            str(line.get_label()),
            (x, value),
            xytext=(6, offset),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            fontsize=LABEL_POINTS,
            annotation_clip=False,
        )


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Positions moved as little as it takes to lie at least `gap` apart, their order kept."""
    order = np.argsort(positions, kind="stable")
    # isotonic regression of the positions less their gaps: blocks that would collide share their mean
    blocks: list[list[float]] = []
    for rank, number in enumerate(order):
        blocks.append([positions[number] - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = [float(np.mean(block)) for block in blocks for _ in block]
    moved = [0.0] * len(positions)
    for rank, number in enumerate(order):
        moved[number] = level[rank] + rank * gap
    return moved


def _save(figure: Figure, out: Path) -> None:
    image = io.BytesIO()
    figure.savefig(image, format="png", facecolor="white")
    write_atomically(out, image.getvalue())
