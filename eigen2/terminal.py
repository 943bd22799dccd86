"""Warnings on the terminal, beside a live bar."""

import logging
import sys

from eigen2.errors import printable_lines


class StderrHandler(logging.Handler):
    """Writes to what sys.stderr is at that time: a live bar takes its place, and writing past it would tear the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{printable_lines(self.format(record))}\n")


def show_warnings() -> None:
    """Show the warnings of all loggers, a line each."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[StderrHandler()])
