"""A session of a sweep: Ray Tune runs its trials, and the sweep's folder keeps what came of them."""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ray import tune as ray_tune
from ray.tune.search import ConcurrencyLimiter
from rich.console import Console

from eigen2.config import Config
from eigen2.config.trust import with_fields
from eigen2.tracking.expression import metrics_in
from eigen2.training.run_folder import RunFolder
from tune.fields import COMBINED_SCORE, SWEEP_TRIALS
from tune.folder import Settings, SweepFolder
from tune.records import Record, Records
from tune.resources import Room
from tune.scheduler import Name, scheduler_of
from tune.search import Told, searcher_of
from tune.sweep_file import Metric, SweepFile
from tune.table import Progress
from tune.tasks import Tasks
from tune.trial import Ground, PopulationTrial
from tune.wandb_logging import on_wandb
from tune.watch import Watch

RAY_LOGGERS = ("ray.tune", "ray.train", "ray.air")
RETRIES = 2  # of a trial that fails, each from its last checkpoint
TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a trial's rows are in its run folder
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # final metrics come with the last result only
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: the records are complete at any time
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # its snapshots are never read: a sweep goes on from its records
    "RAY_AIR_NEW_OUTPUT": "0",  # and what it would print is in our own table
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a trial's error is told in a sentence, and kept under tune/
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of the config mean what they mean by hand
}
FINAL, SCORE = "final/", "combined_score"


@dataclass(frozen=True)
class Plan:
    """A sweep, ready to run: its file with the command line's constants, base config, settings, objectives, size."""

    sweep: SweepFile
    base: Config
    settings: Settings
    objectives: tuple[Metric, ...]
    generations: int
    trials: int | None

    @property
    def metric(self) -> Metric:
        """The first objective."""
        return self.objectives[0]

    @property
    def scheduler(self) -> Name:
        """Who stops trials early; nobody where an objective is known only when a trial is over."""
        return "none" if self.known_at_the_end else self.settings.scheduler

    @property
    def earlier_trials(self) -> int:
        """The number of trials of an earlier phase, round whose best ones this sweep searches."""
        before = int(self.sweep.space.constants.get(SWEEP_TRIALS, self.base.run.sweep_trials))
        return before if before > 1 else 0  # a run on its own is one of one

    def all_trials(self, records: Records) -> int:
        """The number of trials that the best one will be chosen among."""
        return self.earlier_trials + (self.trials or len(records))

    @property
    def compared(self) -> tuple[str, ...]:
        """The metrics that trials report in each generation: all objectives, if trials can be compared by them."""
        compared = self.objectives[:1] if self.known_at_the_end else self.objectives
        return tuple(objective.name for objective in compared)

    @property
    def known_at_the_end(self) -> list[str]:
        """The objectives that a trial has only when it is over."""
        return [objective.name for objective in self.objectives if self._is_final(objective.name)]

    def _is_final(self, metric: str) -> bool:
        names = [name for text in self._combined_scores for name in metrics_in(text)]
        return any(name.startswith(FINAL) for name in (names if metric == SCORE else [metric]))

    @property
    def _combined_scores(self) -> tuple[str, ...]:
        space = self.sweep.space
        varied = [parameter.extremes for parameter in space.parameters if parameter.field == COMBINED_SCORE]
        return varied[0] if varied else (space.constants.get(COMBINED_SCORE, self.base.tracking.combined_score),)


def run(
    plan: Plan,
    folder: SweepFolder,
    room: Room,
    console: Console,
    kind: type[PopulationTrial] = PopulationTrial,
) -> Records:
    """Run what is left of a sweep; returns the records of all its trials."""
    os.environ.update(TUNE_SETTINGS)
    shutil.rmtree(folder.tune, ignore_errors=True)
    records = Records(folder.trials)
    progress = Progress(console, records, plan.metric, plan.trials, plan.generations, room.concurrent)
    names = [objective.name for objective in plan.objectives]
    callbacks: list[ray_tune.Callback] = [Watch(records, progress, names, plan.scheduler)]
    if wandb := on_wandb(plan.base, folder.path):
        callbacks.append(wandb)
    progress.start()
    try:
        with _ray_log(folder.log):
            _tuner(plan, folder, room, records, callbacks, kind).fit()
    finally:
        progress.stop()
        if wandb:
            wandb.close()
    return records


@contextmanager
def _ray_log(path: Path) -> Iterator[None]:
    """What Ray's libraries log goes to a file: trials and their errors are told in the table."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in RAY_LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        handler.close()


def _tuner(
    plan: Plan,
    folder: SweepFolder,
    room: Room,
    records: Records,
    callbacks: Sequence[ray_tune.Callback],
    kind: type[PopulationTrial],
) -> ray_tune.Tuner:
    past = list(records)
    return ray_tune.Tuner(
        kind,
        tune_config=ray_tune.TuneConfig(
            search_alg=_searcher(plan, folder, room, records),
            scheduler=scheduler_of(plan.scheduler, plan.sweep, plan.objectives, plan.generations, past),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: str(trial.config["trial"]),
            trial_dirname_creator=lambda trial: str(trial.config["trial"]),
        ),
        run_config=ray_tune.RunConfig(
            name=folder.tune.name,
            storage_path=str(folder.path.resolve()),
            failure_config=ray_tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=ray_tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            callbacks=list(callbacks),
            verbose=0,
        ),
    )


def _searcher(plan: Plan, folder: SweepFolder, room: Room, records: Records) -> Tasks | ConcurrencyLimiter:
    inner = searcher_of(
        plan.sweep,
        plan.settings.seed,
        num_trials=plan.trials,
        objectives=plan.objectives,
        told=[told_of(record, plan.objectives) for record in records],
    )
    settings = plan.settings
    trials = plan.all_trials(records)
    ground = Ground(plan.base, room.share, folder.runs, folder.name, settings.id, plan.compared, trials)
    tasks = Tasks(inner, ground.task, lambda: target_reached(records, plan.metric))
    if plan.scheduler == "hyperband":
        # it stops nothing where fewer trials are begun than its bracket holds: only the room limits how many run
        return tasks
    return ConcurrencyLimiter(tasks, max_concurrent=room.concurrent)


def grow(plan: Plan, folder: SweepFolder, records: Records) -> None:
    """Tell the runs of earlier trials how many trials there are now: the more, the less the best one means."""
    for record in records:
        path = folder.runs / Path(record.trial).name  # not record.run: a sweep from elsewhere may name any folder
        if (path / "config.yaml").is_file():
            run, config = RunFolder.open(path)
            run.keep_config(with_fields(config, {SWEEP_TRIALS: plan.all_trials(records)}))


def retry_failed(records: Records) -> list[Record]:
    """Mark failed trials as running, so that the next session takes them up where they were; returns them."""
    return [records.change(record.trial, state="running", reason=None) for record in records.in_state("failed")]


def told_of(record: Record, objectives: Sequence[Metric]) -> Told:
    """A trial of an earlier session, as the search knows it."""
    told = Told(record.number, dict(record.values))
    if record.state == "running":
        return told
    outcome = [record.metrics.get(objective.name) for objective in objectives]
    if record.state == "failed" or any(value is None for value in outcome):
        return replace(told, state="failed")
    return replace(told, state="done", outcome=tuple(float(value) for value in outcome if value is not None))


def target_reached(records: Records, metric: Metric) -> bool:
    """Whether a trial has reached the metric's target, if there is one."""
    if metric.target is None:
        return False
    sign = 1 if metric.goal == "maximize" else -1
    return any(sign * (record.best - metric.target) >= 0 for record in records if record.best is not None)
