"""Ray Tune's events, as records of trials and as progress."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune as ray_tune
from ray.tune.experiment import Trial

from tune.records import Record, Records
from tune.table import Progress
from tune.trial import GENERATIONS, HISTORY

ERROR_NAME = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?(?:RunError|ConfigError|DataError|ResourceError): ")


class Watch(ray_tune.Callback):
    """Keeps the record of every trial, and shows it."""

    def __init__(self, records: Records, progress: Progress, metrics: Sequence[str], scheduler: str) -> None:
        """metrics: the sweep's objectives, the first of which is the record's `best`."""
        self._records, self._progress = records, progress
        self._metric, self._scheduler = metrics[0], scheduler

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that a sweep has no need of."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A new trial, one of an earlier session, or one that is tried again."""
        task = trial.config
        if self._records.get(task["trial"]) is None:
            self._records.put(Record(task["trial"], task["number"], "running", task["values"]))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A generation is done."""
        value = result.get(self._metric)
        history, *others = zip(*result[HISTORY], strict=True) if result[HISTORY] else ((),)
        record = self._records.change(
            trial.config["trial"],
            metrics=metrics_of(result),
            history=tuple(history),
            others=tuple(others),
            best=float(value) if isinstance(value, int | float) and math.isfinite(value) else None,
            generation=result[GENERATIONS],
            seconds=result["seconds"],
            run=result["run"],
            reason=None,
        )
        self._progress.changed(record)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial came to its end, or was stopped on the way."""
        name = trial.config["trial"]
        record = self._records.get(name)
        if record is None:  # it never began
            return
        if trial.last_result.get("finished"):
            record = self._records.change(name, state="finished", reason=None)
        else:
            reason = f"stopped by {self._scheduler} after generation {record.generation}"
            record = self._records.change(name, state="stopped", reason=reason)
        self._progress.changed(record)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed and is tried again."""
        name = trial.config["trial"]
        self._records.change(name, reason=reason_of(trial))
        self._progress.say(f"{name} failed and goes on from its last checkpoint: {reason_of(trial)}")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed for good."""
        name = trial.config["trial"]
        if self._records.get(name) is None:
            self._records.put(Record(name, trial.config["number"], "running", trial.config["values"]))
        self._progress.changed(self._records.change(name, state="failed", reason=reason_of(trial)))


def metrics_of(result: dict[str, Any]) -> dict[str, Any]:
    """The run's own figures in a result of Tune's."""
    own = {"generation", "combined_score"}
    return {name: value for name, value in result.items() if name in own or ("/" in name and _plain(value))}


def reason_of(trial: Trial) -> str:
    """The last line of a trial's error, without the name of an error of ours."""
    # Tune's own reader looks where trials are synced to, later
    text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ERROR_NAME.sub("", lines[-1]) if lines else "it ended without an answer"


def _plain(value: object) -> bool:
    return isinstance(value, int | float | str)
