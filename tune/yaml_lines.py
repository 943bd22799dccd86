"""YAML read safely, with the line on which each value stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rapidfuzz import process

from eigen2.config.loading import NOT_YAML, compose_yaml, yaml_text
from eigen2.errors import ConfigError, brief_name

Keys = tuple[str | int, ...]  # the way to a value: keys of mappings, places in lists


@dataclass(frozen=True)
class Source:
    """A YAML file, its value, and where each part of it stands."""

    path: Path
    value: Any
    lines: Mapping[Keys, int]

    def where(self, *keys: str | int) -> str:
        """`sweep.yaml line 12`: where a value stands, or the nearest mapping above it."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path} line {self.lines.get(keys, 1)}"


def read_source(path: Path) -> Source:
    """A YAML file with its lines. Raises ConfigError where it can't be read, is not safe YAML, or repeats a key."""
    try:
        loader, node = compose_yaml(yaml_text(path))
        lines: dict[Keys, int] = {}
        if node is not None:
            _note_lines(node, (), lines, set(), path)
        return Source(path, loader.construct_document(node) if node is not None else None, lines)
    except NOT_YAML as error:
        raise ConfigError(f"{path}: not a YAML file of plain values: {' '.join(str(error).split())}") from error


def unknown(name: object, known: list[str], where: str, what: str) -> ConfigError:
    """The error for a word that is not among the known ones, with the nearest of them."""
    shown = brief_name(name)
    found = process.extractOne(shown, known, score_cutoff=50)
    hint = f"; did you mean {found[0]}?" if found else f"; it is one of {', '.join(known)}"
    return ConfigError(f"{where}{': ' if where else ''}unknown {what} {shown}{hint}")


def _note_lines(node: yaml.Node, keys: Keys, lines: dict[Keys, int], seen: set[int], path: Path) -> None:
    lines.setdefault(keys, node.start_mark.line + 1)
    if id(node) in seen:  # an alias; also one that holds itself
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            _note_lines(item, (*keys, place), lines, seen, path)
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            inner = (*keys, str(key.value))
            if inner in lines:
                raise ConfigError(f"{path} line {key.start_mark.line + 1}: {key.value} is given twice")
            lines[inner] = key.start_mark.line + 1
            _note_lines(item, inner, lines, seen, path)
