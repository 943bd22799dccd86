"""The figures of the page: the population by generation, the family tree, column importance, trades on prices."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from eigen2.report.family import Family
from eigen2.report.records import Birth, Curve, Trade
from eigen2.report.style import (
    COLORS,
    FAINT,
    INK,
    LABEL_POINTS,
    blank,
    by_date,
    by_generation,
    heading,
    label_lines,
    panels,
    quiet,
    scale,
)

GAIN, LOSS = COLORS[0], COLORS[1]
SWARM_WIDTH = 0.5  # generations over which the members of one are spread
OPERATOR_COLORS = {"keep": INK, "cross": COLORS[0], "mutate": COLORS[1], "champion": COLORS[2]}
OPERATOR_WORDS = {"keep": "kept", "cross": "crossed", "mutate": "mutated", "champion": "champion put back"}
THINNEST_POINTS, THICKEST_POINTS = 0.5, 3.6  # lines of the tree, by their share of the champion's genome
PANEL_INCHES = 1.55  # height of the price chart of one stock


def population_figure(births: Sequence[Birth], champion: Birth) -> Figure:
    """Fitness of every member by generation, on training slices and on validation slices, with mean and best so far."""
    figure, (training, validation) = panels((1, 1))
    generation = np.array([birth.generation for birth in births])
    fitness = np.array([birth.fitness for birth in births], dtype=np.float64)
    checked = np.array([birth.validation_fitness for birth in births], dtype=np.float64)
    x = generation + _swarm(births)
    heading(training, "Training slices, drawn anew each generation, every member a dot")
    heading(validation, "Validation slices, never trained on")
    for panel, values, best in (
        (training, fitness, "best so far, any episodes"),
        (validation, checked, "best so far"),
    ):
        panel.plot(x, values, "o", markersize=3.2, color=COLORS[0], alpha=0.45, markeredgewidth=0, label="_members")
        numbers, means, bests = _by_generation(generation, values)
        panel.plot(numbers, means, color=COLORS[0], linewidth=1.8, label="mean")
        panel.plot(numbers, bests, color=COLORS[1], linewidth=1.3, drawstyle="steps-post", label=best)
    ringed = next(i for i, birth in enumerate(births) if birth.name == champion.name)
    ring = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgecolor": INK, "linestyle": "none"}
    for panel, values in ((training, fitness), (validation, checked)):
        panel.plot([x[ringed]], [values[ringed]], label="_champion", **ring)  # type: ignore[arg-type]
        scale(panel, "fitness")
        label_lines(panel, float(x.max()))
    by_generation(validation)
    return figure


def family_figure(births: Sequence[Birth], family: Family) -> Figure:
    """All members by generation and slot as dots; the champion's ancestors, and the lines from them to it, drawn dark.

    A line is as thick, and an ancestor's dot as large, as its share of the champion's genome.
    """
    slots = 1 + max(birth.member for birth in births)
    figure = blank((9.0, 1.3 + 0.3 * slots))
    panel = figure.subplots()
    panel.plot(*_points([birth.name for birth in births]), "o", markersize=2.5, color=FAINT, label="_others")
    for descent in sorted(family.descents, key=lambda descent: descent.share):
        x, y = _points([descent.parent, descent.child])
        width = THINNEST_POINTS + (THICKEST_POINTS - THINNEST_POINTS) * descent.share
        panel.plot(x, y, color=OPERATOR_COLORS[descent.operator], linewidth=width, alpha=0.35 + 0.65 * descent.share)
    names = list(family.shares)
    sizes = [8 + 55 * family.shares[name] for name in names]
    panel.scatter(*_points(names), s=sizes, color=INK, zorder=3, linewidths=0)
    ring = panel.scatter(*_points([family.champion]), s=190, facecolors="none", edgecolors=INK, zorder=4)
    ring.set_gid("champion-of-the-family")
    panel.annotate("champion", family.champion, xytext=(0, 9), textcoords="offset points", ha="center", color=INK)
    _slots(panel, slots)
    by_generation(panel)
    _operator_legend(panel, {descent.operator for descent in family.descents})
    return figure


def importance_figure(columns: Sequence[str], shares: NDArray[np.float64], shown: int) -> Figure:
    """Attention to each column by generation, in units of an equal share: the `shown` highest at the end, best on top.

    shares: [G, C], each row adds up to 1.
    """
    last = np.argsort(-shares[-1], kind="stable")[:shown]
    equal = shares[:, last].T * shares.shape[1]
    figure = blank((9.0, 1.2 + 0.23 * len(last)))
    panel = figure.subplots()
    reach = max(float(np.abs(equal - 1).max()), 1e-6)
    cells = panel.imshow(equal, cmap="RdBu", vmin=1 - reach, vmax=1 + reach, aspect="auto", interpolation="none")
    panel.set_yticks(range(len(last)), [columns[column] for column in last], fontsize=LABEL_POINTS)
    by_generation(panel)
    quiet(panel)
    panel.spines["bottom"].set_visible(False)
    bar = figure.colorbar(cells, ax=panel, pad=0.01, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=LABEL_POINTS, colors=INK, length=0)
    bar.ax.yaxis.get_major_formatter().set_useOffset(False)  # type: ignore[attr-defined]
    bar.set_label("times an equal share", color=INK, fontsize=LABEL_POINTS)
    return figure


def trades_figure(closes: Mapping[str, Curve], trades: Sequence[Trade], holdout_from: np.datetime64) -> Figure:
    """Each stock's closes with its trades: from entry to exit, full lines for gains and dashed ones for losses.

    closes: stock -> (dates, closes); days from `holdout_from` on have a grey ground.
    """
    figure, above = panels([1.0] * len(closes), (9.0, 0.9 + PANEL_INCHES * len(closes)))
    for panel, (stock, (dates, close)) in zip(above, closes.items(), strict=True):
        own = [trade for trade in trades if trade.stock == stock]
        gains = sum(trade.gain_pct > 0 for trade in own)
        heading(panel, f"{stock}: {len(own)} trades, {gains} with a gain")
        panel.axvspan(date2num(holdout_from), date2num(dates[-1]), color=FAINT, alpha=0.35, linewidth=0)
        panel.plot(dates, close, color=INK, linewidth=0.8, alpha=0.6)
        _draw_trades(panel, [trade for trade in own if trade.gain_pct > 0], GAIN, "solid")
        _draw_trades(panel, [trade for trade in own if trade.gain_pct <= 0], LOSS, (0, (2, 1)))
    by_date(above[-1])
    _trades_legend(above[0])
    return figure


def _swarm(births: Sequence[Birth]) -> NDArray[np.float64]:
    """How far beside its generation each member is drawn, by its slot: no two dots of a generation hide each other."""
    slot = np.array([birth.member for birth in births], dtype=np.float64)
    return SWARM_WIDTH * (slot / max(slot.max(), 1) - 0.5)


def _by_generation(
    generation: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(generations, mean of each, best so far); values that are not finite are left out."""
    fine = np.isfinite(values)
    numbers = np.unique(generation[fine])
    groups = [values[fine & (generation == number)] for number in numbers]
    best = np.maximum.accumulate([group.max() for group in groups])
    return numbers, np.array([group.mean() for group in groups]), best


