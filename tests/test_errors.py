"""Messages about a file show what it holds, and a terminal obeys none of it."""

import pickle

import pytest

from eigen2.errors import ConfigError, DataError, ResourceError, RunError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Müller AG, 東京, 1.5 %", "Müller AG, 東京, 1.5 %"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("two\nlines\tand\xa0a space", "two lines and a space"),
        ("right\u202eleft", "right\\u202eleft"),
        ("lone\udc80surrogate", "lone\\udc80surrogate"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(DataError(text)) == shown


def test_an_error_survives_a_process() -> None:
    error = pickle.loads(pickle.dumps(DataError("m.csv: a\x1b[31m")))
    assert str(error) == "m.csv: a\\x1b[31m"


@pytest.mark.parametrize("kind", [ConfigError, RunError, ResourceError])
def test_each_error_is_printable_and_keeps_its_lines(kind: type[Exception]) -> None:
    assert str(kind("runs/a\x1b]0;x\x07:\n  line\x9b2J")) == "runs/a\\x1b]0;x\\x07:\n  line\\x9b2J"
