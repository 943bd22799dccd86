"""A session: everything between a config and a finished run folder, whoever asked for it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from eigen2.config import Config
from eigen2.market.market import Market
from eigen2.tracking.expression import value_of
from eigen2.tracking.jsonl import JsonLines, read_rows
from eigen2.tracking.progress import Progress
from eigen2.tracking.sink import Broadcast, Row, Sink
from eigen2.tracking.wandb_sink import WandbSink
from eigen2.training.cluster import nodes, share_of_member
from eigen2.training.ray_metrics import RayMetrics
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import Runtime, Share
from eigen2.training.trainer import Trainer


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
        self._metrics = JsonLines(folder.metrics, keep_generations=generation)
        self._lineage = JsonLines(folder.lineage, keep_generations=generation)
        self._candidates = JsonLines(folder.candidates, keep_generations=generation)
        self._progress = Progress(console, config.run.num_generations, start_generation=generation)
        self._console = console
        self._meter = meter
        self._combined_score = config.tracking.combined_score
        self._show = config.tracking.progress
        self._sinks = Broadcast({**sinks, **({"progress": self._progress} if self._show else {})})

    def listen(self, sinks: Mapping[str, Sink]) -> None:
        """Let more sinks hear of the run from here on."""
        self._sinks.add(sinks)

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
        # of metrics of a generation alone, so that trials of a sweep can be compared by it while they run
        score = value_of(self._combined_score, row)
        if score is not None:
            row["combined_score"] = score
        self._metrics.log(row)
        self._sinks.log(row)

    def warn(self, message: str) -> None:
        """Say what went wrong and is mended."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)

    def end_bar(self) -> None:
        """Give the terminal back: what is printed from here on is not overwritten."""
        self._progress.finish({}, None)

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
    sinks: Callable[[], Mapping[str, Sink]] = dict,
) -> Trainer:
    """Train what is left of a run after `generation` generations; its champion ends up in the run folder.

    between: see Trainer.run; sinks: further sinks, which are opened while the members start.
    """
    trainer = Trainer(config, market, folder, runtime, fit, session)
    session.listen(sinks())
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
