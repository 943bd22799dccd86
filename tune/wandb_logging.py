"""Trials on W&B, logged by the sweep's own process: the same names, steps and ids as a run by hand.

Not by Ray's WandbLoggerCallback: its actors are killed with the session, and with them what W&B has not written yet.
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from ray import tune as ray_tune
from ray.tune.experiment import Trial

from eigen2.config import Config, TrackingConfig
from eigen2.tracking.jsonl import read_rows
from eigen2.tracking.sink import Broadcast, Row
from eigen2.tracking.wandb_sink import FINISH_TIMEOUT_S, WandbSink, choose_mode, end_wandb
from eigen2.training.run_folder import RunFolder
from tune.trial import config_of_task
from tune.watch import metrics_of

QUIET_S = 5.0  # of waiting for W&B at the end, before a message says so

logger = logging.getLogger("eigen2")


class TrialsOnWandb(ray_tune.Callback):
    """A W&B run a trial, in the group of the sweep, with one row a generation; it goes on where the trial does.

    W&B's files are kept in the sweep's folder: `wandb sync` sends them later. All calls of W&B come from one thread
    in the background, so that no trial waits for a slow server.
    """

    def __init__(self, folder: Path) -> None:
        """folder: that W&B makes its own `wandb` in."""
        self._folder = folder.resolve()
        self._runs: dict[str, Broadcast] = {}  # of trials that are not over
        self._unreachable = False
        self._began = False  # whether any run was
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that a sweep has no need of."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Log a generation."""
        self._calls.put(partial(self._log, trial.config, Path(result["run"]), metrics_of(result)))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End the run of a trial that came to its end, or was stopped early."""
        self._calls.put(partial(self._finish, trial.config["trial"], metrics_of(trial.last_result)))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """End the run of a trial that failed for good, as failed."""
        self._calls.put(partial(self._finish, trial.config["trial"], {}))

    def close(self) -> None:
        """End the runs of trials that were cut off, as failed; wait until W&B has everything, or for its timeout."""
        self._calls.put(self._finish_all)
        self._calls.put(None)
        self._thread.join(QUIET_S)
        if self._thread.is_alive():
            logger.warning("waiting for W&B, at most %.0f s; Ctrl-C leaves the rest to `wandb sync`", FINISH_TIMEOUT_S)
            self._thread.join(FINISH_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("W&B took too long: send its files with wandb sync %s", self._folder / "wandb" / "*run-*")

    def _work(self) -> None:
        while call := self._calls.get():
            try:
                call()
            except Exception as error:  # noqa: BLE001 - whatever W&B raises, no sweep must die of it
                logger.warning("W&B: %s: %s; the sweep goes on", type(error).__name__, error)

    def _log(self, task: dict[str, Any], run: Path, row: Row) -> None:
        name = task["trial"]
        if name not in self._runs:
            sink = self._start(task, run)
            self._runs[name] = Broadcast({f"W&B ({name})": sink} if sink else {})
        self._runs[name].log(row)

    def _start(self, task: dict[str, Any], run: Path) -> WandbSink | None:
        """The W&B run of a trial, with all rows that the trial has behind it."""
        config = config_of_task(task)
        sink = WandbSink.start(
            self._reachable(config.tracking),
            task["trial"],
            self._folder,
            {**config.model_dump(mode="json"), "sweep_values": task["values"]},
            task["run_id"],
            resume=True,  # an earlier session may have begun it
            on_stop=partial(logger.warning, "W&B asks to stop %s; a sweep leaves that to its scheduler", task["trial"]),
            alone=not self._runs,
        )
        if sink:
            self._began = True
            self._unreachable = self._unreachable or sink.offline
            sink.catch_up(read_rows(RunFolder(run).metrics)[:-1])
        return sink

    def _reachable(self, tracking: TrackingConfig) -> TrackingConfig:
        """Offline once W&B could not be reached: no later trial waits for it again."""
        return tracking.model_copy(update={"wandb_mode": "offline"}) if self._unreachable else tracking

    def _finish(self, name: str, summary: Row) -> None:
        if run := self._runs.pop(name, None):
            run.finish(summary, None)

    def _finish_all(self) -> None:
        for name in list(self._runs):
            self._finish(name, {})
        if self._began:
            end_wandb()


def on_wandb(base: Config, folder: Path) -> TrialsOnWandb | None:
    """The callback that logs to W&B, online or offline as the config says; None where W&B is disabled."""
    return None if choose_mode(base.tracking) == "disabled" else TrialsOnWandb(folder)
