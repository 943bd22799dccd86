"""Progress: one plain line a generation without a terminal, a live bar on one."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from eigen2.terminal import StderrHandler
from eigen2.tracking.progress import Progress, duration

ENDS = """
import sys
from rich.console import Console
from eigen2.tracking.progress import Progress
Progress(Console(stderr=True), 10).phase(0, "play", 0, 8)
sys.exit(1)
"""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def row(generation: int) -> dict[str, float | int | str]:
    return {
        "generation": generation,
        "fitness/mean": -1.5,
        "fitness/max": 20.25,
        "validation/best_ever": float("nan"),
    }


def play(progress: Progress, clock: Clock, generations: range, seconds: float) -> None:
    for generation in generations:
        for done in range(3):
            progress.phase(generation, "play", done, 2)
        clock.now += seconds
        progress.log(row(generation))
    progress.finish({}, None)


def plain(width: int = 40) -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=width)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_a_generation_is_one_line() -> None:
    console, clock = plain(), Clock()
    play(Progress(console, 4, clock=clock), clock, range(2), 30)
    assert text(console).splitlines() == [
        "generation 1/4  fitness mean -1.50  best 20.25  validation best -  0:00:30 elapsed, 0:01:30 left",
        "generation 2/4  fitness mean -1.50  best 20.25  validation best -  0:01:00 elapsed, 0:01:00 left",
    ]


def test_a_resumed_run_counts_on_and_estimates_by_its_own_generations() -> None:
    console, clock = plain(), Clock()
    play(Progress(console, 10, start_generation=7, clock=clock), clock, range(7, 8), 60)
    assert text(console).startswith("generation 8/10 ")
    assert text(console).endswith("0:01:00 elapsed, 0:02:00 left\n")


def test_the_last_generation_leaves_no_time() -> None:
    console, clock = plain(), Clock()
    play(Progress(console, 1, clock=clock), clock, range(1), 5)
    assert text(console).endswith("0:00:05 elapsed, 0:00:00 left\n")


def test_a_metric_that_is_not_there_is_left_out() -> None:
    console = plain()
    Progress(console, 2).log({"generation": 0, "fitness/mean": 1.0})
    assert "best" not in text(console)


def test_a_terminal_shows_phase_members_and_figures_and_is_given_back() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, legacy_windows=False, _environ={})
    clock = Clock()
    progress = Progress(console, 10, start_generation=2, clock=clock)
    progress.phase(2, "play", 0, 8)
    progress.log(row(2))
    progress.phase(3, "train", 5, 8)
    progress.finish({"final/win_rate": 0.5}, Path("champion"))
    last = text(console)
    assert "\x1b[?25l" in last, "the live bar hides the cursor"
    assert last.rstrip().endswith("\x1b[?25h"), "and shows it again"
    for shown in ("4/10", "train", "5/8", "20.25", "left"):
        assert shown in last


def test_a_warning_does_not_tear_the_bar() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, legacy_windows=False, _environ={})
    progress = Progress(console, 10)
    progress.phase(2, "play", 0, 8)
    StderrHandler().handle(logging.LogRecord("eigen2", logging.WARNING, "", 0, "a sink %s", ("failed",), None))
    progress.finish({}, None)
    _, below = text(console).split("a sink failed\n")
    assert "play" in below, "the bar is drawn below it"


def test_a_process_that_ends_gives_the_terminal_back() -> None:
    ours, its = os.openpty()
    ended = subprocess.run([sys.executable, "-c", ENDS], stderr=its, env={**os.environ, "TERM": "xterm"}, check=False)
    os.close(its)
    written = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert ended.returncode == 1
    assert written.rindex("\x1b[?25l") < written.rindex("\x1b[?25h"), "the cursor is shown again"


def test_a_phase_alone_writes_nothing_without_a_terminal() -> None:
    console = plain()
    Progress(console, 2).phase(0, "play", 1, 2)
    assert text(console) == ""


def test_durations_go_beyond_a_day() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 3661, 90_000)] == ["0:00:00", "0:01:00", "1:01:01", "25:00:00"]
