"""How fast is it, against the reference's shape and against the machine? `python -m benchmarks.speed`

Every figure is a median after a warm-up; ratios are taken within one run, since machines are noisy. With --no-ray
members are called in this process, which needs torch alone.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.sizes import SIZES, Figures

Table = list[Figures]


def machine() -> Figures:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cores": float(os.cpu_count() or 1),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


def _part(module: str, function: str, *args: Any) -> Callable[[], Figures | Table]:
    """A measurement; what it needs is imported when it is taken, so that some can do without Ray."""
    return lambda: getattr(importlib.import_module(f"benchmarks.{module}"), function)(*args)


WITHOUT_RAY = {
    **{f"phases {name}": _part("passes", "phases", size) for name, size in SIZES.items()},
    **{f"limit {name}": _part("passes", "limit", size) for name, size in SIZES.items()},
    "storage": _part("passes", "storage"),
}
ON_GPU = {f"gpu {name}": _part("passes", "on_gpu", size) for name, size in SIZES.items()}
PARTS = {
    **WITHOUT_RAY,
    "startup": _part("runs", "startup"),
    "trial": _part("runs", "trial"),
    "ray": _part("runs", "rays_share", SIZES["quickstart"]),
    **{f"generation {name}": _part("runs", "generation", SIZES[name]) for name in ("quickstart", "skinny")},
    "growth": _part("growth", "growth"),
    **ON_GPU,
}


def _default_parts() -> list[str]:
    return [name for name in PARTS if name not in ON_GPU or torch.cuda.is_available()]


def show(console: Console, name: str, found: Figures | Table) -> None:
    console.print(f"\n{name}", highlight=False)
    for figures in found if isinstance(found, list) else [found]:
        for key, value in figures.items():
            console.print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed, memory and growth; print them and save them as JSON.")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=_default_parts())
    parser.add_argument("--no-ray", action="store_true", help="leave out what needs Ray")
    parser.add_argument("--out", type=Path, default=Path("runs/speed.json"))
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:  # a process of its own for each part: its peak memory is its own
        sys.stdout.write(json.dumps(PARTS[args.part]()) + "\n")
        return
    if not torch.cuda.is_available() and (without := [name for name in args.parts if name in ON_GPU]):
        parser.error(f"--parts {', '.join(without)}: needs a GPU, and torch sees none here")
    console = Console()
    results: dict[str, Figures | Table] = {"machine": machine()}
    show(console, "machine", results["machine"])
    for name in args.parts:
        if args.no_ray and name not in WITHOUT_RAY | ON_GPU:
            continue
        command = [sys.executable, "-m", "benchmarks.speed", "--part", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[name] = json.loads(done.stdout.splitlines()[-1])
        show(console, name, results[name])
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
