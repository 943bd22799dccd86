"""How fast is it, against the reference's shape and against the machine? `python -m benchmarks.speed`

Every figure is a median after a warm-up; ratios are taken within one run, since machines are noisy. With --no-ray
members are called in this process, which needs torch alone.
"""

import argparse
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.reference_cost import measure, median_s, transitions_an_update
from benchmarks.sizes import SIZES, Size
from eigen2.config import Config, ResourcesConfig
from eigen2.evaluation.slices import training_slices, validation_slices
from eigen2.learning.networks import Networks
from eigen2.learning.replay import TRANSITION, BatchShape, Replay
from eigen2.market.market import Market
from eigen2.randomness import stream
from eigen2.training.checkpoint import Archive
from eigen2.training.member import Member
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Runtime, Share
from eigen2.training.session import Session, fit_to_cluster, train

Figures = dict[str, float | str]
Table = list[Figures]
MEASURED_UPDATES = {"quickstart": 48, "skinny": 2, "full": 1}  # of which the cost of all is told
TINY = Size("tiny", 6, 5, 16, 1_000)
TINY_FIELDS: dict[str, Any] = {
    "training_slices": 4,
    "worst_slices": 4,
    "trading_days": 60,
    "validation_days": 200,
    "holdout_days": 200,
    "hidden_size": 8,
    "gradient_steps_per_generation": 4,
    "batch_size": 32,
    "gradient_accumulation_steps": 1,
    "buffer_size": 4_000,
    "buffer_warmup": 10,
    "num_generations": 4,
}


