"""The geometry of the charts on a sweep's page, in the pixels of their SVG."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune.hyperband import Goal
from tune.records import Record

if TYPE_CHECKING:
    from tune.report import Line

LEFT, RIGHT, TOP, BOTTOM = 64.0, 24.0, 16.0, 34.0  # margins of a chart
STEPS = (1, 2, 2.5, 5, 10)
PARALLEL_WIDTH, PARALLEL_HEIGHT = 930.0, 330.0
LEAST_GAP, WIDEST_GAP = 62.0, 130.0  # between axes
NAMES_HEIGHT, NAME_WIDTH = 92.0, 130.0  # of slanted names above the axes


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, from 0 to 1."""

    place: float
    label: str


@dataclass(frozen=True)
class Axis:
    """What an axis shows and where a trial lies on it, from 0 to 1; None: the trial has no value."""

    name: str
    ticks: tuple[Tick, ...]
    place: Callable[[Record], float | None]
    low: float = 0.0
    high: float = 1.0

    def at(self, value: float) -> float:
        """Where a value lies on an axis of plain numbers."""
        return position(value, self.low, self.high)


@dataclass(frozen=True)
class Mark:
    """What a chart draws of one trial: a line through points, or one point; in pixels."""

    line: "Line"
    points: tuple[tuple[float, float], ...]
    on_front: bool = False  # the Pareto front

    @property
    def path(self) -> str:
        """The points as SVG's polyline takes them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Chart:
    """A chart: its size, its axes' ticks in pixels, and a mark a trial."""

    title: str
    width: float
    height: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    axes: tuple[tuple[float, Axis], ...] = ()
    best_so_far: str = ""

    @property
    def left(self) -> float:
        return LEFT

    @property
    def right(self) -> float:
        return self.width - RIGHT

    @property
    def top(self) -> float:
        return NAMES_HEIGHT if self.axes else TOP

    @property
    def bottom(self) -> float:
        return self.height - BOTTOM

    def y(self, place: float) -> float:
        """The height of a place from 0 (bottom) to 1 (top)."""
        return self.bottom - place * (self.bottom - self.top)

    def x(self, place: float) -> float:
        """The distance from the left of a place from 0 to 1."""
        return self.left + place * (self.right - self.left)

    @classmethod
    def parallel(cls, axes: Sequence[Axis], lines: Sequence["Line"]) -> "Chart":
        """An axis a parameter, the metric last; a line a trial."""
        gap = min(max(PARALLEL_WIDTH / max(len(axes) - 1, 1), LEAST_GAP), WIDEST_GAP)
        width = LEFT + gap * (len(axes) - 1) + NAME_WIDTH
        empty = cls("", width, PARALLEL_HEIGHT + NAMES_HEIGHT, (), (), (), tuple((0.0, axis) for axis in axes))
        placed = tuple((LEFT + gap * number, axis) for number, axis in enumerate(axes))
        marks = []
        for line in lines:
            places = [(x, axis.place(line.record)) for x, axis in placed]
            marks.append(Mark(line, tuple((x, empty.y(place)) for x, place in places if place is not None)))
        return cls("", width, empty.height, (), (), tuple(marks), placed)

    @classmethod
    def history(cls, metric: Axis, lines: Sequence["Line"], generations: int) -> "Chart":
        """The metric by generation, a line a trial."""
        longest = max([generations, *(len(line.record.history) for line in lines)])
        empty = cls("generation", 900, 340, (), metric.ticks, ())
        marks = [
            Mark(
                line, tuple((empty.x(position(k, 1, longest)), empty.y(metric.at(value))) for k, value in _steps(line))
            )
            for line in lines
        ]
        ticks = [Tick(position(k, 1, longest), str(k)) for k in whole_ticks(1, longest)]
        return cls("generation", 900, 340, tuple(ticks), metric.ticks, tuple(marks))

    @classmethod
    def progress(cls, metric: Axis, lines: Sequence["Line"], goal: Goal) -> "Chart":
        """The metric of each trial in the order they began, and the best so far."""
        last = max((line.record.number for line in lines), default=0)
        empty = cls("trial", 900, 300, (), metric.ticks, ())
        marks, steps = [], []
        best: float | None = None
        for line in sorted(lines, key=lambda line: line.record.number):
            value = line.record.best or 0.0
            x = empty.x(position(line.record.number, 0, last))
            marks.append(Mark(line, ((x, empty.y(metric.at(value))),)))
            before = best
            best = value if best is None else (max if goal == "maximize" else min)(best, value)
            steps += [(x, empty.y(metric.at(best if before is None else before))), (x, empty.y(metric.at(best)))]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in steps)
        ticks = [Tick(position(number, 0, last), str(number)) for number in whole_ticks(0, last)]
        return cls("trial", 900, 300, tuple(ticks), metric.ticks, tuple(marks), best_so_far=path)

    @classmethod
    def pareto(cls, across: Axis, up: Axis, lines: Sequence["Line"], front: Collection[str]) -> "Chart":
        """One objective over another, a point a trial; front: names of the trials on it."""
        empty = cls(across.name, 900, 340, (), (), ())
        marks = []
        for line in lines:
            x, y = across.place(line.record), up.place(line.record)
            if x is not None and y is not None:
                marks.append(Mark(line, ((empty.x(x), empty.y(y)),), line.record.trial in front))
        return cls(across.name, 900, 340, across.ticks, up.ticks, tuple(marks))

    @classmethod
    def slice(cls, axis: Axis, metric: Axis, lines: Sequence["Line"]) -> "Chart":
        """The metric over one parameter, a point a trial."""
        empty = cls(axis.name, 330, 220, (), (), ())
        marks = []
        for line in lines:
            across, up = axis.place(line.record), metric.place(line.record)
            if across is not None and up is not None:
                marks.append(Mark(line, ((empty.x(across), empty.y(up)),)))
        return cls(axis.name, 330, 220, axis.ticks, metric.ticks, tuple(marks))


def metric_axis(
    name: str, values: Sequence[float], value_of: Callable[[Record], float | None] = lambda record: record.best
) -> Axis:
    """A metric as an axis over the values that were seen."""
    ticks = number_ticks(min(values, default=0.0), max(values, default=1.0))
    low = min([*ticks, *values], default=0.0)
    high = max([*ticks, *values], default=1.0)

    def place(record: Record) -> float | None:
        value = value_of(record)
        return None if value is None else position(value, low, high)

    return Axis(name, tuple(Tick(position(tick, low, high), f"{tick:g}") for tick in ticks), place, low, high)


def position(value: float, low: float, high: float, log: bool = False) -> float:
    """Where a value lies between low and high, from 0 to 1; in the middle where they are one."""
    if high == low:
        return 0.5
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def number_ticks(low: float, high: float) -> list[float]:
    """Some five round numbers that reach over a range."""
    if low == high:
        return [low]
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(step * size for step in STEPS if step * size >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{number * step:.6g}") for number in range(first, last + 1)]


def whole_ticks(low: int, high: int) -> list[int]:
    """Some ten whole numbers of a range, its ends among them."""
    step = max(round((high - low) / 10), 1)
    return sorted({*range(low, high + 1, step), high} - {high - gap for gap in range(1, (step + 1) // 2)})


def _steps(line: "Line") -> list[tuple[int, float]]:
    return [(number, value) for number, value in enumerate(line.record.history, start=1) if value is not None]
