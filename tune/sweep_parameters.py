"""The `parameters` of a sweep file: each as a constant or as the law it follows, checked against its config field."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eigen2.config.loading import number_of_text, suited
from eigen2.errors import ConfigError, brief
from eigen2.tracking import expression
from eigen2.training.metrics import NUMBERS
from tune.fields import COMBINED_SCORE, checked, config_name_is_known, field_named, fits, holds_floats
from tune.laws import Beta, Categories, Integers, Law, LogUniform, Normal, Quantised, Uniform
from tune.space import Parameter, Space
from tune.yaml_lines import Keys, Source, unknown

MOST_PARAMETERS = 1_000
SAMPLED_SHARES = tuple((place + 0.5) / 200 for place in range(200))
LEAST_FITTING = 0.5  # share of a law's draws that its field must take

RANGE = ("min", "max")
DISTRIBUTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # keys it needs, keys it may have
    "constant": (("value",), ()),
    "categorical": (("values",), ()),
    "categorical_w_probabilities": (("values", "probabilities"), ()),
    "int_uniform": (RANGE, ()),
    "uniform": (RANGE, ()),
    "q_uniform": (RANGE, ("q",)),
    "log_uniform_values": (RANGE, ()),
    "q_log_uniform_values": (RANGE, ("q",)),
    "inv_log_uniform_values": (RANGE, ()),
    "normal": ((), ("mu", "sigma")),
    "q_normal": ((), ("mu", "sigma", "q")),
    "log_normal": ((), ("mu", "sigma")),
    "q_log_normal": ((), ("mu", "sigma", "q")),
    "beta": ((), ("a", "b")),
    "q_beta": ((), ("a", "b", "q")),
}
WITH_EXPONENTS = ("log_uniform", "q_log_uniform", "inv_log_uniform")  # W&B's full validation refuses them


@dataclass
class Reading:
    """One parameter being read: its text, its field, and what has to be said about it."""

    source: Source
    keys: Keys
    name: str
    field: str
    spec: Mapping[str, Any]
    notes: list[str]

    def where(self, *inner: str | int) -> str:
        return self.source.where(*self.keys, *inner)

    def refusal(self, message: str, *inner: str | int) -> ConfigError:
        return ConfigError(f"{self.where(*inner)}: {self.name} {message}")

    def number(self, key: str, default: float | None = None) -> float:
        """A number of the distribution; text such as 1e-5 is read as one, and said."""
        given = self.spec.get(key, default)
        value = number_of_text(given) if isinstance(given, str) else given
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise self.refusal(f"has {key} {brief(given)}, which is no number", key)
        if isinstance(given, str) and value == int(value) and not holds_floats(self.field):
            value = int(value)
        self.say_text(given, value, key)
        return value

    def held(self, value: Any, *inner: str | int) -> Any:
        """A value as the field holds it; text such as 3e6 is read as a number, and said."""
        held = checked(self.field, suited(self.field.rpartition(".")[2], value), self.where(*inner))
        if self.field == COMBINED_SCORE:
            self._check_expression(held, *inner)
        self.say_text(value, held, *inner)
        return held

    def say_text(self, given: Any, read: Any, *inner: str | int) -> None:
        if isinstance(given, str) and isinstance(read, int | float):
            part = ".".join([self.name, *(str(key) for key in inner if isinstance(key, str))])
            where = self.where(*inner).removeprefix(f"{self.source.path} ")
            self.notes.append(f"{where}: {part} {brief(given)} is text in YAML 1.1; read as {brief(read)}")

    def _check_expression(self, text: str, *inner: str | int) -> None:
        try:
            expression.check(text, NUMBERS)
        except ConfigError as error:
            raise ConfigError(f"{self.where(*inner)}: {error}") from error


def read_space(source: Source, notes: list[str]) -> Space:
    """The space of a sweep file's `parameters`; what the user should know goes to `notes`.

    Raises ConfigError with line, and nearest right name, for whatever is wrong.
    """
    parameters: list[Parameter] = []
    constants: dict[str, Any] = {}
    lines: dict[str, str] = {}
    for reading in _readings(source, ("parameters",), source.value.get("parameters")):
        if reading.field in lines:
            raise reading.refusal(f"is given twice; the other is in {lines[reading.field]}")
        lines[reading.field] = reading.where()
        distribution = _distribution(reading)
        if distribution == "constant":
            constants[reading.field] = reading.held(reading.spec["value"], "value")
        else:
            law = LAWS[distribution](reading)
            _check_law(reading, law, distribution)
            parameters.append(Parameter(reading.name, reading.field, law))
        notes.extend(reading.notes)
    return Space(tuple(parameters), constants)


def _readings(source: Source, keys: Keys, group: Any, prefix: str = "") -> Iterator[Reading]:
    """The parameters of a group, those nested in sections included, in the order of the file."""
    if not isinstance(group, dict) or not group:
        raise ConfigError(f"{source.where(*keys)}: {'.'.join(map(str, keys))} must name at least one parameter")
    if len(group) > MOST_PARAMETERS:
        raise ConfigError(f"{source.where(*keys)}: more than {MOST_PARAMETERS} parameters")
    for key, spec in group.items():
        inner, name, where = (*keys, str(key)), f"{prefix}{key}", source.where(*keys, str(key))
        config_name_is_known(name, where)
        if not isinstance(spec, dict):
            raise ConfigError(f"{where}: {name} must hold values, value, or min and max, not {brief(spec)}")
        if "parameters" not in spec:
            yield Reading(source, inner, name, field_named(name, where), spec, [])
            continue
        if len(spec) > 1 or prefix:
            raise ConfigError(f"{where}: {name} holds parameters, so it must be a section and hold nothing else")
        yield from _readings(source, (*inner, "parameters"), spec["parameters"], f"{name}.")


def _distribution(reading: Reading) -> str:
    """The name of the distribution, said or implied, with the keys that belong to it."""
    spec = reading.spec
    name = spec["distribution"] if "distribution" in spec else _implied(reading)
    if name in WITH_EXPONENTS:
        raise _exponents_refused(reading, name)
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        raise unknown(name, list(DISTRIBUTIONS), reading.where("distribution"), "distribution")
    needed, optional = DISTRIBUTIONS[name]
    for key in needed:
        if key not in spec:
            raise reading.refusal(f"follows {name}, which needs {key}")
    for key in spec:
        if key not in ("distribution", *needed, *optional):
            hint = "; leave the distribution out" if key == "probabilities" else ""
            keys = ", ".join((*needed, *optional))
            raise reading.refusal(f"has {key}, which is no key of {name} (it has {keys}){hint}", str(key))
    return name


def _implied(reading: Reading) -> str:
    spec = reading.spec
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical_w_probabilities" if "probabilities" in spec else "categorical"
    if "min" in spec and "max" in spec:
        low, high = reading.number("min"), reading.number("max")
        reading.notes.clear()  # said when the law is made
        if not (isinstance(low, int) and isinstance(high, int)):
            return "uniform"
        if holds_floats(reading.field):
            line = reading.where().removeprefix(f"{reading.source.path} ")
            reading.notes.append(
                f"{line}: {reading.name} has a whole min and max, so only whole numbers from {low} to {high} are "
                f"drawn, as W&B does; for all between write distribution: uniform"
            )
        return "int_uniform"
    for key in spec:
        if key not in ("min", "max"):
            known = ["value", "values", "probabilities", "distribution", "min", "max", "parameters"]
            raise unknown(key, known, reading.where(str(key)), f"key of {reading.name}:")
    raise reading.refusal("needs value, values, min and max, or a distribution")


def _exponents_refused(reading: Reading, name: str) -> ConfigError:
    low, high = (math.exp(min(reading.number(key, 0.0), 700)) for key in RANGE)
    if name == "inv_log_uniform":
        low, high = 1 / high if high else 0.0, 1 / low if low else 0.0
    return reading.refusal(
        f"follows {name}, whose min and max are exponents; W&B refuses it today. "
        f"Write {name}_values with min {low:.6g} and max {high:.6g}"
    )


def _range(reading: Reading) -> tuple[float, float]:
    low, high = reading.number("min"), reading.number("max")
    if low >= high:
        raise reading.refusal(f"has min {brief(low)}, which is not below max {brief(high)}", "min")
    return low, high


def _positive_range(reading: Reading) -> tuple[float, float]:
    low, high = _range(reading)
    if low <= 0:
        raise reading.refusal(f"has min {brief(low)}; a logarithmic range begins above 0", "min")
    return low, high


def _positive(reading: Reading, key: str, default: float) -> float:
    value = reading.number(key, default)
    if value <= 0:
        raise reading.refusal(f"has {key} {brief(value)}, which must be above 0", key)
    return value


def _categories(reading: Reading) -> Categories:
    values = reading.spec["values"]
    if not isinstance(values, list) or not values:
        raise reading.refusal(f"has values {brief(values)}, which is no list of values", "values")
    held = [reading.held(value, "values", place) for place, value in enumerate(values)]
    if reading.source.value.get("method") == "grid" and (repeated := _repeated(held)):
        line = reading.where("values").removeprefix(f"{reading.source.path} ")
        reading.notes.append(
            f"{line}: {reading.name} lists {', '.join(repeated)} more than once; a grid tries each value once"
        )
    shares = reading.spec.get("probabilities")
    if shares is None:
        return Categories(tuple(held))
    if not isinstance(shares, list) or len(shares) != len(held):
        raise reading.refusal(f"has {len(held)} values, so it needs as many probabilities", "probabilities")
    weights = [_entry(reading, share).number("probabilities") for share in shares]
    if min(weights) < 0 or not math.isclose(sum(weights), 1.0, rel_tol=1e-5, abs_tol=1e-8):
        raise reading.refusal(
            f"has probabilities that are negative, or whose sum {sum(weights):g} is not 1", "probabilities"
        )
    possible = [(value, weight) for value, weight in zip(held, weights, strict=True) if weight > 0]
    return Categories(tuple(value for value, _ in possible), tuple(weight for _, weight in possible))


def _repeated(values: list[Any]) -> list[str]:
    return [value for value, count in Counter(map(repr, values)).items() if count > 1]


def _entry(reading: Reading, value: Any) -> Reading:
    return Reading(reading.source, reading.keys, reading.name, reading.field, {"probabilities": value}, reading.notes)


def _integers(reading: Reading) -> Integers:
    low, high = _range(reading)
    for key, value in (("min", low), ("max", high)):
        if not isinstance(value, int):
            raise reading.refusal(f"follows int_uniform, but {key} {brief(value)} is no whole number", key)
    return Integers(int(low), int(high))


def _normal(reading: Reading, of_log: bool) -> Normal:
    return Normal(reading.number("mu", 0.0), _positive(reading, "sigma", 1.0), of_log)


def _beta(reading: Reading) -> Beta:
    return Beta(_positive(reading, "a", 1.0), _positive(reading, "b", 1.0))


def _quantised(reading: Reading, law: Uniform | LogUniform | Normal | Beta) -> Quantised:
    return Quantised(law, _positive(reading, "q", 1.0))


LAWS: dict[str, Callable[[Reading], Law]] = {
    "categorical": _categories,
    "categorical_w_probabilities": _categories,
    "int_uniform": _integers,
    "uniform": lambda reading: Uniform(*_range(reading)),
    "q_uniform": lambda reading: _quantised(reading, Uniform(*_range(reading))),
    "log_uniform_values": lambda reading: LogUniform(*_positive_range(reading)),
    "q_log_uniform_values": lambda reading: _quantised(reading, LogUniform(*_positive_range(reading))),
    "inv_log_uniform_values": lambda reading: LogUniform(*_positive_range(reading)),
    "normal": lambda reading: _normal(reading, of_log=False),
    "q_normal": lambda reading: _quantised(reading, _normal(reading, of_log=False)),
    "log_normal": lambda reading: _normal(reading, of_log=True),
    "q_log_normal": lambda reading: _quantised(reading, _normal(reading, of_log=True)),
    "beta": _beta,
    "q_beta": lambda reading: _quantised(reading, _beta(reading)),
}


def _check_law(reading: Reading, law: Law, distribution: str) -> None:
    """Raise ConfigError unless the field takes what the law gives, at both ends and between."""
    if isinstance(law, Categories):
        return
    if law.ends is not None:
        for key, end in zip(RANGE, law.ends, strict=True):
            checked(reading.field, end, reading.where(key))
    fitting = sum(fits(reading.field, law.quantile(u)) for u in SAMPLED_SHARES) / len(SAMPLED_SHARES)
    if fitting == 1:
        return
    if law.ends is not None:
        raise reading.refusal(
            f"takes no fractions; use int_uniform, values, or a distribution with q, not {distribution}"
        )
    if fitting < LEAST_FITTING:
        raise reading.refusal(f"takes only {fitting:.0%} of what {distribution} gives; write a distribution that fits")
    line = reading.where().removeprefix(f"{reading.source.path} ")
    reading.notes.append(
        f"{line}: about {1 - fitting:.1%} of what {distribution} gives lies outside the range of {reading.name}; "
        f"such draws are made again"
    )
