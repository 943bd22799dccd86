"""Metrics on Weights & Biases, online or offline."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from eigen2.config import TrackingConfig
from eigen2.errors import ConfigError, Eigen2Error, RunError
from eigen2.tracking.credentials import credentials_source, settings_in_files
from eigen2.tracking.deadline import HungError, Result, within
from eigen2.tracking.sink import Row

if TYPE_CHECKING:
    import wandb

Mode = Literal["online", "offline", "disabled"]
MODES: dict[str, Mode] = {  # W&B's names, two of which are older ones
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
FALSE = ("", "0", "false", "no", "off")

INIT_TIMEOUT_S = 30.0
START_PATIENCE = 3  # times the timeout of an attempt online, after which W&B is taken to hang
SUPERSEDED = "superseded"  # folder of offline sessions whose rows a later one has, too
FINISH_TIMEOUT_S = 300.0  # an upload that takes longer is given up; the files stay for `wandb sync`
HANG_S = 30.0  # beyond that timeout, which W&B's own process keeps, after which W&B is taken to hang
FLUSH_S = 1.0  # W&B writes rows to the disk every 15 s by default, which a process that is killed would lose

logger = logging.getLogger("eigen2")


def choose_mode(tracking: TrackingConfig) -> Mode:
    """The mode that is meant by `tracking.wandb_mode`.

    `auto` is the mode that W&B was told by environment or settings file, else online where W&B finds credentials, else
    offline. Raises ConfigError for `online` without credentials, and for a mode of W&B's that eigen2 does not have.
    """
    if tracking.wandb_mode == "online" and not credentials_source():
        raise ConfigError(
            "tracking.wandb_mode is online, but there is no W&B key; set WANDB_API_KEY or run `wandb login`"
        )
    if tracking.wandb_mode != "auto":
        return tracking.wandb_mode
    return _mode_told_to_wandb() or ("online" if credentials_source() else "offline")


def _mode_told_to_wandb() -> Mode | None:
    """The mode by WANDB_DISABLED, WANDB_MODE or W&B's settings files, in this order; None where all are silent."""
    if os.environ.get("WANDB_DISABLED", "").lower() not in FALSE:
        return "disabled"
    for place, told in (
        ("WANDB_MODE", os.environ.get("WANDB_MODE")),
        ("mode in W&B's settings file", settings_in_files().get("mode")),
    ):
        if told and told not in MODES:
            raise ConfigError(f"{place} is {told}; set it to online, offline or disabled")
        if told:
            return MODES[told]
    return None


