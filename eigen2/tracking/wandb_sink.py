"""Metrics on Weights & Biases, online or offline."""

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eigen2.config import TrackingConfig
from eigen2.errors import ConfigError
from eigen2.tracking.credentials import credentials_source
from eigen2.tracking.sink import Row

if TYPE_CHECKING:
    import wandb

Mode = Literal["online", "offline", "disabled"]

INIT_TIMEOUT_S = 30.0
SUPERSEDED = "superseded"  # folder of offline sessions whose rows a later one has, too
FINISH_TIMEOUT_S = 300.0  # an upload that takes longer is given up; the files stay for `wandb sync`

logger = logging.getLogger("eigen2")


def choose_mode(tracking: TrackingConfig) -> Mode:
    """The mode that is meant by `tracking.wandb_mode`.

    `auto` is what WANDB_MODE says, else online where W&B finds credentials, else offline. Raises ConfigError for
    `online` without credentials.
    """
    found = credentials_source()
    if tracking.wandb_mode == "online" and not found:
        raise ConfigError(
            "tracking.wandb_mode is online, but there is no W&B key; set WANDB_API_KEY or run `wandb login`"
        )
    if tracking.wandb_mode != "auto":
        return tracking.wandb_mode
    match os.environ.get("WANDB_MODE"):
        case "online" | "offline" | "disabled" as mode:
            return mode
        case _:
            return "online" if found else "offline"


class WandbSink:
    """A sink that logs each row at step = generation, and at the end the summary and the champion as an artifact."""

    def __init__(self, run: "wandb.Run", begins_anew: bool = False) -> None:
        """begins_anew: whether the run, offline, is to hold what its earlier sessions logged, too."""
        self._run, self._begins_anew = run, begins_anew
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
    ) -> "WandbSink | None":
        """Start a W&B run that keeps its files in `folder`/wandb; None where W&B is disabled.

        `resume` continues the W&B run `run_id`. Online, rows of generations it already has are dropped by W&B: they
        are the same numbers; see `catch_up` for those it lacks. Offline, W&B can't resume, and a session that was
        killed may lack rows: its folder, unless it was sent, is put aside in favour of one that begins anew. Where it
        was sent, `wandb sync` of the new folder joins them into one run.

        Where W&B can't be reached within `init_timeout_s` seconds, or refuses, a warning says so and the run is
        logged offline. Raises ConfigError for mode `online` without credentials.
        """
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
        return cls(_init(mode, options, init_timeout_s), begins_anew)

    @classmethod
    def of_agent(cls, folder: Path) -> "WandbSink":
        """The run that `wandb agent` began this process for; W&B's files go to `folder`/wandb.

        Project, entity and id are the sweep's: W&B ignores any others. Without a server the run is logged offline.
        """
        folder.mkdir(parents=True, exist_ok=True)
        return cls(_init("online", {"dir": str(folder)}, INIT_TIMEOUT_S))

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self._run.id)

    @property
    def parameters(self) -> dict[str, Any]:
        """The run's config, as W&B gave it out."""
        return dict(self._run.config)

    def describe(self, config_dump: dict[str, Any]) -> None:
        """Add to the run's config what it does not hold yet: swept parameters are locked."""
        self._run.config.update({name: value for name, value in config_dump.items() if name not in self.parameters})

    @property
    def address(self) -> str | None:
        """The run's web page; None offline."""
        return self._run.url

    def catch_up(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Log the generations of a resumed run that W&B did not get before the run was cut off; None is left out.

        Offline, nobody can say what W&B got of a session that was sent: nothing of it is logged again.
        """
        if self._run.offline and not self._begins_anew:
            return
        for row in rows:
            if row["generation"] >= self._run.step:
                self.log({name: value for name, value in row.items() if value is not None})

    def log(self, row: Row) -> None:
        """Log a generation's metrics."""
        self._run.log(dict(row), step=int(row["generation"]))

    def finish(self, summary: Row, champion: Path | None) -> None:
        """Log the summary and the champion's file or folder, and end the W&B run: failed if the summary is empty.

        A second call does nothing. Raises TimeoutError if the upload takes longer than 300 s.
        """
        if self._finished:
            return
        self._finished = True
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


def _put_aside_unsent(folder: Path, run_id: str) -> bool:
    """Put aside the folders of a run's earlier sessions, if all were offline and none was sent; whether it was so."""
    earlier = list(folder.glob(f"*run-*-{run_id}"))
    if any(path.name.startswith("run-") or any(path.glob("*.synced")) for path in earlier):
        return False
    for path in earlier:
        (folder / SUPERSEDED).mkdir(exist_ok=True)
        path.rename(folder / SUPERSEDED / path.name)
    return True


def _init(mode: Mode, options: dict[str, Any], timeout_s: float) -> "wandb.Run":
    import wandb  # not above: it takes a second, which a command without tracking need not wait

    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=timeout_s,
        finish_timeout=FINISH_TIMEOUT_S,
        finish_timeout_raises=True,
    )
    wandb.setup(wandb.Settings(silent=True))
    if mode == "online":
        try:
            return wandb.init(mode="online", settings=settings, **options)
        except wandb.Error as error:
            logger.warning("W&B can't be reached: %s; the run is logged offline", str(error).splitlines()[0])
            wandb.teardown(exit_code=1)  # the failed run still holds its id
    run = wandb.init(mode="offline", settings=settings, **options)
    logger.info("W&B is offline; upload the run with: wandb sync %s", Path(run.dir).parent)
    return run
