"""Reading a config from YAML and `field=value` overrides; a wrong name is answered with the nearest right one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from rapidfuzz import process

from eigen2.config.schema import Config
from eigen2.errors import ConfigError, brief, brief_name

SECTION_OF = {
    field: name for name, info in Config.model_fields.items() for field in info.default.__class__.model_fields
}
MOST_VALUES = 100_000  # of a YAML file, with its aliases written out
LARGEST_FILE = 16 * 2**20  # bytes
# what PyYAML raises: for a tag whose value does not fit (`!!int x`, the date 2020-13-45) whatever Python raised
NOT_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


def load_config(path: Path | None, overrides: Iterable[str] = ()) -> Config:
    """The config of a YAML file (none: the defaults) with `field=value` overrides on top.

    Raises ConfigError naming the field, the value and the bound.
    """
    values = _read_yaml(path) if path else {}
    for override in overrides:
        _apply_override(values, override)
    return config_from_dict(values, str(path) if path else "the command line")


def with_overrides(config: Config, overrides: Iterable[str]) -> tuple[Config, list[str]]:
    """A config with `field=value` overrides on top, and the dotted names of their fields. Raises ConfigError."""
    values = config.model_dump(mode="json")
    fields = [_apply_override(values, override) for override in overrides]
    return config_from_dict(values, "the command line"), fields


def overridden(overrides: Iterable[str]) -> set[str]:
    """The dotted names of the fields that `field=value` overrides set. Raises ConfigError for an unknown name."""
    located = [_locate(override.partition("=")[0].strip(), "--set") for override in overrides]
    return {f"{section}.{field}" for section, field in located if field is not None}


def config_from_dict(values: Mapping[str, Any], source: str) -> Config:
    """The config of nested or plain values: `{"ddpg": {"tau": 0.01}}` and `{"tau": 0.01}` are the same."""
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, field = _locate(key, source)
        if field is None:
            nested.setdefault(section, {}).update(_fields_of_section(section, value, source))
        else:
            nested.setdefault(section, {})[field] = suited(field, value)
    try:
        return Config.model_validate(nested)
    except ValidationError as error:
        raise ConfigError(f"{source}: {first_problem(error)}") from error


def compose_yaml(text: str) -> tuple[yaml.SafeLoader, yaml.Node | None]:
    """A loader of plain values and the node of its one document, none where that is empty.

    Raises one of NOT_YAML for text that is no such document, or whose aliases stand for more than MOST_VALUES values.
    """
    loader = yaml.SafeLoader(text)
    node = loader.get_single_node()
    if node is not None and _values_in(node, {}) > MOST_VALUES:
        raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values; write fewer of them")
    return loader, node


def yaml_value(text: str) -> Any:
    """The plain value of a YAML document. Raises as `compose_yaml` does."""
    loader, node = compose_yaml(text)
    return None if node is None else loader.construct_document(node)


def yaml_text(path: Path) -> str:
    """The text of a YAML file. Raises ConfigError if it can't be read."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"{path}: is too large for a file of settings: {path.stat().st_size / 2**20:,.0f} MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error


def _values_in(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of values that a node stands for, each alias counted as what it stands for."""
    if id(node) not in known:
        known[id(node)] = 0  # an alias of itself adds nothing
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [part for item in parts for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = min(1 + sum(_values_in(part, known) for part in inner), MOST_VALUES + 1)
    return known[id(node)]


def dump_config(config: Config) -> str:
    """Every value of a config as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml_value(yaml_text(path))
    except NOT_YAML as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a config is a mapping of sections, this is a {type(values).__name__}")
    return values


def _apply_override(values: dict[str, Any], override: str) -> str:
    """Put `field=value` into the values of a config; returns the field's dotted name."""
    name, sign, text = override.partition("=")
    if not sign:
        raise ConfigError(f"--set {override}: write field=value, for example --set ddpg.actor_lr=0.0002")
    section, field = _locate(name.strip(), "--set")
    if field is None:
        raise ConfigError(f"--set {override}: {name} is a section; name one of its fields")
    group = values.get(section)
    values.pop(field, None)
    values.pop(f"{section}.{field}", None)
    values[section] = {**(group if isinstance(group, dict) else {}), field: _parsed(field, text)}
    return f"{section}.{field}"


def _parsed(field: str, text: str) -> Any:
    """A value as YAML reads it; what a field of text is given stays text, even if it looks like a number or a date."""
    try:
        value = yaml_value(text)
    except NOT_YAML as error:
        kind = _kind_of(field)
        if kind is str or str in get_args(kind):  # such as %d/%m/%Y: YAML reserves the first letter
            return text.strip()
        raise ConfigError(f"{brief(text)} is not a value YAML can read") from error
    looks_otherwise = not isinstance(value, str | list | None)
    return text.strip() if looks_otherwise and _is_text(field) else value


def suited(field: str, value: Any) -> Any:
    """Text such as 1e-5, which YAML 1.1 takes for a string, as a number, unless the field holds text."""
    return number_of_text(value) if isinstance(value, str) and not _is_text(field) else value


def _is_text(field: str) -> bool:
    """Whether a field holds text, or names."""
    return _holds_text(_kind_of(field))


def _kind_of(field: str) -> object:
    return type(Config.model_fields[SECTION_OF[field]].default).model_fields[field].annotation


def _holds_text(kind: object) -> bool:
    return kind is str or any(_holds_text(part) for part in get_args(kind))


def number_of_text(text: str) -> str | float:
    """`1e-5` as a number, any other text unchanged."""
    if not text[:1].isdigit() and text[:1] not in "+-.":
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _locate(key: object, source: str) -> tuple[str, str | None]:
    """(section, field) of a plain or dotted name; (section, None) for a section's own name."""
    name = brief_name(key)
    section, dot, field = name.partition(".")
    if not dot and section in Config.model_fields:
        return section, None
    if not dot and section in SECTION_OF:
        return SECTION_OF[section], section
    if dot and SECTION_OF.get(field) == section:
        return section, field
    raise ConfigError(f"{source}: unknown field {name}{_nearest(name)}")


def _fields_of_section(section: str, value: object, source: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{source}: section {section} must hold fields, not {brief(value)}")
    for field in value:
        if SECTION_OF.get(field) != section:
            name = f"{section}.{brief_name(field)}"
            raise ConfigError(f"{source}: unknown field {name}{_nearest(name)}")
    return {field: suited(field, given) for field, given in value.items()}


def _nearest(name: str) -> str:
    dotted = [f"{section}.{field}" for field, section in SECTION_OF.items()]
    choices = dotted if "." in name else [*SECTION_OF, *Config.model_fields]
    found = process.extractOne(name, choices, score_cutoff=60)
    return f"; did you mean {found[0]}?" if found else ""


def first_problem(error: ValidationError) -> str:
    """What is wrong first, in a sentence without its end: the field, its value, and what is right."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if not where:
        return message
    given = "" if isinstance(problem["input"], BaseModel | dict) else f" is {brief(problem['input'])}:"
    return f"{where}{given} {message[0].lower()}{message[1:]}"