class WandbSink:
    """A sink that logs each row at step = generation, and at the end the summary and the champion as an artifact."""

    def __init__(self, run: "wandb.Run", begins_anew: bool = False) -> None:
        """begins_anew: whether the run, offline, is to hold what its earlier sessions logged, too."""
        self._run, self._begins_anew = run, begins_anew
        self._next: int = run.step  # asked once: W&B's own process answers, which may take long
        self._finished = False

    @classmethod
    def start(
        cls,
        tracking: TrackingConfig,
        run_name: str,
        folder: Path,
        config_dump: dict[str, Any],
        run_id: str,
        resume: bool,
        init_timeout_s: float = INIT_TIMEOUT_S,
        on_stop: Callable[[], None] | None = None,
        alone: bool = True,
    ) -> "WandbSink | None":
        """Start a W&B run that keeps its files in `folder`/wandb; None where W&B is disabled or can't be started.

        `resume` continues the W&B run `run_id`. Online, rows of generations it already has are dropped by W&B: they
        are the same numbers; see `catch_up` for those it lacks. Offline, W&B can't resume, and a session that was
        killed may lack rows: its folder, unless it was sent, is put aside in favour of one that begins anew. Where it
        was sent, `wandb sync` of the new folder joins them into one run.

        Where W&B can't be reached within `init_timeout_s` seconds, or refuses, a warning says so and the run is
        logged offline. Where W&B does not start at all, a warning says so too.

        on_stop: called, in another thread, when the run is stopped on W&B's page; none: that interrupts this process
        as Ctrl-C does. alone: whether this process has no other W&B run open. Raises ConfigError for mode `online`
        without credentials.
        """

        def begin() -> "WandbSink | None":
            mode = choose_mode(tracking)
            if mode == "disabled":
                return None
            folder.mkdir(parents=True, exist_ok=True)  # W&B would go to a temporary folder without a word
            options = {
                "project": tracking.wandb_project,
                "entity": tracking.wandb_entity,
                "group": tracking.wandb_group,
                "name": run_name,
                "dir": str(folder),
                "id": run_id,
                "resume": "allow" if resume else None,
                "config": config_dump,
            }
            begins_anew = resume and _put_aside_unsent(folder / "wandb", run_id)
            return cls(_init(mode, options, init_timeout_s, on_stop, alone), begins_anew)

        try:
            return _with_deadline(START_PATIENCE * init_timeout_s, begin)
        except Eigen2Error:
            raise
        except Exception as error:  # noqa: BLE001 - whatever W&B raises, no training must die of it
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            logger.warning("W&B can't be started: %s; the run is not logged to W&B", reason)
            return None

    @classmethod
    def of_agent(cls, folder: Path, tracking: TrackingConfig) -> "WandbSink":
        """The run that `wandb agent` began this process for; W&B's files go to `folder`/wandb.

        Project, entity and id are the sweep's: W&B ignores any others. A run that was interrupted, and that the agent
        begins again, goes on in the same W&B run. Without a server the run is logged offline. Raises RunError where
        W&B does not start.
        """

        def begin() -> "WandbSink":
            mode = choose_mode(tracking)
            if mode != "online":
                logger.warning(
                    "W&B is %s here, so the sweep's search and early stopping learn nothing of this run", mode
                )
            folder.mkdir(parents=True, exist_ok=True)
            return cls(_init(mode, {"dir": str(folder), "resume": "allow"}, INIT_TIMEOUT_S))

        try:
            return _with_deadline(START_PATIENCE * INIT_TIMEOUT_S, begin)
        except HungError as error:
            raise RunError(f"W&B does not give the values of this run: {error}") from error

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self._run.id)

    @property
    def parameters(self) -> dict[str, Any]:
        """The values that the sweep gives this run; the config of a run that goes on holds more."""
        path = self._run.settings.sweep_param_path
        if not path:
            return dict(self._run.config)
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return {name: spec["value"] for name, spec in given.items() if name != "wandb_version"}

    def describe(self, config_dump: dict[str, Any]) -> None:
        """Add to the run's config what it does not hold yet: swept parameters are locked."""
        held = dict(self._run.config)
        self._run.config.update({name: value for name, value in config_dump.items() if name not in held})

    @property
    def offline(self) -> bool:
        """Whether nothing is sent to W&B."""
        return bool(self._run.offline)

    @property
    def address(self) -> str | None:
        """The run's web page; None offline."""
        return self._run.url

    def catch_up(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Log the generations of a resumed run that W&B did not get before the run was cut off; None is left out.

        Offline, nobody can say what W&B got of a session that was sent: nothing of it is logged again.
        """
        if self.offline and not self._begins_anew:
            return
        for row in rows:
            self.log({name: value for name, value in row.items() if value is not None})

    def log(self, row: Row) -> None:
        """Log a generation's metrics; one that was logged before, and was played again, is left out."""
        generation = int(row["generation"])
        if generation < self._next:
            return
        self._next = generation + 1
        # committed now: W&B would keep the row back until the next one comes
        self._run.log(dict(row), step=generation, commit=True)

    def mark_interrupted(self) -> None:
        """Tell W&B at once that this run of a sweep is cut off; it is given to an agent again once it has failed."""
        self._run.mark_preempting()

    def finish(self, summary: Row, champion: Path | None) -> None:
        """Log the summary and the champion's file or folder, and end the W&B run: failed if the summary is empty.

        A second call does nothing. Raises TimeoutError if the upload takes longer than 300 s, or W&B hangs.
        """
        if self._finished:
            return
        self._finished = True
        _with_deadline(FINISH_TIMEOUT_S + HANG_S, lambda: self._finish(summary, champion))

    def _finish(self, summary: Row, champion: Path | None) -> None:
        try:
            self._run.summary.update(dict(summary))
            if champion is not None:
                self._log_champion(champion)
        finally:
            self._run.finish(exit_code=0 if summary else 1)

    def _log_champion(self, champion: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"champion-{self._run.id}", type="model")
        # a mutable file is copied to W&B's cache in the home folder first, which is small on many clusters
        if champion.is_dir():
            artifact.add_dir(str(champion), policy="immutable")
        else:
            artifact.add_file(str(champion), policy="immutable")
        self._run.log_artifact(artifact)


def end_wandb() -> None:
    """End W&B's own process and wait for it: a finished run's file may lack everything for a moment until then.

    Raises TimeoutError if W&B hangs.
    """
    import wandb

    _with_deadline(FINISH_TIMEOUT_S, wandb.teardown)


def _put_aside_unsent(folder: Path, run_id: str) -> bool:
    """Put aside the folders of a run's earlier sessions, if all were offline and none was sent; whether it was so."""
    earlier = list(folder.glob(f"*run-*-{run_id}"))
    if any(path.name.startswith("run-") or any(path.glob("*.synced")) for path in earlier):
        return False
    for path in earlier:
        (folder / SUPERSEDED).mkdir(exist_ok=True)
        path.rename(folder / SUPERSEDED / path.name)
    return True


def _init(
    mode: Mode,
    options: dict[str, Any],
    timeout_s: float,
    on_stop: Callable[[], None] | None = None,
    alone: bool = True,
) -> "wandb.Run":
    import wandb  # not above: it takes a second, which a command without tracking need not wait

    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=timeout_s,
        finish_timeout=FINISH_TIMEOUT_S,
        finish_timeout_raises=True,
        x_transaction_log_flush_interval=FLUSH_S,
        reinit="create_new",  # the trials of a sweep are logged side by side
        stop_fn=on_stop,
    )
    wandb.setup(wandb.Settings(silent=True))
    if mode == "online":
        try:
            return wandb.init(mode="online", settings=settings, **options)
        except wandb.Error as error:
            if not alone:
                raise  # the way below would end the other runs
            logger.warning("W&B can't be reached: %s; the run is logged offline", str(error).splitlines()[0])
            wandb.teardown(exit_code=1)  # the failed run still holds its id
    run = wandb.init(mode=mode if mode == "disabled" else "offline", settings=settings, **options)
    if mode != "disabled":
        logger.info("W&B is offline; upload the run with: wandb sync %s", Path(run.dir).parent)
    return run


def _with_deadline(seconds: float, call: Callable[[], Result]) -> Result:
    """What `call` returns. Raises HungError if W&B hangs, whose own process is ended: it would hang at exit, too."""
    try:
        return within(seconds, call)
    except HungError:
        from wandb.sdk import wandb_setup

        singleton = wandb_setup._singleton  # private: the public way to it hangs, too
        service = singleton._connection if singleton else None
        if service and service._proc and service._cleanup:
            service._cleanup()  # its exit hook
            service._proc._process.kill()
        raise
