"""What became of each trial: `trials.jsonl`, one record a change, of which the last one of a trial counts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from eigen2.tracking.jsonl import JsonLines, read_rows

State = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Record:
    """A trial as it stands.

    values: dotted config name -> value; metrics: of its last generation, and final ones; history: the sweep's metric by
    generation; others: the same of each further objective; best: the metric as the search takes it, the last one;
    generation: how many are done; seconds: of training; reason: why it was stopped or failed; run: its run folder.
    """

    trial: str
    number: int
    state: State
    values: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[float, ...] = ()
    best: float | None = None
    generation: int = 0
    seconds: float = 0.0
    reason: str | None = None
    run: str | None = None
    others: tuple[tuple[float, ...], ...] = ()

    @property
    def rows(self) -> list[tuple[float, ...]]:
        """The values of all objectives by generation."""
        return list(zip(self.history, *self.others, strict=True))


class Records:
    """The records of a sweep, in memory and on the disk."""

    def __init__(self, path: Path) -> None:
        """Raises RunError if the file is there and can't be read."""
        self._lines = JsonLines(path, keep_generations=None)
        self._last = {record.trial: record for record in read_records(path)}

    def __iter__(self) -> Any:
        return iter(sorted(self._last.values(), key=lambda record: record.number))

    def __len__(self) -> int:
        return len(self._last)

    def get(self, trial: str) -> Record | None:
        """The last record of a trial."""
        return self._last.get(trial)

    def put(self, record: Record) -> None:
        """Keep a record; it is on the disk when this returns."""
        self._lines.log(asdict(record))
        self._last[record.trial] = record

    def change(self, trial: str, **changed: Any) -> Record:
        """Keep a trial's record with some values changed; returns it."""
        record = replace(self._last[trial], **changed)
        self.put(record)
        return record

    def in_state(self, *states: State) -> list[Record]:
        """Trials in one of these states, by number."""
        return [record for record in self if record.state in states]


def read_records(path: Path) -> list[Record]:
    """The last record of each trial, by number; none where there is no file. Raises RunError if it can't be read."""
    rows = read_rows(path) if path.exists() else []
    last = {row["trial"]: _record(row) for row in rows}
    return sorted(last.values(), key=lambda record: record.number)


def _record(row: Mapping[str, Any]) -> Record:
    others = tuple(map(tuple, row.get("others", ())))
    return Record(**{**row, "history": tuple(row["history"]), "others": others})
