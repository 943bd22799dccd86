"""A trial's population: a run in a folder of its own, played generation by generation by whoever asks for them."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from rich.console import Console

from eigen2.arrays import Arrays
from eigen2.config import Config, DataConfig, FeaturesConfig, SplitsConfig
from eigen2.config.trust import with_fields
from eigen2.evaluation.scores import score_slices
from eigen2.evaluation.slices import whole
from eigen2.files import write_atomically
from eigen2.learning.agent import Agent, MarketView
from eigen2.locking import FolderLock
from eigen2.market.build import build_market
from eigen2.market.cleaning import DataReport
from eigen2.market.market import Market
from eigen2.tracking.expression import value_of
from eigen2.tracking.jsonl import read_rows
from eigen2.tracking.sink import Row, Sink
from eigen2.trading.rules import settle
from eigen2.training.checkpoint import generations_saved, load_genome, rewind
from eigen2.training.provenance import require_same
from eigen2.training.run_folder import RunFolder, with_absolute_source
from eigen2.training.runtime import Runtime, Share
from eigen2.training.session import Session
from eigen2.training.trainer import Trainer

LOCK_WAIT_S = 60.0  # the process of an earlier attempt may be slow to die
MARKETS_KEPT = 8  # trials that differ in what the market is built of take turns


class Population:
    """A run that goes on from its newest checkpoint, if it has one."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        runtime: Runtime,
        fit: Callable[[], Share],
        sinks: Mapping[str, Sink] | None = None,
        console: Console | None = None,
    ) -> None:
        """fit: the share of each member; sinks, console: who hears of the rows, and of troubles."""
        self._config, self._folder = config, folder
        self._market, report = market_of(config)
        self._lock = FolderLock(folder.path)
        self._lock.acquire(LOCK_WAIT_S)
        require_same(folder, self._market)
        write_atomically(folder.data_report, report.to_text().encode())
        saved = generations_saved(folder.checkpoints)
        done = saved[-1] if saved else 0
        rewind(folder.checkpoints, done)
        self._heard = Heard()
        self._listener = Session(
            config, folder, done, {**(sinks or {}), "the trial": self._heard}, console or Console(stderr=True)
        )
        self.rows = read_rows(folder.metrics) if folder.metrics.exists() else []
        self._trainer = Trainer(config, self._market, folder, runtime, fit, self._listener)
        self._trainer.start()
        if done:
            self._trainer.restore(done)

    @property
    def generations(self) -> int:
        """How many are done."""
        return self._trainer.progress.generation

    @property
    def done(self) -> bool:
        """Whether all are."""
        return self.generations >= self._config.run.num_generations

    def advance(self) -> Row:
        """Train the next generation; its row, once it is on the disk with its checkpoint."""
        self._trainer.advance()
        self.rows.append(dict(self._heard.row))
        return self._heard.row

    def finish(self) -> Row:
        """Save the champion; the run's final figures and its combined score."""
        self._listener.end_bar()
        self._trainer.save_champion()
        self._trainer.flush()
        final: Row = final_figures(self._config, self._market, load_genome(self._folder.champion))
        score = value_of(self._config.tracking.combined_score, {**self.rows[-1], **final})
        return final if score is None else {**final, "combined_score": score}

    def close(self) -> None:
        """Let go of the run folder."""
        self._lock.release()

    def seconds(self) -> float:
        """What all generations took, in whatever process they were trained."""
        return sum(row["time/generation"] + row["time/checkpoint"] for row in self.rows)


class Heard:
    """A sink that keeps the last row."""

    def __init__(self) -> None:
        self.row: Row = {}

    def log(self, row: Row) -> None:
        self.row = row

    def finish(self, summary: Row, champion: Path | None) -> None:
        """Nothing is open."""


def open_or_create(config: Config, run_id: str) -> tuple[RunFolder, Config]:
    """The run folder of a trial, and the config it goes on with."""
    assert config.run.name is not None
    folder = RunFolder(Path(config.run.runs_dir) / config.run.name)
    if folder.config.is_file():
        folder, found = RunFolder.open(folder.path)
        # an earlier attempt may have made the pieces smaller; in all else the caller's config decides
        return folder, with_fields(config, {"ddpg.micro_batches": found.ddpg.micro_batches})
    folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.id, run_id.encode())
    folder.keep_config(with_absolute_source(config))
    return folder, config


def with_smaller_pieces(config: Config, folder: RunFolder) -> Config | None:
    """Halve the pieces that updates are computed in, for the next attempt too; None where they are single transitions.

    The batch of an update stays the same, and so does what is learned, but for rounding.
    """
    pieces = config.ddpg.micro_batches * 2
    if pieces > config.ddpg.batch_size * config.ddpg.gradient_accumulation_steps:
        return None
    smaller = with_fields(config, {"ddpg.micro_batches": pieces})
    folder.keep_config(with_absolute_source(smaller))
    return smaller


def market_of(config: Config) -> tuple[Market, DataReport]:
    """The market a config names, and what cleaning it found; built once for all trials that share it."""
    return _market(config.data, config.features, config.splits, config.agent.context_days, config.slice_days)


@lru_cache(maxsize=MARKETS_KEPT)
def _market(
    data: DataConfig, features: FeaturesConfig, splits: SplitsConfig, context_days: int, slice_days: int
) -> tuple[Market, DataReport]:
    return build_market(data, features, splits, context_days, slice_days)


def final_figures(config: Config, market: Market, champion: Arrays) -> dict[str, float]:
    """The `final/` metrics: a champion on all validation days as one episode. The hold-out stays unseen."""
    agent = Agent(config.agent, config.ddpg, config.rules, MarketView.of(market, config.rules, torch.device("cpu")), 0)
    agent.load_genome(champion)
    slices = whole(market.splits.validation, config)
    actions = agent.act(slices)
    prices = market.stock_prices
    ledger = settle(prices, slices, actions.conviction, actions.target_pct, config.rules, config.ddpg.gamma)
    figures = score_slices(ledger, prices, config.rules, market.periods_per_year)[0].as_dict()
    return {
        "final/win_rate": figures["win_rate"],
        "final/avg_trade_duration": figures["avg_trade_duration"],
        "final/sharpe_ratio": figures["sharpe_ratio"],
        "final/total_return": figures["total_return_pct"],
    }
