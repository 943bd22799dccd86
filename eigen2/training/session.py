"""A session: everything between a config and a finished run folder, whoever asked for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from eigen2.config import Config
from eigen2.errors import RunError
from eigen2.market.build import build_market
from eigen2.market.cleaning import DataReport
from eigen2.market.market import Market
from eigen2.tracking.jsonl import JsonLines, read_rows
from eigen2.tracking.progress import Progress
from eigen2.tracking.sink import Broadcast, Row, Sink
from eigen2.tracking.wandb_sink import WandbSink
from eigen2.training.checkpoint import Archive, fingerprint, generations_saved
from eigen2.training.cluster import nodes, share_of_member
from eigen2.training.ray_metrics import RayMetrics
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import Runtime, Share
from eigen2.training.trainer import Trainer


def load_market(config: Config) -> tuple[Market, DataReport]:
    """The market a config names, and what cleaning it found."""
    return build_market(config.data, config.features, config.splits, config.agent.context_days, config.slice_days)


@dataclass(frozen=True)
class Resume:
    """A run to go on with: its folder, its config, and the generations that its checkpoint has behind it."""

    folder: RunFolder
    config: Config
    generation: int

    @classmethod
    def find(cls, run: str) -> "Resume":
        """From `RUN` (its newest complete checkpoint) or `RUN@GEN`.

        Raises RunError if there is no such checkpoint, or if it is damaged or of another config or version.
        """
        path, at, wanted = run.rpartition("@") if "@" in Path(run).name else (run, "", "")
        folder, config = RunFolder.open(Path(path))
        saved = generations_saved(folder.checkpoints)
        if at and (not wanted.isdigit() or int(wanted) not in saved):
            raise RunError(f"run {path} has no checkpoint of generation {wanted!r}, only of {saved or 'none'}")
        if not at and not saved:
            return cls(folder, config, 0)
        generation = int(wanted) if at else saved[-1]
        Archive(folder.checkpoints, config.checkpoint.keep, fingerprint(config)).require_whole(generation)
        return cls(folder, config, generation)


class Session:
    """The listener of a run: it passes each phase to the progress bar, each generation to all who keep it."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        generation: int,
        sinks: Mapping[str, Sink],
        console: Console,
        meter: Callable[[], Row] = dict,
    ) -> None:
        """meter: read once a generation for what it cost; empty where that isn't known."""
        resumed = generation if folder.metrics.exists() else None
        self._metrics = JsonLines(folder.metrics, keep_generations=resumed)
        self._lineage = JsonLines(folder.lineage, keep_generations=resumed)
        self._candidates = JsonLines(folder.candidates, keep_generations=resumed)
        self._progress = Progress(console, config.run.num_generations, start_generation=generation)
        self._console = console
        self._meter = meter
        self._show = config.tracking.progress
        self._sinks = Broadcast({**sinks, **({"progress": self._progress} if self._show else {})})

    def phase(self, generation: int, name: str, done: int, total: int) -> None:
        """Show how far a phase is."""
        if self._show:
            self._progress.phase(generation, name, done, total)

    def generation(
        self, row: Row, lineage: Sequence[Mapping[str, Any]], candidates: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep a finished generation, then tell everyone."""
        for record in lineage:
            self._lineage.log(record)
        for record in candidates:
            self._candidates.log(record)
        row = {**row, **self._meter()}
        self._metrics.log(row)
        self._sinks.log(row)

    def warn(self, message: str) -> None:
        """Say what went wrong and is mended."""
        self._console.print(message, highlight=False, markup=False)

    def finish(self, summary: Row, champion: Path | None) -> None:
        """End every sink, whether the run is done or not."""
        self._sinks.finish(summary, champion)


def train(
    config: Config,
    market: Market,
    folder: RunFolder,
    runtime: Runtime,
    fit: Callable[[], Share],
    session: Session,
    generation: int = 0,
    between: Callable[[], None] = lambda: None,
) -> Trainer:
    """Train what is left of a run after `generation` generations; its champion ends up in the run folder.

    between: see Trainer.run.
    """
    trainer = Trainer(config, market, folder, runtime, fit, session)
    trainer.start()
    if generation:
        trainer.restore(generation)
    trainer.run(between)
    return trainer


def fit_to_cluster(config: Config) -> Share:
    """What each member takes of the connected cluster as it is now. Raises ResourceError if they do not fit."""
    return share_of_member(config.evolution.population_size, config.resources, nodes())


def sinks_of(config: Config, folder: RunFolder, resumed: bool) -> dict[str, Sink]:
    """W&B, unless it is disabled, and the Ray dashboard's metrics."""
    wandb_sink = WandbSink.start(
        config.tracking, folder.name, folder.path, config.model_dump(mode="json"), folder.identity(), resumed
    )
    if wandb_sink and resumed and folder.metrics.exists():
        wandb_sink.catch_up(read_rows(folder.metrics))
    sinks: dict[str, Sink] = {"Ray's metrics": RayMetrics(folder.name)}
    return sinks | ({"W&B": wandb_sink} if wandb_sink else {})
