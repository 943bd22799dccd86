"""Trials that no other one beats in every objective."""

import math
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from eigen2.errors import printable
from tune.records import Record
from tune.sweep_file import Metric
from tune.table import header_of


def pareto(records: Iterable[Record], objectives: Sequence[Metric]) -> list[Record]:
    """The Pareto front: trials such that no other is at least as good in all objectives and better in one.

    It is drawn from the trials that ended, if there are any: those stopped early were beaten after as many generations.
    """
    rated = [record for record in records if record.state != "failed" and _costs(record, objectives)]
    ended = [record for record in rated if record.state == "finished"] or rated
    return [one for one in ended if not _beaten_by(one, ended, objectives)]


def in_order(records: Sequence[Record], objectives: Sequence[Metric]) -> list[Record]:
    """Records, the best first: by the number of others that beat them.

    Those beaten by as many are in the order of the first objective. Trials that were stopped early come after those
    that ended, since others were better after as many generations; those without a value of each objective come last.
    """

    def place(record: Record) -> tuple[bool, bool, int, float, int]:
        complete = bool(_costs(record, objectives))
        beaten_by = _beaten_by(record, records, objectives) if complete and len(objectives) > 1 else 0
        cost = _costs(record, objectives[:1]) or (math.inf,)
        return (not complete, record.state == "stopped", beaten_by, cost[0], record.number)

    return sorted(records, key=place)


def pareto_table(records: Iterable[Record], objectives: Sequence[Metric]) -> Table:
    """The Pareto front, by the first objective."""
    front = sorted(pareto(records, objectives), key=lambda record: _costs(record, objectives))
    table = Table("Pareto front", *(f"{header_of(one.name)}\n({one.goal})" for one in objectives), header_style="bold")
    for record in front:
        table.add_row(Text(printable(record.trial)), *(f"{value:.4g}" for value in values_of(record, objectives)))
    return table


def values_of(record: Record, objectives: Sequence[Metric]) -> list[float]:
    """The values of the objectives; empty where one is missing."""
    values = [record.best, *(record.metrics.get(objective.name) for objective in objectives[1:])]
    known = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return known if len(known) == len(values) else []


def _beaten_by(one: Record, records: Iterable[Record], objectives: Sequence[Metric]) -> int:
    """How many records are as good in all objectives and better in one."""
    ours = _costs(one, objectives)
    theirs = [costs for record in records if (costs := _costs(record, objectives))]
    return sum(other != ours and all(a <= b for a, b in zip(other, ours, strict=True)) for other in theirs)


def _costs(record: Record, objectives: Sequence[Metric]) -> tuple[float, ...]:
    """The objectives' values so that less is better; empty where one is missing."""
    signs = [-1.0 if objective.goal == "maximize" else 1.0 for objective in objectives]
    values = values_of(record, objectives)
    return tuple(sign * value for sign, value in zip(signs, values, strict=True)) if values else ()
