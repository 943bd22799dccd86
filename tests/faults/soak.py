"""A long run under fire: `python -m tests.faults.soak`. Faults strike at random; the numbers must not change.

Prints faults, generations, seconds lost and the growth of memory; exits 1 if a number differs.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from rich.console import Console

from eigen2.config import ResourcesConfig
from eigen2.training.cluster import connect
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime
from eigen2.training.trainer import Trainer
from tests.faults.test_losses import SHARE, Saboteur, process_of
from tests.training.small import MARKET, assert_same_run, make_session, run, small_config


class Sniper(threading.Thread):
    """Kills a random member or the replay buffer every few seconds."""

    def __init__(self, trainer: Trainer, posts: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self._trainer, self._posts, self._every_s = trainer, posts, every_s
        self._rng = np.random.default_rng(0)
        self.shots = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(self._every_s):
            try:
                os.kill(process_of(self._trainer, int(self._rng.integers(self._posts))), signal.SIGKILL)
            except ray.exceptions.RayError:
                continue  # the target is being made anew
            self.shots += 1


def soak(folder: Path, generations: int, every_s: float) -> dict[str, Any]:
    """A run with a fault every `every_s` seconds (0: none), its counts, and the memory of its processes in MB."""
    config = small_config(population_size=3, num_generations=generations, keep=3, wait_s=120.0)
    folder.mkdir(parents=True)
    saboteur = Saboteur(make_session(config, RunFolder(folder), 0), "never", lambda: None)
    trainer = Trainer(config, MARKET, RunFolder(folder), RayRuntime(), lambda: SHARE, saboteur)
    trainer.start()
    early = resident(trainer)
    sniper = Sniper(trainer, posts=4, every_s=every_s)
    started = time.monotonic()
    if every_s:
        sniper.start()
    trainer.run()
    seconds = time.monotonic() - started
    sniper.over.set()
    return {"seconds": seconds, "faults": sniper.shots, "MB at start": early, "MB at end": resident(trainer)}


def resident(trainer: Trainer) -> dict[str, int]:
    """Resident memory of driver, a member and the replay buffer, MB."""
    processes = {"driver": os.getpid(), "member": process_of(trainer, 0), "replay": process_of(trainer, 3)}
    return {name: int(Path(f"/proc/{p}/statm").read_text().split()[1]) * 4096 // 10**6 for name, p in processes.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=3000)
    parser.add_argument("--every-s", type=float, default=5.0)
    args = parser.parse_args()
    console = Console()
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    with tempfile.TemporaryDirectory() as place:
        quiet = soak(Path(place) / "quiet", args.generations, 0)
        console.print("undisturbed", quiet)
        fire = soak(Path(place) / "fire", args.generations, args.every_s)
        console.print("under fire ", fire)
        local = run(Path(place) / "local", population_size=3, num_generations=args.generations, keep=3, wait_s=120.0)
        for name in ("quiet", "fire"):
            assert_same_run(RunFolder(Path(place) / name), local)
    lost = fire["seconds"] - quiet["seconds"]
    console.print(f"{fire['faults']} faults in {args.generations} generations, {lost:.0f} s lost; same numbers: yes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
