"""`eigen2 config show`: every field of a config with its value and meaning."""

import argparse
from pathlib import Path

from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table

from eigen2.config import Config, load_config


def run(args: argparse.Namespace) -> int:
    """Print the config of the arguments as a table; returns 0."""
    config = load_config(Path(args.config) if args.config else None, args.set)
    table = Table("field", "value", "range", "meaning", title="eigen2 config")
    for section in Config.model_fields:
        group = getattr(config, section)
        for name, info in type(group).model_fields.items():
            table.add_row(f"{section}.{name}", str(getattr(group, name)), _range(info), info.description or "")
    Console().print(table)
    return 0


def _range(info: FieldInfo) -> str:
    """The bounds of a field as `>= 0, < 1`."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(bound, name):g}"
        for bound in info.metadata
        for name, sign in signs.items()
        if getattr(bound, name, None) is not None
    ]
    return ", ".join(bounds)
