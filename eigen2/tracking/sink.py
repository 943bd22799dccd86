"""The protocol of a sink, and the one place that speaks to all of them."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

Row = Mapping[str, float | int | str]

logger = logging.getLogger("eigen2")


class Sink(Protocol):
    """Hears one flat row of metrics a generation, and the summary once, at the end."""

    def log(self, row: Row) -> None:
        """Take the metrics of a finished generation; `row["generation"]` counts from 0."""

    def finish(self, summary: Row, champion: Path | None) -> None:
        """Take the run's final figures and its champion, a file or a folder (none: there is no champion).

        Called however the run ends; an empty summary means that it did not complete.
        """


class Broadcast:
    """Forwards to named sinks, in order. No sink can stop a run.

    The first error of a sink is told as a warning; from then on that sink hears only `finish`.
    """

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self._sinks = dict(sinks)
        self._failed: set[str] = set()

    def add(self, sinks: Mapping[str, Sink]) -> None:
        """Forward to these sinks too, from here on."""
        self._sinks |= sinks

    def log(self, row: Row) -> None:
        """Forward a generation's row to every sink that has not failed."""
        for name, sink in self._sinks.items():
            if name not in self._failed:
                self._call(name, partial(sink.log, row))

    def finish(self, summary: Row, champion: Path | None) -> None:
        """Forward the end of the run to every sink."""
        for name, sink in self._sinks.items():
            self._call(name, partial(sink.finish, summary, champion))

    def _call(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, hours of training must not die of it
            level = logging.DEBUG if name in self._failed else logging.WARNING
            self._failed.add(name)
            logger.log(level, "%s failed: %s: %s; training goes on", name, type(error).__name__, error)
