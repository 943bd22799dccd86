"""Reading a W&B sweep file; everything wrong in it is said before anything starts, with line and nearest right name."""

import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from eigen2.config.loading import number_of_text
from eigen2.errors import ConfigError, brief
from eigen2.training.metrics import NUMBERS
from tune.hyperband import Goal, Hyperband
from tune.space import Space
from tune.sweep_parameters import read_space
from tune.yaml_lines import Source, read_source, unknown

Method = Literal["grid", "random", "bayes"]

METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")
METRICS = (*NUMBERS, "combined_score")
KEYS = (
    *("method", "metric", "parameters", "early_terminate", "run_cap", "name", "description", "project", "entity"),
    *("program", "command", "controller", "apiVersion", "kind", "job", "image_uri"),
)
TEXTS = ("name", "description", "project", "entity", "program", "job", "image_uri")
NOT_OURS = {
    "metrics": "several metrics need method: custom in W&B; name one here, and the others to tune.sweep",
    "scheduler": "a scheduler of one's own has no meaning here; method and early_terminate say how to search",
}
IMPUTED = ("latest", "best", "worst")


@dataclass(frozen=True)
class Metric:
    """What the sweep optimises; once a run reaches `target`, the sweep needs no more."""

    name: str
    goal: Goal
    target: float | None = None


@dataclass(frozen=True)
class SweepFile:
    """A sweep file, read and checked."""

    path: Path
    name: str
    method: Method
    metric: Metric
    space: Space
    early_terminate: Hyperband | None
    run_cap: int | None
    project: str | None
    entity: str | None
    description: str | None
    notes: tuple[str, ...]  # what the user should be told, a sentence each

    @property
    def folder_name(self) -> str:
        """The name as a folder may have it."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.name).strip("-") or "sweep"

    @classmethod
    def read(cls, path: Path) -> "SweepFile":
        """The sweep of a YAML file. Raises ConfigError with path, line and what to write instead."""
        source = read_source(path)
        _check_keys(source)
        notes: list[str] = []
        method, metric = _method(source), _metric(source, notes)
        space = read_space(source, notes)
        if method == "grid":
            _check_grid(source, space)
        return cls(
            path=path,
            name=source.value.get("name") or path.stem,
            method=method,
            metric=metric,
            space=space,
            early_terminate=_early_terminate(source),
            run_cap=_run_cap(source),
            project=source.value.get("project"),
            entity=source.value.get("entity"),
            description=source.value.get("description"),
            notes=(*notes, *_missing(source)),
        )


def _check_keys(source: Source) -> None:
    if not isinstance(source.value, dict):
        raise ConfigError(f"{source.path}: a sweep file is a mapping with method, metric and parameters")
    for key in source.value:
        if key in NOT_OURS:
            raise ConfigError(f"{source.where(key)}: {key}: {NOT_OURS[key]}")
        if key not in KEYS:
            raise unknown(key, list(KEYS), source.where(str(key)), "key")
    for key in ("method", "parameters"):
        if key not in source.value:
            raise ConfigError(f"{source.path}: {key} is missing")
    for key in TEXTS:
        if not isinstance(source.value.get(key), str | None):
            raise ConfigError(f"{source.where(key)}: {key} must be text, not {brief(source.value[key])}")
    command = source.value.get("command", [])
    if not isinstance(command, list) or not all(isinstance(part, str | int | float) for part in command):
        raise ConfigError(f"{source.where('command')}: command must be a list of texts or numbers")


def _method(source: Source) -> Method:
    method = source.value["method"]
    if method == "custom":
        raise ConfigError(f"{source.where('method')}: method custom has no meaning here; use grid, random or bayes")
    if method not in METHODS:
        raise unknown(method, list(METHODS), source.where("method"), "method")
    return cast(Method, method)


def _metric(source: Source, notes: list[str]) -> Metric:
    if "metric" not in source.value:
        notes.append("no metric is named, so fitness/best_ever is maximized")
        return Metric("fitness/best_ever", "maximize")
    given = _section(source, "metric", ("name", "goal", "target", "impute", "impute_while_running"))
    name, goal = given.get("name"), given.get("goal", "minimize")
    if name not in METRICS:
        raise unknown(name, list(METRICS), source.where("metric", "name"), "metric")
    if goal not in GOALS:
        raise unknown(goal, list(GOALS), source.where("metric", "goal"), "goal")
    for key in ("impute", "impute_while_running"):
        if given.get(key, "worst") not in (*IMPUTED, "false"):
            raise unknown(given[key], list(IMPUTED), source.where("metric", key), key)
    if "goal" not in given:
        notes.append(f"the metric {name} has no goal, so it is minimized, as W&B does")
    return Metric(name, cast(Goal, goal), _target(source, given))


def _target(source: Source, given: Mapping[str, Any]) -> float | None:
    if "target" not in given:
        return None
    target = number_of_text(given["target"]) if isinstance(given["target"], str) else given["target"]
    if isinstance(target, bool) or not isinstance(target, int | float) or not abs(target) <= sys.float_info.max:
        raise ConfigError(f"{source.where('metric', 'target')}: target must be a number, not {brief(given['target'])}")
    return float(target)


def _early_terminate(source: Source) -> Hyperband | None:
    if "early_terminate" not in source.value:
        return None
    given = _section(source, "early_terminate", ("type", "min_iter", "max_iter", "eta", "s", "strict"))
    if given.get("type") != "hyperband":
        raise ConfigError(f"{source.where('early_terminate')}: early_terminate must have type: hyperband")
    _check_hyperband_types(source, given)
    try:
        return Hyperband(**{key: value for key, value in given.items() if key != "type"})
    except ValueError as error:
        raise ConfigError(f"{source.where('early_terminate')}: early_terminate: {error}") from error


def _check_hyperband_types(source: Source, given: Mapping[str, Any]) -> None:
    kinds: dict[str, tuple[type, ...]] = {"eta": (int, float), "strict": (bool,)}
    for key, value in given.items():
        fitting = isinstance(value, kinds.get(key, (int,))) and (key == "strict" or not isinstance(value, bool))
        if key != "type" and not fitting:
            needed = {"eta": "a number", "strict": "true or false"}.get(key, "a whole number")
            raise ConfigError(f"{source.where('early_terminate', key)}: {key} must be {needed}, not {brief(value)}")


def _section(source: Source, name: str, keys: Collection[str]) -> Mapping[str, Any]:
    given = source.value[name]
    if not isinstance(given, dict):
        raise ConfigError(f"{source.where(name)}: {name} must hold {', '.join(keys)}, not {brief(given)}")
    for key in given:
        if key not in keys:
            raise unknown(key, list(keys), source.where(name, str(key)), f"key of {name}:")
    return given


def _run_cap(source: Source) -> int | None:
    cap = source.value.get("run_cap")
    if cap is None and "run_cap" not in source.value:
        return None
    if isinstance(cap, bool) or not isinstance(cap, int) or cap < 1:
        raise ConfigError(f"{source.where('run_cap')}: run_cap must be a whole number above 0, not {brief(cap)}")
    return cap


def _check_grid(source: Source, space: Space) -> None:
    try:
        next(space.grid())
    except ConfigError as error:
        raise ConfigError(f"{source.where('parameters')}: method grid: {error}") from error


def _missing(source: Source) -> list[str]:
    if "command" in source.value or "program" in source.value:
        return []
    return ["there is no command, so wandb agent would not know what to start; tune.sweep needs none"]
