"""`eigen2 config show`: every field of a config with its value and meaning, as YAML that `eigen2 train` reads."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from eigen2.config import Config, load_config


def run(args: argparse.Namespace) -> int:
    """Print the config of the arguments; returns 0."""
    config = load_config(Path(args.config) if args.config else None, args.set)
    sys.stdout.writelines(f"{line}\n" for line in commented(config))
    return 0


def commented(config: Config) -> Iterator[str]:
    """The lines of a YAML file with every field of the config, its meaning and range beside it."""
    values = config.model_dump(mode="json")
    for section in Config.model_fields:
        yield f"{section}:"
        for name, info in type(getattr(config, section)).model_fields.items():
            # JSON is YAML, on one line
            yield f"  {name}: {json.dumps(values[section][name])}  # {info.description}{_range(info)}"


def _range(info: FieldInfo) -> str:
    """The bounds of a field as ` (>= 0, < 1)`, or nothing."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(bound, name)}"
        for bound in info.metadata
        for name, sign in signs.items()
        if getattr(bound, name, None) is not None
    ]
    return f" ({', '.join(bounds)})" if bounds else ""
