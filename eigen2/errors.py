"""Errors that a user can act on: one clear sentence each, shown without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


def printable(text: str) -> str:
    """`text` on one line; control characters and invisible ones, which a terminal would obey, are written out."""
    return "".join(map(_printable, text))


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if letter.isspace() else letter.encode("unicode_escape").decode("ascii")


class Eigen2Error(Exception):
    """Something failed for a reason the user can read; the command exits with `exit_code`."""

    exit_code = 1


class ConfigError(Eigen2Error):
    """A config, or the use of a command, is wrong."""

    exit_code = 2


class DataError(Eigen2Error):
    """A market file can't be used; the message names file, column and date where they are known.

    The message may quote the file, so it is made printable.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class ResourceError(Eigen2Error):
    """The machine or cluster can't run what was asked; the message says asked, had, and what to change."""


class RunError(Eigen2Error):
    """A run can't start, go on, or be read."""


@contextmanager
def concerning(what: str) -> Iterator[None]:
    """Begin the text of each RunError that is raised within by what it is about: a file, most often."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{what}: {error}") from error
