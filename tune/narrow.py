"""The sweep file of a second phase: every range tightened round the best trials of the first."""

import copy
import math
import shlex
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eigen2.config.loading import overridden, yaml_text, yaml_value
from eigen2.config.trust import fields_withheld
from eigen2.errors import ConfigError, RunError, printable
from eigen2.ownership import is_owned
from tune.fields import SWEEP_TRIALS
from tune.findings import Findings, shown
from tune.laws import Beta, Categories, Integers, Law, LogUniform, Normal, Quantised, Uniform
from tune.scheduler import default_name
from tune.space import Parameter

LEAST_TOP = 2  # trials that a range is drawn round
ALONE = 0.1  # share of the old width kept on each side of one single value
LEAST_SIGMA = 0.1  # of the old sigma
DIGITS = 3
ENTITY = "tracking.wandb_entity"

Spec = dict[str, Any]


def second_phase(findings: Findings, path: Path) -> str:
    """The command that starts a narrowed file with all else as in the first phase.

    It sets nothing that the folder may not decide unasked: settings.json may be anybody's.
    """
    settings, sweep = findings.plan.settings, findings.plan.sweep
    words = ["python", "-m", "tune.sweep", str(path), "--config", str(findings.folder.base)]
    words += [word for objective in settings.objectives for word in ("--objective", objective)]
    kept = [override for override in settings.overrides if not overridden([override]) & _withheld(findings)]
    words += [word for override in kept for word in ("--set", override)]
    if settings.scheduler != default_name(sweep):
        words += ["--scheduler", settings.scheduler]
    return shlex.join(words)


@dataclass(frozen=True)
class Narrowed:
    """A sweep file's text, a sentence for each parameter (what was done to it), and the fields that were left out.

    left_out: fields of the sweep's file and of its settings that a folder may not decide unasked.
    """

    text: str
    fixed: tuple[str, ...]
    tightened: tuple[str, ...]
    left_out: tuple[str, ...]


def narrow(findings: Findings, top: float) -> Narrowed:
    """The sweep's file with ranges round the best share `top` of its trials.

    A list keeps the values the best trials have (of rising numbers, all between them too); a range reaches from their
    least to their largest value and half their mean distance beyond, on the logarithm where the law is logarithmic; a
    normal law takes their mean and spread. What only one value is left of is fixed. Raises RunError for too few trials.
    """
    if not 0 < top <= 1:
        raise ConfigError(f"--top {top:g}: it is a share of the trials, above 0 and at most 1")
    best = findings.ranked[: max(math.ceil(top * len(findings.ranked)), LEAST_TOP)]
    if len(best) < LEAST_TOP:
        raise RunError(f"sweep {findings.folder.path} has {len(best)} finished trials; narrow needs {LEAST_TOP}")
    raw = yaml_value(yaml_text(findings.folder.sweep))
    raw["name"] = f"{findings.plan.sweep.name}-narrow"
    if findings.plan.settings.objectives:
        raw["metric"] = {"name": findings.plan.metric.name, "goal": findings.plan.metric.goal}
    fixed: list[str] = []
    tightened: list[str] = []
    withheld = _withheld(findings)
    for parameter in findings.parameters:
        if parameter.field in withheld:
            continue
        spec = _spec(parameter, [record.values[parameter.field] for record in best])
        _place(raw["parameters"], parameter.name, spec)
        (fixed if "value" in spec else tightened).append(f"{parameter.name}: {_told(spec)}")
    _set_sweep_trials(raw["parameters"], findings.trials_compared)
    for field in withheld:
        _remove(raw["parameters"], field)
    if ENTITY in withheld:
        raw.pop("entity", None)
    name = printable(findings.plan.sweep.name)
    head = f"# {name}, narrowed round its best {len(best)} of {len(findings.ranked)} trials.\n"
    return Narrowed(head + yaml.safe_dump(raw, sort_keys=False), tuple(fixed), tuple(tightened), _left_out(findings))


def _withheld(findings: Findings) -> set[str]:
    return set(fields_withheld(is_owned(findings.folder.base)))


def _left_out(findings: Findings) -> tuple[str, ...]:
    sweep = findings.plan.sweep
    set_there = overridden(findings.plan.settings.overrides) | sweep.space.constants.keys()
    set_there |= {parameter.field for parameter in findings.parameters}
    set_there |= {ENTITY} if sweep.entity else set()
    return tuple(sorted(set_there & _withheld(findings)))


