"""Trials on W&B, through Ray's own integration: the same names, steps and ids as a run by hand."""

import os
from pathlib import Path
from typing import Any

from ray.air.constants import TRAINING_ITERATION
from ray.air.integrations.wandb import WandbLoggerCallback
from ray.tune.experiment import Trial

from eigen2.config import Config
from eigen2.tracking.jsonl import read_rows
from eigen2.tracking.wandb_sink import FINISH_TIMEOUT_S, choose_mode
from eigen2.training.run_folder import RunFolder
from tune.trial import config_of_task
from tune.watch import metrics_of


class TrialsOnWandb(WandbLoggerCallback):
    """A W&B run a trial, in the group of the sweep, with one row a generation; it goes on where the trial does.

    W&B's files are kept in the sweep's folder: `wandb sync` sends them later.
    """

    def __init__(self, base: Config, sweep: str, folder: Path, mode: str) -> None:
        """folder: that W&B makes its own `wandb` in."""
        super().__init__(
            project=base.tracking.wandb_project,
            group=sweep,
            entity=base.tracking.wandb_entity,
            mode=mode,
            dir=str(folder.resolve()),
            settings={"silent": True, "console": "off", "finish_timeout": FINISH_TIMEOUT_S},
        )
        self._begun: set[str] = set()

    def setup(self, *args: Any, **options: Any) -> None:
        if self.kwargs["mode"] == "offline":
            os.environ["WANDB_MODE"] = "offline"  # Ray asks for a key unless the environment itself says so
        super().setup(*args, **options)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Log a generation; after a restart all that the trial has behind it, of which W&B drops what it knows."""
        name = trial.config["trial"]
        if name not in self._begun:
            self._begun.add(name)
            for row in read_rows(RunFolder(Path(result["run"])).metrics)[:-1]:
                self._log(iteration, trial, row)
        self._log(iteration, trial, result)

    def _log(self, iteration: int, trial: Trial, row: dict[str, Any]) -> None:
        super().log_trial_result(iteration, trial, {**metrics_of(row), TRAINING_ITERATION: row["generation"]})

    def _start_logging_actor(self, trial: Trial, exclude_results: list[str], **options: Any) -> None:
        task = trial.config
        run = {
            "id": task["run_id"],
            "name": task["trial"],
            "resume": "allow",
            "config": {**config_of_task(task).model_dump(mode="json"), "sweep_values": task["values"]},
        }
        if options["mode"] == "offline":
            run["resume"] = None  # offline, W&B can't resume: a second folder of the same id is joined by `wandb sync`
        super()._start_logging_actor(trial, exclude_results, **{**options, **run})


def on_wandb(base: Config, sweep: str, folder: Path) -> TrialsOnWandb | None:
    """The callback that logs to W&B, online or offline as the config says; None where W&B is disabled."""
    mode = choose_mode(base.tracking)
    return None if mode == "disabled" else TrialsOnWandb(base, sweep, folder, mode)
