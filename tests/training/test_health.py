"""Whether the head of a cluster can be reached, asked while a run waits."""

import socket

import pytest

from eigen2.errors import RunError
from eigen2.training.health import EVERY_S, GONE_S, HeadWatch


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def look(watch: HeadWatch, clock: Clock, seconds: float) -> None:
    """Check as a run does, several times a second, for some seconds."""
    until = clock.now + seconds
    while clock.now < until:
        clock.now += 0.25
        watch.check()


def test_a_head_that_is_away_for_a_while_is_waited_for() -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        watch = HeadWatch(lambda: f"127.0.0.1:{port}", clock)
        look(watch, clock, 2 * EVERY_S)
    look(watch, clock, GONE_S - EVERY_S)
    with socket.create_server(("127.0.0.1", port)):
        look(watch, clock, 2 * EVERY_S)
    look(watch, clock, GONE_S - EVERY_S)
    with pytest.raises(RunError, match=rf"^Ray's head at 127\.0\.0\.1:{port} has been out of reach for 3\d s: its GCS"):
        look(watch, clock, 2 * EVERY_S)


def test_time_in_which_nobody_looked_does_not_count() -> None:
    clock = Clock()
    watch = HeadWatch(lambda: "127.0.0.1:1", clock)
    look(watch, clock, EVERY_S)
    clock.now += 1000
    watch.check()
    with pytest.raises(RunError, match="out of reach for 3"):
        look(watch, clock, GONE_S + EVERY_S)


def test_without_an_address_there_is_nothing_to_look_at() -> None:
    clock = Clock()
    look(HeadWatch(str, clock), clock, 3 * GONE_S)