def phases(size: Size) -> Figures:
    """What one member's play and updates take in this process, on one thread, and what the same is in the reference's
    shape."""
    config = size.config(threads_per_member=1)
    market = size.market(config)
    member = Member(0, config, market, 0.0)
    slices, checked = training_slices(market, config, 0), validation_slices(market, config)
    play_s = median_s(lambda: member.play(0, slices, checked), 2)
    _, rows = member.play(0, slices, checked)
    buffer = Replay(config.replay.buffer_size)
    buffer.extend(rows)
    updates = MEASURED_UPDATES[size.name]
    shape = BatchShape.of(config.ddpg, config.replay, config.slices.trading_days)
    sample = buffer.sample(updates, shape, stream(0, 0, 0, "replay sample"))
    train_s = median_s(lambda: member.train(0, sample), 1) / updates * config.ddpg.gradient_steps_per_generation
    torch.set_num_threads(1)
    cost = measure(size)
    steps = config.ddpg.gradient_steps_per_generation * transitions_an_update(config)
    return {
        "size": f"{size.name}, {size.columns} x {size.context_days}",
        "play, s a member": play_s,
        "train, s a member": train_s,
        "transitions played a s": len(rows) / play_s,
        "transitions trained a s": steps / train_s,
        "reference's shape: play, s": cost.play_s(config),
        "reference's shape: train, s": cost.train_s(config),
        "times faster, play": cost.play_s(config) / play_s,
        "times faster, generation": (cost.play_s(config) + cost.train_s(config)) / (play_s + train_s),
        "peak memory of a member, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def limit(size: Size) -> Figures:
    """The share of torch.mm's rate that passes of the encoder reach, on one thread."""
    torch.set_num_threads(1)
    side = 1_024
    left, right = torch.randn(side, side), torch.randn(side, side)
    peak = 2 * side**3 / median_s(lambda: torch.mm(left, right), 9)
    config = size.config()
    encoder = Networks(10, size.columns, config.agent.hidden_size, size.context_days).encoder
    window = torch.randn(encoder.history + 64, 1, size.columns, 10)

    def forward() -> torch.Tensor:
        return encoder(window).context.sum()

    def both() -> None:
        forward().backward()

    shares = {}
    for name, work in (("forward", torch.no_grad()(forward)), ("forward and backward", both)):
        with FlopCounterMode(display=False) as counter:
            work()
        shares[f"{name}, % of torch.mm"] = 100 * counter.get_total_flops() / median_s(work, 5) / peak
    return {"size": size.name, "torch.mm, GFLOP/s": peak / 1e9, **shares}


def storage() -> Figures:
    """What a full replay buffer of 25 000 transitions takes on disk, and how long it takes to save."""
    buffer = Replay(25_000)
    buffer.extend(np.zeros(25_000, TRANSITION))
    with tempfile.TemporaryDirectory() as name:
        archive = Archive(Path(name), keep=2)
        done = iter(range(1, 100))
        seconds = median_s(lambda: archive.save(next(done), {"best": None}, ["replay"], buffer.state()), 5)
    return {"bytes a transition": TRANSITION.itemsize, "saving 25 000, s": seconds}


def generation_s(config: Config, market: Market, runtime: Runtime, fit: Callable[[], Share]) -> tuple[float, Figures]:
    """Median seconds of the generations after the first, and the run's last row."""
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        train(config, market, folder, runtime, fit, Session(config, folder, 0, {}, Console(file=io.StringIO())))
        rows = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    return statistics.median(row["time/generation"] for row in rows[1:]), rows[-1]


def rays_share(size: Size) -> Figures:
    """A generation with actors against the same members called in one process, all of it on one core."""
    from eigen2.training.cluster import connect
    from eigen2.training.runtime import RayRuntime

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config = size.config(num_generations=4, population_size=4, threads_per_member=1)
    market = size.market(config)
    torch.set_num_threads(1)
    apart, _ = generation_s(config, market, LocalRuntime(), Share)
    connect(ResourcesConfig(num_cpus=4, dashboard=False))
    actors, row = generation_s(config, market, RayRuntime(), lambda: fit_to_cluster(config))
    split = {name: row[f"time/{name}"] for name in ("play", "train", "evolve", "checkpoint")}
    return {"one process, s": apart, "actors, s": actors, "overhead, %": 100 * (actors / apart - 1), **split}


def growth() -> Table:
    """How a generation's time grows with each size of a tiny run: the exponent of a power law through the points."""

    def seconds(size: Size = TINY, **changed: Any) -> float:
        config = size.config(**{**TINY_FIELDS, **changed})
        return generation_s(config, size.market(config), LocalRuntime(), Share)[0]

    torch.set_num_threads(1)
    series: dict[str, tuple[Sequence[int], Callable[[int], float]]] = {
        "members": ((2, 4, 8, 16, 32), lambda n: seconds(population_size=n)),
        "columns": ((20, 40, 80, 160), lambda n: seconds(replace(TINY, columns=n, stocks=n - 1))),
        "days of data": ((1_000, 2_000, 4_000, 8_000), lambda n: seconds(replace(TINY, days=n))),
        "days of a slice": ((40, 80, 160), lambda n: seconds(trading_days=n, training_slices=2, worst_slices=2)),
        "buffer size": ((1_000, 10_000, 100_000), lambda n: seconds(buffer_size=n)),
    }
    return [_grown(name, points, [one(point) for point in points]) for name, (points, one) in series.items()]


def _grown(name: str, points: Sequence[int], times: Sequence[float]) -> Figures:
    exponent = float(np.polyfit(np.log(points), np.log(times), 1)[0])
    told = ", ".join(f"{point}: {seconds:.2f}" for point, seconds in zip(points, times, strict=True))
    return {"of": name, "seconds a generation": told, "exponent": exponent, "named": named(exponent)}


def named(exponent: float) -> str:
    """The kind of growth that an exponent is, give or take the noise of a measurement."""
    return "more than linear" if exponent > 1.15 else "linear" if exponent > 0.85 else "less than linear"


def startup() -> Figures:
    """Seconds from a command to the first generation of the quickstart, and its parts."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "benchmarks.startup"], capture_output=True, text=True, check=True)
    parts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**parts, "all of it": sum(parts.values()), "with Python's start and end": time.monotonic() - started}


def machine() -> Figures:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cores": float(os.cpu_count() or 1),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


PARTS: dict[str, Callable[[], Figures | Table]] = {
    **{f"phases {name}": partial(phases, size) for name, size in SIZES.items()},
    **{f"limit {name}": partial(limit, size) for name, size in SIZES.items()},
    "storage": storage,
    "startup": startup,
    "ray": lambda: rays_share(SIZES["quickstart"]),
    "growth": growth,
}
WITH_RAY = ("startup", "ray")


def show(console: Console, name: str, found: Figures | Table) -> None:
    console.print(f"\n{name}", highlight=False)
    for figures in found if isinstance(found, list) else [found]:
        for key, value in figures.items():
            console.print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed, memory and growth; print them and save them as JSON.")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--no-ray", action="store_true", help="leave out what needs Ray")
    parser.add_argument("--out", type=Path, default=Path("runs/speed.json"))
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:  # a process of its own for each part: its peak memory is its own
        sys.stdout.write(json.dumps(PARTS[args.part]()) + "\n")
        return
    console = Console()
    results: dict[str, Figures | Table] = {"machine": machine()}
    show(console, "machine", results["machine"])
    for name in args.parts:
        if args.no_ray and name in WITH_RAY:
            continue
        command = [sys.executable, "-m", "benchmarks.speed", "--part", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[name] = json.loads(done.stdout.splitlines()[-1])
        show(console, name, results[name])
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
