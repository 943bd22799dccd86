"""Errors that a user can act on: one clear sentence each, shown without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class Eigen2Error(Exception):
    """Something failed for a reason the user can read; the command exits with `exit_code`."""

    exit_code = 1


class ConfigError(Eigen2Error):
    """A config, or the use of a command, is wrong."""

    exit_code = 2


class DataError(Eigen2Error):
    """A market file can't be used; the message names file, column and date where they are known."""


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


def tells_of_memory(text: str) -> bool:
    """Whether the text of an exception, with its type, says that this machine's memory ran out.

    Python and NumPy raise MemoryError, torch's allocator for the CPU a RuntimeError.
    """
    return "MemoryError" in text or "can't allocate memory" in text or "Cannot allocate memory" in text
