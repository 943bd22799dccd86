"""The page of a sweep: one HTML file that needs nothing else, with what W&B's page of a sweep shows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from eigen2.errors import RunError
from eigen2.tracking.progress import duration
from tune.findings import Findings, Importance, importances, shown
from tune.laws import Categories
from tune.pareto import in_order, pareto, values_of
from tune.records import Record
from tune.report_charts import Axis, Chart, Tick, metric_axis, position
from tune.space import Parameter

WORST, BEST = (200, 214, 229), (8, 69, 148)  # a scale of one hue: told apart with any colour vision
MOST_TICKS = 8


@dataclass(frozen=True)
class Line:
    """A trial as the charts draw it."""

    record: Record
    color: str
    is_best: bool


def page_of(findings: Findings) -> str:
    """The whole page as HTML. Text from the sweep's files is shown as text, whatever it holds."""
    ranked = findings.ranked
    ordered, said = _importance(findings)
    parameters = [found.parameter for found in ordered] or list(findings.parameters)
    lines = [_line(record, place, len(ranked)) for place, record in enumerate(ranked)][::-1]  # the best on top
    axes = [axis_of(parameter) for parameter in parameters]
    metric = metric_axis(findings.plan.metric.name, [value for record in ranked for value in _known(record)])
    environment = Environment(
        loader=PackageLoader("tune", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "duration": duration}
    return environment.get_template("report.html").render(
        findings=findings,
        plan=findings.plan,
        best=ranked[0] if ranked else None,
        counts=Counter(record.state for record in findings.records),
        seconds=sum(record.seconds for record in findings.records),
        importances=ordered,
        importance_said=said,
        parameters=parameters,
        lines=lines,
        parallel=Chart.parallel([*axes, metric], lines),
        history=Chart.history(metric, lines, findings.plan.generations),
        progress=Chart.progress(metric, lines, findings.plan.metric.goal),
        slices=[Chart.slice(axis, metric, lines) for axis in axes],
        front=_front(findings, lines),
    )


@dataclass(frozen=True)
class Front:
    """The Pareto front: a row a trial on it, with the values of the objectives, and the first two as a chart."""

    rows: tuple[tuple[Record, tuple[float, ...]], ...]
    chart: Chart


def _front(findings: Findings, lines: Sequence[Line]) -> Front | None:
    """None where there is one objective only, or no trial has a value of each."""
    objectives = findings.plan.objectives
    front = pareto(findings.ranked, objectives) if len(objectives) > 1 else []
    if not front:
        return None
    known = {record.trial: values for record in findings.ranked if (values := values_of(record, objectives))}

    def axis(place: int) -> Axis:
        seen = [values[place] for values in known.values()]
        return metric_axis(objectives[place].name, seen, lambda record: known[record.trial][place])

    compared = [line for line in lines if line.record.trial in known]
    chart = Chart.pareto(axis(0), axis(1), compared, {record.trial for record in front})
    return Front(tuple((record, tuple(known[record.trial])) for record in in_order(front, objectives)), chart)


def axis_of(parameter: Parameter) -> Axis:
    """A parameter as an axis: each value of a list, or the ends and middle of a range; logarithmic where its law is."""
    law = parameter.law
    values: Sequence[Any]
    if isinstance(law, Categories) and len(law.values) <= MOST_TICKS:
        values = law.values
    elif law.ends is not None or isinstance(law, Categories):
        values = [law.quantile(u) for u in (0.0, 0.5, 1.0)]
    else:
        values = [law.quantile(u) for u in (0.1, 0.5, 0.9)]
    ticks = {shown(value): Tick(place_of(parameter, value), shown(value)) for value in values}
    return Axis(parameter.name, tuple(ticks.values()), lambda record: _place(parameter, record))


def _place(parameter: Parameter, record: Record) -> float | None:
    try:
        return place_of(parameter, record.values[parameter.field])
    except (ValueError, KeyError, TypeError):  # a value from before the sweep's file was changed
        return None


def place_of(parameter: Parameter, value: Any) -> float:
    """Where a value lies on its axis, from 0 to 1. Raises ValueError for one the law can't give."""
    distribution, drawn = parameter.law.distribution, parameter.law.encode(value)
    match distribution:
        case FloatDistribution():
            return position(drawn, distribution.low, distribution.high, distribution.log)
        case IntDistribution():
            return position(drawn, distribution.low, distribution.high)
        case CategoricalDistribution():
            return position(drawn, 0, len(distribution.choices) - 1)
    raise TypeError(distribution)


def _line(record: Record, place: int, total: int) -> Line:
    share = 1 - place / max(total - 1, 1)
    rgb = (round(low + share * (high - low)) for low, high in zip(WORST, BEST, strict=True))
    return Line(record, f"rgb({', '.join(map(str, rgb))})", place == 0)


def _known(record: Record) -> list[float]:
    return [value for value in (*record.history, record.best) if value is not None]


def _importance(findings: Findings) -> tuple[list[Importance], str]:
    try:
        return importances(findings), ""
    except RunError as error:
        return [], str(error)
