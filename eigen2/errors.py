"""Errors that a user can act on: one clear sentence each, shown without a traceback."""

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager

MOST_OF_A_MESSAGE = 4_000  # characters
MOST_OF_A_VALUE = 200
MOST_OF_A_NAME = 100


def printable(text: str) -> str:
    """`text` on one line; control characters and invisible ones, which a terminal would obey, are written out."""
    return "".join(map(_printable, text))


def printable_lines(text: str) -> str:
    """`text` with its lines as they are, each made printable."""
    return "\n".join(map(printable, text.split("\n")))


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if letter.isspace() else letter.encode("unicode_escape").decode("ascii")


class Eigen2Error(Exception):
    """Something failed for a reason the user can read; the command exits with `exit_code`.

    A message may quote the input, so its lines are made printable, and it is cut where it is too long to be read.
    """

    exit_code = 1

    def __str__(self) -> str:
        message = printable_lines(super().__str__())
        return message if len(message) <= MOST_OF_A_MESSAGE else f"{message[:MOST_OF_A_MESSAGE]} ..."


class ConfigError(Eigen2Error):
    """A config, or the use of a command, is wrong."""

    exit_code = 2


class DataError(Eigen2Error):
    """A market file can't be used; the message names file, column and date where they are known.

    The message is made printable on one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class ResourceError(Eigen2Error):
    """The machine or cluster can't run what was asked; the message says asked, had, and what to change."""


class RunError(Eigen2Error):
    """A run can't start, go on, or be read."""


class _Brief(reprlib.Repr):
    """Shows the first parts of a value, and never builds the whole text: aliases of YAML can stand for gigabytes."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 120, 120
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 8

    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # more digits than Python writes out
            return "a number too long to show"


_BRIEF = _Brief()


def brief(value: object) -> str:
    """A value of the input as a message shows it: as Python writes it, cut where it is long."""
    text = _BRIEF.repr(value)
    return text if len(text) <= MOST_OF_A_VALUE else f"{text[:MOST_OF_A_VALUE]} ..."


def brief_name(name: object) -> str:
    """A name of the input as a message shows it: in full, cut where it is long or no text."""
    return name if isinstance(name, str) and len(name) <= MOST_OF_A_NAME else brief(name)


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
