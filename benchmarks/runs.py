"""Whole runs, timed: a generation with actors and without, the way to the first one, a sweep's trial."""

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import ray
import torch
from rich.console import Console

from benchmarks.sizes import Figures, Size
from eigen2.config import Config, ResourcesConfig
from eigen2.market.market import Market
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Runtime, Share
from eigen2.training.session import Session, fit_to_cluster, train

ROUNDS = 5  # of the comparison with Ray: ratios are taken within one


def generation_s(config: Config, market: Market, runtime: Runtime, fit: Callable[[], Share]) -> tuple[float, Figures]:
    """Median seconds of the generations after the first, and the run's last row."""
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        train(config, market, folder, runtime, fit, Session(config, folder, 0, {}, Console(file=io.StringIO())))
        rows = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
    return statistics.median(row["time/generation"] for row in rows[1:]), rows[-1]


def generation(size: Size) -> Figures:
    """Seconds of each phase on all cores, with members in actors, and the peak memory of the processes."""
    from eigen2.training.cluster import connect
    from eigen2.training.runtime import RayRuntime

    config = size.config(num_generations=3)
    market = size.market(config)
    connect(ResourcesConfig(dashboard=False))
    together = fit_to_cluster(config).together
    home = "ray::Host" if together > 1 else "ray::Member"
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        session = Session(config, folder, 0, {}, Console(file=io.StringIO()))
        trainer = train(config, market, folder, RayRuntime(), lambda: fit_to_cluster(config), session)
        rows = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()][1:]
        memory = {
            "peak MB of the driver": peak_mb(Path("/proc/self")),
            "peak MB of the replay buffer": max(map(peak_mb, processes("ray::Replay"))),
            "peak MB of a process of members": max(map(peak_mb, processes(home))),
        }
        del trainer  # until here its actors lived
    names = ("generation", "play", "train", "evolve", "checkpoint")
    times = {f"{name}, s": statistics.median(row[f"time/{name}"] for row in rows) for name in names}
    return {"members": float(config.evolution.population_size), "in an actor": float(together), **times, **memory}


def processes(title: str) -> list[Path]:
    """Folders under /proc of the processes whose title begins like this."""
    found = [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if _title(path).startswith(title)]
    assert found, f"no process is called {title}"
    return found


def _title(path: Path) -> str:
    with suppress(OSError):  # it ended meanwhile
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def peak_mb(process: Path) -> float:
    """The most memory that a process ever held."""
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 2**10


def rays_share(size: Size) -> Figures:
    """A generation with actors against the same members called in one process, all of it on one core: once as members
    live by default, together in one actor, and once with an actor for each. In turns, since machines are noisy."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    rounds = [one_round(size) for _ in range(ROUNDS)]
    ratios = {name: [taken[name] / taken["one process"] for taken in rounds] for name in ("one actor", "an actor each")}
    return {
        **{f"{name}, s": statistics.median(taken[name] for taken in rounds) for name in rounds[0]},
        **{f"overhead of {name}, %": 100 * (statistics.median(found) - 1) for name, found in ratios.items()},
        **{f"times as long, {name}": ", ".join(f"{one:.2f}" for one in found) for name, found in ratios.items()},
    }


def one_round(size: Size) -> dict[str, float]:
    """Median seconds of a generation of four members, by where they live."""
    from eigen2.training.cluster import connect
    from eigen2.training.runtime import RayRuntime

    config = size.config(num_generations=4, population_size=4)
    one_each = size.config(num_generations=4, population_size=4, members_per_actor=1)
    market = size.market(config)
    called, _ = generation_s(config, market, LocalRuntime(), Share)
    connect(ResourcesConfig(num_cpus=1, dashboard=False))
    try:
        together, _ = generation_s(config, market, RayRuntime(), lambda: fit_to_cluster(config))
        apart, _ = generation_s(config, market, RayRuntime(), lambda: fit_to_cluster(one_each))
    finally:
        ray.shutdown()
    return {"one process": called, "one actor": together, "an actor each": apart}


def startup() -> Figures:
    """Seconds from the command to the first generation of the quickstart, median of three; and its parts, taken one
    after another in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.startup"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    parts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    taken = [first_generation_s() for _ in range(3)]
    told = ", ".join(f"{seconds:.1f}" for seconds in taken)
    return {**parts, "parts one after another": sum(parts.values()), "runs, s": told, "s": statistics.median(taken)}


def first_generation_s() -> float:
    """From `eigen2 train` to the moment when all members stand and the first generation begins."""
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name) / "run")
        command = ["train", "configs/quickstart.yaml", "--name", "run", "--set", f"runs_dir={name}"]
        started = time.time()
        subprocess.run(
            [sys.executable, "-m", "eigen2", *command, "--set", "num_generations=1"], capture_output=True, check=True
        )
        (row,) = (json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines())
        return folder.metrics.stat().st_mtime - float(row["time/generation"]) - started


def trial() -> Figures:
    """A sweep's trial by hand: middle values of configs/sweep_config.yaml, all processes started for it alone."""
    with tempfile.TemporaryDirectory() as name:
        command = ["--set", f"runs_dir={name}", "--set", "wandb_mode=disabled", "--set", "progress=false"]
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "tune.agent", *command], capture_output=True, check=True)
        return {"8 members, 10 generations, s": time.monotonic() - started}
