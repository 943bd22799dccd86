"""The look of every figure: palette, panels, and labels at the ends of lines."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's palette: told apart with any colour vision (https://jfly.uni-koeln.de/color/)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, FAINT = "#333333", "#DDDDDD"
SIZE_INCHES, DPI = (9.0, 6.5), 150
LABEL_POINTS = 9.0
OUTLIER_RATIO = 50.0  # largest value over the median from which a linear axis would flatten everything else


def panels(heights: Sequence[float], size_inches: tuple[float, float] = SIZE_INCHES) -> tuple[Figure, list[Axes]]:
    """A figure of panels above each other that share their x axis."""
    figure = blank(size_inches)
    above = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0])
    for panel in above:
        panel.grid(axis="y", color=FAINT, linewidth=0.8)
        panel.set_axisbelow(True)
        panel.margins(x=0.01)
        quiet(panel)
    return figure, above


def blank(size_inches: tuple[float, float]) -> Figure:
    """A figure without panels, whose layout fits everything in."""
    figure = Figure(figsize=size_inches, dpi=DPI, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))
    FigureCanvasAgg(figure)
    return figure


def quiet(panel: Axes) -> None:
    """Leave of a panel's frame only the line below it."""
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(INK)
    panel.tick_params(colors=INK, labelsize=LABEL_POINTS, length=0)


def by_generation(panel: Axes) -> None:
    """An x axis of whole generations."""
    panel.set_xlabel("generation", color=INK)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def by_date(panel: Axes) -> None:
    """An x axis of dates, each told once."""
    locator = AutoDateLocator(minticks=3, maxticks=8)
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def name_figure(figure: Figure, title: str) -> None:
    """A title over the whole figure; none for an empty text."""
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)


def heading(panel: Axes, text: str) -> None:
    panel.set_title(text, loc="left", fontsize=10, color=INK)


def scale(panel: Axes, label: str) -> None:
    """A symmetric log axis where a few huge values, such as the penalty for no trade, would flatten all others."""
    values = np.abs(np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in panel.get_lines()]))
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) and values.max() > OUTLIER_RATIO * np.median(values):
        threshold = 10.0 ** np.ceil(np.log10(np.median(values)))
        panel.set_yscale("symlog", linthresh=threshold, linscale=2)
        panel.yaxis.set_major_formatter("{x:g}")
        label += " (symmetric log)"
    panel.set_ylabel(label, color=INK)


def label_lines(panel: Axes, x: float | None = None) -> None:
    """Write each line's name at its last value, in its colour, instead of a legend; labels never overlap.

    x: where the names begin; none: where each line ends.
    """
    ends = []
    for line in panel.get_lines():
        values = np.asarray(line.get_ydata(), dtype=np.float64)
        finite = np.flatnonzero(np.isfinite(values))
        if len(finite) and not str(line.get_label()).startswith("_"):
            at = finite[-1]
            ends.append((line, line.get_xdata()[at] if x is None else x, values[at]))  # type: ignore[index]
    if not ends:
        return
    panel.figure.draw_without_rendering()  # type: ignore[union-attr]
    heights = [panel.transData.transform((0, value))[1] for _, _, value in ends]
    gap = 1.35 * LABEL_POINTS * panel.figure.dpi / 72
    for (line, start, value), height, shown in zip(ends, heights, spread(heights, gap), strict=True):
        offset = (shown - height) * 72 / panel.figure.dpi
        panel.annotate(
            str(line.get_label()),
            (start, value),
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
