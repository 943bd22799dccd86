"""Trials that no other one beats in every objective."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from tune.records import Record
from tune.sweep_file import Metric


def pareto(records: Iterable[Record], objectives: Sequence[Metric]) -> list[Record]:
    """The Pareto front: trials such that no other is at least as good in all objectives and better in one."""
    rated = [record for record in records if record.state != "failed" and _costs(record, objectives)]
    return [one for one in rated if not any(_beats(other, one, objectives) for other in rated)]


def pareto_table(records: Iterable[Record], objectives: Sequence[Metric]) -> Table:
    """The Pareto front, by the first objective."""
    front = sorted(pareto(records, objectives), key=lambda record: _costs(record, objectives))
    table = Table("Pareto front", *(f"{one.name} ({one.goal})" for one in objectives), header_style="bold")
    for record in front:
        table.add_row(record.trial, *(f"{record.metrics[one.name]:.4g}" for one in objectives))
    return table


def _beats(other: Record, one: Record, objectives: Sequence[Metric]) -> bool:
    theirs, ours = _costs(other, objectives), _costs(one, objectives)
    return theirs != ours and all(a <= b for a, b in zip(theirs, ours, strict=True))


def _costs(record: Record, objectives: Sequence[Metric]) -> tuple[float, ...]:
    """The objectives' values so that less is better; empty where one is missing."""
    values = [record.metrics.get(objective.name) for objective in objectives]
    if any(not isinstance(value, int | float) for value in values):
        return ()
    signs = [-1.0 if objective.goal == "maximize" else 1.0 for objective in objectives]
    return tuple(sign * float(value) for sign, value in zip(signs, values, strict=True) if value is not None)
