"""No sink can stop a run, nor another sink."""

import logging
from pathlib import Path

import pytest

from eigen2.tracking.sink import Broadcast, Row


class Recorder:
    """A sink that remembers what it was told, and raises where it is asked to."""

    def __init__(self, log_error: Exception | None = None, finish_error: Exception | None = None) -> None:
        self.rows: list[Row] = []
        self.finished: list[tuple[Row, Path | None]] = []
        self._log_error, self._finish_error = log_error, finish_error

    def log(self, row: Row) -> None:
        self.rows.append(row)
        if self._log_error:
            raise self._log_error

    def finish(self, summary: Row, champion: Path | None) -> None:
        self.finished.append((summary, champion))
        if self._finish_error:
            raise self._finish_error


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_sink_that_raises_is_told_once_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    broken, after = Recorder(log_error=OSError("disk full")), Recorder()
    broadcast = Broadcast({"lines": broken, "other": after})
    for generation in range(3):
        broadcast.log({"generation": generation})
    broadcast.finish({"final/win_rate": 0.5}, Path("champion"))

    assert [row["generation"] for row in broken.rows] == [0], "not called again"
    assert [row["generation"] for row in after.rows] == [0, 1, 2]
    assert broken.finished == after.finished == [({"final/win_rate": 0.5}, Path("champion"))]
    assert warnings(caplog) == ["lines failed: OSError: disk full; training goes on"]


def test_a_sink_that_fails_again_at_the_end_is_not_told_twice(caplog: pytest.LogCaptureFixture) -> None:
    Broadcast({"a": Recorder(finish_error=ValueError("late"))}).finish({}, None)
    assert len(warnings(caplog)) == 1
    caplog.clear()
    broadcast = Broadcast({"a": Recorder(log_error=ValueError("early"), finish_error=ValueError("late"))})
    broadcast.log({"generation": 0})
    broadcast.finish({}, None)
    assert warnings(caplog) == ["a failed: ValueError: early; training goes on"]


def test_an_interrupt_by_the_user_is_no_failure_of_a_sink() -> None:
    class Interrupted(Recorder):
        def log(self, row: Row) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Broadcast({"a": Interrupted()}).log({"generation": 0})