def _spec(parameter: Parameter, values: Sequence[Any]) -> Spec:
    law = parameter.law
    if isinstance(law, Categories):
        return _of_categories(law, values)
    if len(set(values)) == 1 and (isinstance(law, Integers | Quantised)):
        return {"value": values[0]}
    if isinstance(law, Quantised):
        inner = _of_range(law.of, values)
        return {**inner, "distribution": f"q_{inner['distribution']}", "q": law.q}
    return _of_range(law, values)


def _of_categories(law: Categories, values: Sequence[Any]) -> Spec:
    held = [value in values for value in law.values]
    if not any(held):
        raise RunError(f"none of the best trials has a value that the sweep's file lists: {_listed(list(law.values))}")
    if law.is_ordered:
        first, last = held.index(True), len(held) - 1 - held[::-1].index(True)
        held = [first <= place <= last for place in range(len(held))]
    kept = [value for value, stays in zip(law.values, held, strict=True) if stays]
    if len(kept) == 1:
        return {"value": kept[0]}
    if law.probabilities is None:
        return {"values": kept}
    weights = [weight for weight, stays in zip(law.probabilities, held, strict=True) if stays]
    return {"values": kept, "probabilities": [weight / sum(weights) for weight in weights]}


def _of_range(law: Law, values: Sequence[float]) -> Spec:
    match law:
        case Integers():
            low, high = _around(values, law.low, law.high)
            return {"distribution": "int_uniform", "min": math.floor(low), "max": math.ceil(high)}
        case Uniform():
            return _bounds("uniform", *_around(values, law.low, law.high), law.low, law.high)
        case LogUniform():
            logs = [math.log(max(value, law.low)) for value in values]  # a rounded value may be 0
            low, high = _around(logs, math.log(law.low), math.log(law.high))
            return _bounds("log_uniform_values", math.exp(low), math.exp(high), law.low, law.high)
        case Beta():
            return _bounds("uniform", *_around(values, 0.0, 1.0), 0.0, 1.0)
        case Normal():
            return _of_normal(law, values)
    raise TypeError(law)


def _of_normal(law: Normal, values: Sequence[float]) -> Spec:
    seen = [math.log(value) for value in values if value > 0] if law.of_log else list(values)
    if len(seen) < LEAST_TOP:
        seen = [law.mu - law.sigma, law.mu + law.sigma]
    sigma = min(max(statistics.stdev(seen), LEAST_SIGMA * law.sigma), law.sigma)
    name = "log_normal" if law.of_log else "normal"
    return {"distribution": name, "mu": float(f"{statistics.fmean(seen):.4g}"), "sigma": float(f"{sigma:.4g}")}


def _around(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """From the least to the largest value, and half their mean distance beyond; never beyond the old range."""
    values = [min(max(value, low), high) for value in values]
    span = max(values) - min(values)
    beyond = span / (len(values) - 1) / 2 if span > 0 else ALONE * (high - low)
    return max(min(values) - beyond, low), min(max(values) + beyond, high)


def _bounds(distribution: str, low: float, high: float, least: float, largest: float) -> Spec:
    return {
        "distribution": distribution,
        "min": max(_rounded(low, math.floor), float(least)),
        "max": min(_rounded(high, math.ceil), float(largest)),
    }


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """A number of few digits, rounded outwards."""
    if value == 0:
        return 0.0
    digits = DIGITS - 1 - math.floor(math.log10(abs(value)))
    return float(f"{towards(value * 10.0**digits)}e{-digits}")


def _place(parameters: dict[str, Any], name: str, spec: Spec) -> None:
    """Put a parameter's new text where the old one stood."""
    if name in parameters:
        parameters[name] = copy.deepcopy(spec)
        return
    section, _, inner = name.partition(".")
    parameters[section]["parameters"][inner] = copy.deepcopy(spec)


def _set_sweep_trials(parameters: dict[str, Any], trials: int) -> None:
    """Count the trials of this phase: whatever the second one finds is chosen among them too."""
    _remove(parameters, SWEEP_TRIALS)
    parameters[SWEEP_TRIALS.rpartition(".")[2]] = {"value": trials}


def _remove(parameters: dict[str, Any], field: str) -> None:
    """Take a field out, by its dotted name, by its plain one and in its section."""
    section, _, plain = field.partition(".")
    parameters.pop(field, None)
    parameters.pop(plain, None)
    nested = parameters.get(section, {}).get("parameters", {})
    nested.pop(plain, None)
    if section in parameters and not nested:
        del parameters[section]


def _told(spec: Spec) -> str:
    return ", ".join(f"{key} {_listed(value)}" for key, value in spec.items() if key != "distribution")


def _listed(value: Any) -> str:
    return ", ".join(map(shown, value)) if isinstance(value, list) else shown(value)
