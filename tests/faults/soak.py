"""A long run under fire: `python -m tests.faults.soak`. Faults strike at random; the numbers must not change.

Prints faults, generations, seconds lost, the growth of memory and of the object store; exits 1 if a number differs.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import ray
from rich.console import Console

from eigen2.config import ResourcesConfig
from eigen2.training.cluster import connect
from eigen2.training.crew import ATTEMPTS
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime
from eigen2.training.trainer import Trainer
from tests.faults.held import memory_held, objects_held
from tests.faults.test_losses import SHARE, Saboteur, process_of
from tests.training.small import MARKET, assert_same_run, make_session, small_config

MEMBERS = 3
SIZE: dict[str, Any] = {"population_size": MEMBERS, "keep": 3, "wait_s": 120.0, "min_patience_s": 5.0, "patience": 4.0}
POSTS = MEMBERS + 1  # with the replay buffer
HANGS = 0.25  # share of the faults that stop a process instead of killing it
ENOUGH = 100_000  # generations, more than any soak has time for


class Sniper(threading.Thread):
    """Kills, or stops, a random member or the replay buffer every few seconds; sometimes two at once."""

    def __init__(self, trainer: Trainer, every_s: float) -> None:
        super().__init__(daemon=True)
        self._trainer, self._every_s = trainer, every_s
        self._rng = np.random.default_rng(0)
        self.faults: Counter[str] = Counter()
        self._strikes: Counter[tuple[int, int]] = Counter()  # by generation and post
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(self._every_s):
            how = signal.SIGSTOP if self._rng.random() < HANGS else signal.SIGKILL
            for post in self._rng.choice(POSTS, size=self._rng.choice([1, 2], p=[0.8, 0.2]), replace=False):
                if not self._may_strike(int(post)):
                    continue
                try:
                    os.kill(process_of(self._trainer, int(post)), how)
                except (ray.exceptions.RayError, ProcessLookupError):
                    continue  # the target is being made anew
                self.faults[f"{how.name} of {'the replay buffer' if post == POSTS - 1 else 'a member'}"] += 1

    def _may_strike(self, post: int) -> bool:
        """Whether a part would not count as poisoned, however long a generation takes."""
        struck = self._trainer.progress.generation, post
        self._strikes[struck] += 1
        return self._strikes[struck] < ATTEMPTS


def soak(folder: Path, seconds: float, generations: int, every_s: float) -> dict[str, Any]:
    """A run for so long or so many generations, with a fault every `every_s` seconds (0: none): what became of it."""
    config = small_config(**SIZE, num_generations=ENOUGH)
    folder.mkdir(parents=True)
    saboteur = Saboteur(make_session(config, RunFolder(folder), 0), "never", lambda: None)
    trainer = Trainer(config, MARKET, RunFolder(folder), RayRuntime(), lambda: SHARE, saboteur)
    trainer.start()
    early, sniper, started = held_by(trainer), Sniper(trainer, every_s), time.monotonic()
    if every_s:
        sniper.start()
    while trainer.progress.generation < generations and time.monotonic() - started < seconds:
        trainer.advance()
    if every_s:
        sniper.over.set()
        sniper.join()
        trainer.advance()  # heals what the last fault left
    trainer.save_champion()
    return {
        "generations": trainer.progress.generation,
        "seconds": round(time.monotonic() - started),
        "faults": dict(sniper.faults),
        "at the start": early,
        "at the end": held_by(trainer),
    }


def held_by(trainer: Trainer) -> dict[str, float]:
    """Resident memory of driver, a member, the replay buffer and the vault, MB; objects in the object store."""
    return {**memory_held(trainer, MEMBERS), "objects": objects_held()[0]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="under fire; then undisturbed as many generations")
    parser.add_argument("--every-s", type=float, default=5.0, help="seconds between faults")
    args = parser.parse_args()
    console = Console()
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    with tempfile.TemporaryDirectory() as place:
        fire = soak(Path(place) / "fire", 60 * args.minutes, ENOUGH, args.every_s)
        console.print("under fire ", fire)
        quiet = soak(Path(place) / "quiet", float("inf"), fire["generations"], 0)
        console.print("undisturbed", quiet)
        assert_same_run(RunFolder(Path(place) / "fire"), RunFolder(Path(place) / "quiet"))
    lost, count = fire["seconds"] - quiet["seconds"], sum(fire["faults"].values())
    console.print(f"{count} faults in {fire['generations']} generations, {lost} s lost; same numbers: yes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