def _points(names: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [generation for generation, _ in names], [slot for _, slot in names]


def _slots(panel: Axes, slots: int) -> None:
    quiet(panel)
    panel.spines["bottom"].set_visible(False)
    panel.set_ylabel("slot of the population", color=INK)
    panel.set_yticks(range(0, slots, 1 if slots <= 10 else 5))
    panel.set_ylim(slots - 0.4, -1.1)


def _operator_legend(panel: Axes, used: set[str]) -> None:
    lines = [
        Line2D([], [], color=color, linewidth=2, label=OPERATOR_WORDS[operator])
        for operator, color in OPERATOR_COLORS.items()
        if operator in used
    ]
    if lines:
        _legend_above(panel, lines)


def _trades_legend(panel: Axes) -> None:
    none = {"linestyle": "none", "color": INK, "markersize": 5}
    _legend_above(
        panel,
        [
            Line2D([], [], color=GAIN, linewidth=1.8, label="gain"),
            Line2D([], [], color=LOSS, linewidth=1.8, linestyle=(0, (2, 1)), label="loss"),
            Line2D([], [], marker="^", label="bought", **none),  # type: ignore[arg-type]
            Line2D([], [], marker="v", markerfacecolor="white", label="sold", **none),  # type: ignore[arg-type]
        ],
    )


def _legend_above(panel: Axes, lines: list[Line2D]) -> None:
    panel.legend(
        handles=lines,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(lines),
        frameon=False,
        fontsize=LABEL_POINTS,
        labelcolor=INK,
        borderaxespad=0.1,
        handlelength=1.8,
    )


def _draw_trades(panel: Axes, trades: Sequence[Trade], color: str, style: object) -> None:
    entries = [(float(date2num(trade.entry_date)), trade.entry_price) for trade in trades]
    exits = [(float(date2num(trade.exit_date)), trade.exit_price) for trade in trades]
    lines = LineCollection(list(zip(entries, exits, strict=True)), colors=color, linewidths=1.8)
    lines.set_linestyle(style)  # type: ignore[arg-type]
    panel.add_collection(lines)
    if trades:
        panel.plot(*zip(*entries, strict=True), "^", color=color, markersize=4.5, markeredgewidth=0)
        panel.plot(*zip(*exits, strict=True), "v", color=color, markersize=4.5, markerfacecolor="white")
