"""The progress of a run in the terminal: a live bar, or one line a generation where there is no terminal."""

import atexit
import math
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from eigen2.tracking.sink import Row

FIGURES = (  # label, metric
    ("fitness mean", "fitness/mean"),
    ("best", "fitness/max"),
    ("validation best", "validation/best_ever"),
    ("cost $", "cost/total"),
)
BAR_WIDTH = 30


class Progress:
    """A sink that shows how far a run is, and how well it does.

    start_generation: the first generation that this process plays, counted from 0. `clock` gives seconds.
    """

    def __init__(
        self,
        console: Console,
        num_generations: int,
        start_generation: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._total = num_generations
        self._first = self._done = start_generation
        self._clock = clock
        self._started = self._last_finished = clock()
        self._phase = ("start", 0, 1)
        self._row: Row = {}
        self._live: Live | None = None

    def phase(self, generation: int, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` members have finished a phase. Never writes where there is no terminal."""
        self._done = generation
        self._phase = (name, done, total)
        if self._live is None and self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)
            self._live.start()
            atexit.register(self._live.stop)  # however this process ends, the terminal gets its cursor back

    def log(self, row: Row) -> None:
        """Show the figures of a finished generation."""
        self._row = row
        self._done = int(row["generation"]) + 1
        self._last_finished = self._clock()
        if self._live is None:
            self._console.print(self._line(), markup=False, highlight=False, soft_wrap=True)

    def finish(self, summary: Row, champion: Path | None) -> None:
        """Leave the bar as it stands."""
        if self._live is not None:
            self._live.stop()
            atexit.unregister(self._live.stop)
            self._live = None

    def _line(self) -> str:
        figures = "  ".join(f"{label} {value}" for label, value in self._figures())
        return f"generation {self._done}/{self._total}  {figures}  {self._times()}"

    def _render(self) -> RenderableType:
        name, done, total = self._phase
        bars = Table.grid(padding=(0, 1))
        shown = min(self._done + 1, self._total)
        bars.add_row("generation", f"{shown}/{self._total}", _bar(self._done, self._total), Text(self._times()))
        bars.add_row(Text(name), f"{done}/{total}", _bar(done, total), "")
        figures = Text("  ").join(
            Text.assemble((f"{label} ", "dim"), (value, "bold")) for label, value in self._figures()
        )
        return Group(bars, figures) if self._row else bars

    def _figures(self) -> list[tuple[str, str]]:
        return [(label, _number(self._row[metric])) for label, metric in FIGURES if metric in self._row]

    def _times(self) -> str:
        elapsed = f"{duration(self._clock() - self._started)} elapsed"
        left = self._seconds_left()
        return elapsed if left is None else f"{elapsed}, {duration(left)} left"

    def _seconds_left(self) -> float | None:
        """By the mean of the generations this process finished; None before the first."""
        finished = self._done - self._first
        if finished < 1:
            return None
        due = self._last_finished + (self._total - self._done) * (self._last_finished - self._started) / finished
        return max(due - self._clock(), 0.0)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done, width=BAR_WIDTH)


def _number(value: float | int | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}" if math.isfinite(value) else "-"
