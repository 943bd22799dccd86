"""A trial as Ray Tune runs it: one population, one result a generation.

A trial's folder is the truth about it: whoever takes a trial up, after a failure or in another session, goes on from
the newest checkpoint there. So nothing of a trial is kept in Tune's own snapshots.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune as ray_tune

from eigen2.config import Config, config_from_dict
from eigen2.errors import RunError
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import Share
from tune.population import Population, open_or_create, with_smaller_pieces
from tune.space import config_of
from tune.warm import WarmRuntime

OUT_OF_MEMORY = "OutOfMemoryError"
GENERATIONS = "generations_done"  # the time of a trial, from 1
READY = "time/ready"  # seconds until the population stood: to start its processes, or to take them over
HISTORY = "history"  # the values of the sweep's objectives so far: a row for each generation that has them all


@dataclass(frozen=True)
class Ground:
    """What all trials of a sweep share: base config, each member's share, where runs lie, names, the objectives.

    trials: how many the best one is chosen among.
    """

    base: Config
    share: Share
    runs: Path
    sweep: str
    sweep_id: str
    objectives: tuple[str, ...]
    trials: int

    def task(self, trial: str, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """What Tune carries to a trial, as plain values."""
        return {
            "trial": trial,
            "number": number,
            "values": dict(values),
            "base": self.base.model_dump(mode="json"),
            "share": asdict(self.share),
            "runs": str(self.runs.resolve()),
            "sweep": self.sweep,
            "run_id": f"{self.sweep_id}-{trial}",
            "objectives": list(self.objectives),
            "trials": self.trials,
        }


def config_of_task(task: Mapping[str, Any]) -> Config:
    """The config of a trial. Raises ConfigError where its values do not fit together."""
    config = config_of(config_from_dict(task["base"], "the sweep's base config"), task["values"])
    named = {"name": task["trial"], "runs_dir": task["runs"], "sweep_trials": task["trials"]}
    run = config.run.model_copy(update=named)
    # a trial is heard of through Tune
    tracking = config.tracking.model_copy(update={"wandb_group": task["sweep"], "progress": False})
    return config.model_copy(update={"run": run, "tracking": tracking})


def population_size_of(task: Mapping[str, Any]) -> int:
    """Members of a trial."""
    size = task["values"].get("evolution.population_size", task["base"]["evolution"]["population_size"])
    return int(size)


class PopulationTrial(ray_tune.Trainable):
    """One trial after another in the same processes: the driver of a population, its members, replay and vault."""

    @classmethod
    def default_resource_request(cls, task: dict[str, Any]) -> ray_tune.PlacementGroupFactory:
        """A bundle a process of members. Driver, replay and vault only wait or copy: they reserve nothing."""
        share = Share(**task["share"])
        process, processes = share.of_process, -(-population_size_of(task) // share.together)
        bundle = {"CPU": process.cpus, "GPU": process.gpus}
        return ray_tune.PlacementGroupFactory([{}] + [dict(bundle) for _ in range(processes)])

    def setup(self, task: dict[str, Any]) -> None:
        """Ready for a trial. All that may fail waits for `step`, whose failures Tune tries again."""
        self._runtime = WarmRuntime()
        self._task = task
        self._population: Population | None = None

    def reset_config(self, task: dict[str, Any]) -> bool:
        """Ready for another trial, in the same processes."""
        self._runtime.rest()
        self._task = task
        self.cleanup()
        return True

    def cleanup(self) -> None:
        """The trial is over in this process: let go of its run folder."""
        if self._population is not None:
            self._population.close()
        self._population = None

    def step(self) -> dict[str, Any]:
        """Train a generation; the last one's result has the final figures too. Raises RunError if it can't."""
        folder, config = open_or_create(config_of_task(self._task), self._task["run_id"])
        try:
            return self._result(self._advanced(config, folder), folder)
        except (RunError, torch.OutOfMemoryError) as error:
            if OUT_OF_MEMORY not in f"{type(error).__name__}: {error}":
                raise
            raise RunError(_advice(config, with_smaller_pieces(config, folder))) from error

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the run folder has it all. Tune asks when a scheduler pauses a trial."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: `step` goes on from the run folder."""

    def _advanced(self, config: Config, folder: RunFolder) -> Population:
        if self._population is None:
            share, began = Share(**self._task["share"]), time.monotonic()
            self._population = Population(config, folder, self._runtime, lambda: share)
            self._ready_s = time.monotonic() - began
        if not self._population.done:  # it is if a driver died between a trial's last generation and its end
            self._population.advance()
        return self._population

    def _result(self, population: Population, folder: RunFolder) -> dict[str, Any]:
        final = population.finish() if population.done else {}
        rows = [*population.rows[:-1], {**population.rows[-1], **final}]
        return {
            **rows[-1],
            READY: round(self._ready_s, 4),
            GENERATIONS: population.generations,
            HISTORY: _finite(rows, self._task["objectives"]),
            "run": str(folder.path),
            "seconds": population.seconds(),
            "finished": population.done,
            "done": population.done,
        }


def _finite(rows: list[dict[str, Any]], objectives: list[str]) -> list[list[float]]:
    values: list[list[Any]] = [[row.get(name) for name in objectives] for row in rows]
    return [[float(value) for value in row] for row in values if all(map(_is_finite, row))]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _advice(config: Config, smaller: Config | None) -> str:
    lower = (
        f"evolution.population_size {config.evolution.population_size}, ddpg.batch_size {config.ddpg.batch_size} or "
        f"replay.buffer_size {config.buffer_size}"
    )
    if smaller is None:
        return f"out of GPU memory, with single transitions as ddpg.micro_batches too; lower {lower}"
    return (
        f"out of GPU memory; tried again with ddpg.micro_batches {smaller.ddpg.micro_batches} "
        f"(the same batch in smaller pieces); if that does not help, lower {lower}"
    )
