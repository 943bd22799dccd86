"""The space of a sweep: parameters that vary, each with its law, and constants; all by their dotted config names."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from pydantic import ValidationError

from eigen2.config import Config, config_from_dict
from eigen2.errors import ConfigError, brief, brief_name
from eigen2.randomness import DRIVER, stream
from tune.fields import field_named, fits
from tune.laws import Categories, Law

Values = dict[str, Any]  # dotted config name (`ddpg.actor_lr`) -> value

MOST_REDRAWS = 1_000
MOST_CORNERS = 2**14  # beyond, as many drawn at random


@dataclass(frozen=True)
class Parameter:
    """One parameter that varies."""

    name: str  # as the sweep file writes it; nested ones with dots
    field: str  # dotted name of the config's field: `ddpg.actor_lr`
    law: Law

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values at which a rule between fields breaks first: the ends of a range, all of a list."""
        if isinstance(self.law, Categories):
            return (self.law.values[0], self.law.values[-1]) if self.law.is_ordered else self.law.values
        return self.law.ends or (self.law.quantile(0.5),)


@dataclass(frozen=True)
class Space:
    """What a sweep varies and what it holds fixed."""

    parameters: tuple[Parameter, ...]
    constants: Mapping[str, Any]

    def sample(self, rng: np.random.Generator) -> Values:
        """One draw of every parameter by its exact law, and the constants.

        A law without ends (normal, log_normal, beta) is drawn again where the field can't take the value. Raises
        ConfigError where that does not help.
        """
        drawn = {parameter.field: _drawn(parameter, rng) for parameter in self.parameters}
        return {**drawn, **self.constants}

    def grid(self) -> Iterator[Values]:
        """Every combination, in the order of the file, the last parameter fastest; constants included.

        Raises ConfigError for a parameter that has no finite list of values.
        """
        for parameter in self.parameters:
            if parameter.law.listed() is None:
                raise ConfigError(
                    f"{parameter.name} can't be in a grid: it takes values, value, int_uniform or q_uniform, "
                    f"and no probabilities"
                )
        fields = [parameter.field for parameter in self.parameters]
        for combination in itertools.product(*(parameter.law.listed() or () for parameter in self.parameters)):
            yield {**dict(zip(fields, combination, strict=True)), **self.constants}

    def size(self) -> int | None:
        """Number of combinations of the grid; None where a parameter has no finite list of values."""
        lists = [parameter.law.listed() for parameter in self.parameters]
        return math.prod(len(values) for values in lists if values is not None) if None not in lists else None

    def middle(self) -> Values:
        """The median of each parameter (of a list: its middle entry), and the constants."""
        return {**{parameter.field: parameter.law.quantile(0.5) for parameter in self.parameters}, **self.constants}

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna draws for each parameter, by its dotted name: the value, its place in a list, or its quantile."""
        return {parameter.field: parameter.law.distribution for parameter in self.parameters}

    def decoded(self, params: Mapping[str, Any]) -> Values:
        """Optuna's draws as values, with the constants."""
        values = {parameter.field: parameter.law.decode(params[parameter.field]) for parameter in self.parameters}
        return {**values, **self.constants}

    def encoded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The draws of Optuna that give these values. Raises ValueError for values that are not of the space."""
        return {parameter.field: parameter.law.encode(values[parameter.field]) for parameter in self.parameters}

    def takes(self, values: Mapping[str, Any]) -> bool:
        """Whether every parameter's field takes its value."""
        return all(fits(parameter.field, values[parameter.field]) for parameter in self.parameters)

    def corners(self) -> Iterator[Values]:
        """Every combination of the parameters' extremes; of very many, some drawn at random and always the same."""
        fields = [parameter.field for parameter in self.parameters]
        extremes = [parameter.extremes for parameter in self.parameters]
        for combination in _combinations(extremes):
            yield {**dict(zip(fields, combination, strict=True)), **self.constants}

    def check(self, base: Config) -> None:
        """Raise ConfigError, naming the values, for a corner of the space that makes no valid config of a trial."""
        for values in self.corners():
            if _fits_together(base, values):
                continue
            try:
                config_of(base, values)
            except ConfigError as error:
                named = ", ".join(f"{p.name} {brief(values[p.field])}" for p in self.parameters)
                raise ConfigError(f"{error} (a trial could have {named})") from error


def config_of(base: Config, values: Mapping[str, Any]) -> Config:
    """The base config with the values of a trial on top. Raises ConfigError naming field, value and bound."""
    sections = base.model_dump()
    for field, value in values.items():
        section, _, name = field.partition(".")
        if section not in sections or not name:
            raise ConfigError(f"the trial: unknown field {brief_name(field)}")
        sections[section][name] = value
    return config_from_dict(sections, "the trial")


def values_of(wandb_config: Mapping[str, Any]) -> Values:
    """A wandb run's config (plain, dotted or nested names) by dotted names.

    Raises ConfigError for a name that is no field of the trainer's config, with the nearest right one.
    """
    flat: Values = {}
    for name, value in wandb_config.items():
        if isinstance(value, Mapping):
            flat |= values_of({f"{name}.{inner}": nested for inner, nested in value.items()})
        else:
            flat[field_named(name, "the run's config")] = value
    return flat


def _fits_together(base: Config, values: Mapping[str, Any]) -> bool:
    """Whether the rules between fields hold; each value is known to fit its own field, so a quick look is enough."""
    sections: dict[str, dict[str, Any]] = {}
    for field, value in values.items():
        section, _, name = field.partition(".")
        sections.setdefault(section, {})[name] = value
    changed = {name: getattr(base, name).model_copy(update=update) for name, update in sections.items()}
    try:
        Config.model_validate({**dict(base), **changed})
    except ValidationError:
        return False
    return True


def _drawn(parameter: Parameter, rng: np.random.Generator) -> Any:
    for _ in range(MOST_REDRAWS):
        value = parameter.law.quantile(rng.random())
        if fits(parameter.field, value):
            return value
    raise ConfigError(f"{parameter.name}: {MOST_REDRAWS} draws gave nothing that {parameter.field} takes")


def _combinations(lists: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    if math.prod(map(len, lists)) <= MOST_CORNERS:
        yield from itertools.product(*lists)
        return
    rng = stream(0, 0, DRIVER, "corners of a space")
    for _ in range(MOST_CORNERS):
        yield tuple(values[rng.integers(len(values))] for values in lists)
