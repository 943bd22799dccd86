"""The sweep in the terminal: one live table, or plain lines where there is no terminal."""

import re
import time
from collections.abc import Callable, Iterable
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from eigen2.errors import printable, printable_lines
from eigen2.tracking.progress import duration
from tune.records import Record, Records
from tune.sweep_file import Metric
from tune.trial import READY

HEADER_WIDTH = 14  # characters of a line of a column's header
RECENT = 12  # trials shown while a sweep runs
STYLES = {"running": "cyan", "finished": "green", "stopped": "yellow", "failed": "red"}


class Progress:
    """How far a sweep is. `clock` gives seconds."""

    def __init__(
        self,
        console: Console,
        records: Records,
        metric: Metric,
        trials: int | None,
        generations: int,
        concurrent: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """trials: how many there will be, None where the sweep file does not say."""
        self._console, self._records, self._metric = console, records, metric
        self._trials, self._generations, self._concurrent = trials, generations, concurrent
        self._clock, self._started = clock, clock()
        self._done_before = sum(record.generation for record in records)
        self._live: Live | None = None

    def start(self) -> None:
        """Begin to show the table, where there is a terminal."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=2)
            self._live.start()

    def stop(self) -> None:
        """Leave the table as it stands."""
        if self._live:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """A line above the table."""
        self._console.print(printable_lines(text), markup=False, highlight=False, soft_wrap=True)

    def changed(self, record: Record) -> None:
        """A trial took a step; shown as a line where there is no table."""
        if self._live is None:
            best = "" if record.best is None else f"  {self._metric.name} {record.best:.4g}"
            reason = f"  {record.reason}" if record.reason else ""
            step = f"{record.generation}/{self._generations}"
            self.say(f"{record.trial} {record.state}  generation {step}{best}{reason}  {self.summary()}")

    def render(self) -> RenderableType:
        """The table: best trial first line, then the newest trials."""
        recent = list(self._records)[-RECENT:]
        return Group(Text(printable(self.summary())), trials_table(recent, self._metric), *map(Text, reasons(recent)))

    def summary(self) -> str:
        """Trials by state, the best so far, and the time left, on one line."""
        counts = {state: len(self._records.in_state(state)) for state in STYLES}  # type: ignore[arg-type]
        total = f" of {self._trials}" if self._trials else ""
        states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        parts = [f"{len(self._records)}{total} trials: {states or 'none yet'}"]
        best = best_of(self._records, self._metric)
        if best:
            parts.append(f"best {best.best:.4g} ({best.trial})")
        parts.append(f"{duration(self._clock() - self._started)} elapsed")
        left = self._seconds_left()
        return "; ".join(parts) + (f", at most {duration(left)} left" if left is not None else "")

    def _seconds_left(self) -> float | None:
        """By this session's pace, as if no more trials were stopped early."""
        done = sum(record.generation for record in self._records) - self._done_before
        if not self._trials or done < 1:
            return None
        due = sum(self._generations - record.generation for record in self._records.in_state("running"))
        due += (self._trials - len(self._records)) * self._generations
        return due * (self._clock() - self._started) / done


def best_of(records: Iterable[Record], metric: Metric) -> Record | None:
    """The best trial by the sweep's metric, of those that ended if there are any; None where no trial has a value."""
    rated = [record for record in records if record.best is not None and record.state != "failed"]
    sign = 1 if metric.goal == "maximize" else -1
    return max(rated, key=lambda record: (record.state == "finished", sign * (record.best or 0.0)), default=None)


def kept_processes(records: Iterable[Record]) -> str | None:
    """What keeping processes from trial to trial has saved; None where nobody took any over."""
    ready_s = sorted(record.metrics[READY] for record in records if READY in record.metrics)
    taken_over = [seconds for seconds in ready_s if seconds < ready_s[-1] / 2]
    if not taken_over:
        return None
    saved_s = sum(ready_s[-1] - seconds for seconds in taken_over)
    return (
        f"processes are kept from trial to trial: {ready_s[-1]:.1f} s to start them, {median(taken_over):.1f} s "
        f"to take them over, {saved_s:.0f} s saved in {len(taken_over)} trials"
    )


def trials_table(records: Iterable[Record], metric: Metric) -> Table:
    """A row a trial: state, generation, metric, time."""
    table = Table("trial", "state", "generation", header_of(metric.name), "time", header_style="bold")
    for record in records:
        table.add_row(
            Text(printable(record.trial)),
            Text(record.state, STYLES[record.state]),
            str(record.generation),
            "-" if record.best is None else f"{record.best:.4g}",
            duration(record.seconds),
        )
    return table


def reasons(records: Iterable[Record]) -> list[str]:
    """Why trials failed, were stopped or are tried again: a line for each reason, with the trials it holds for."""
    trials: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.reason:
            trials.setdefault((record.state, printable(record.reason)), []).append(printable(record.trial))
    return [
        f"{', '.join(names)}: {reason}" if reason.startswith(state) else f"{', '.join(names)} {state}: {reason}"
        for (state, reason), names in trials.items()
    ]


def header_of(name: str) -> str:
    """A name as the header of a column, on several lines where it is long."""
    if len(name) <= HEADER_WIDTH:
        return name
    lines = [""]
    for part in re.findall(r"[^/_]+[/_]?", name):
        if lines[-1].endswith("/") or len(lines[-1] + part) > HEADER_WIDTH:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines).strip()
