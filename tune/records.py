"""What became of each trial: `trials.jsonl`, one record a change, of which the last one of a trial counts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from eigen2.config.loading import first_problem
from eigen2.errors import RunError
from eigen2.tracking.jsonl import JsonLines, read_rows

State = Literal["running", "finished", "stopped", "failed"]

Count = Annotated[int, Field(ge=0, le=2**53)]


@dataclass(frozen=True)
class Record:
    """A trial as it stands.

    values: dotted config name -> value; metrics: of its last generation, and final ones; history: the sweep's metric by
    generation; others: the same of each further objective; best: the metric as the search takes it, the last one;
    generation: how many are done; seconds: of training; reason: why it was stopped or failed; run: its run folder.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    trial: str
    number: Count
    state: State
    values: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[float | None, ...] = ()  # None where it was not finite
    best: float | None = None
    generation: Count = 0
    seconds: float = 0.0
    reason: str | None = None
    run: str | None = None
    others: tuple[tuple[float | None, ...], ...] = ()

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
    records = [_record(row, f"{path}, line {line}") for line, row in enumerate(rows, start=1)]
    return sorted({record.trial: record for record in records}.values(), key=lambda record: record.number)


def _record(row: Mapping[str, Any], where: str) -> Record:
    try:
        record = _RECORD.validate_python(row)
    except ValidationError as error:
        raise RunError(f"{where}: not the record of a trial: {first_problem(error)}") from error
    if any(len(values) != len(record.history) for values in record.others):
        raise RunError(f"{where}: not the record of a trial: others has more or fewer generations than history")
    return record


_RECORD = TypeAdapter(Record)
