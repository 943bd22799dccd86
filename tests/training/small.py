"""A run that takes a second: a made-up market, tiny networks, a few members."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from eigen2.config import Config, config_from_dict
from eigen2.evaluation.slices import training_slices, validation_slices
from eigen2.market.market import Market
from eigen2.training.member import Member
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Runtime, Share
from eigen2.training.session import Session, train
from tests.synthetic import make_market

torch.set_num_threads(1)

SMALL: dict[str, Any] = {
    "seed": 9,
    "num_generations": 3,
    "validation_days": 40,
    "holdout_days": 40,
    "max_holding_period": 5,
    "min_target_pct": 2.0,
    "training_slices": 3,
    "validation_slices": 2,
    "trading_days": 20,
    "context_days": 8,
    "hidden_size": 4,
    "gradient_steps_per_generation": 2,
    "batch_size": 16,
    "gradient_accumulation_steps": 1,
    "buffer_size": 500,
    "buffer_warmup": 100,
    "block_days": 8,
    "block_transitions": 8,
    "population_size": 4,
    "elite_share": 0.5,
    "min_lead": 1.0,  # of three slices, so some give way and some are crossed
    "crossover_steps": 3,
    "keep": 10,
    "wandb_mode": "disabled",
    "progress": False,
    "dashboard": False,
    "num_cpus": 2,
}


def small_config(**changed: Any) -> Config:
    return config_from_dict({**SMALL, **changed}, "the test")


def small_market(seed: int = 0) -> Market:
    return make_market(200, stocks=3, seed=seed, context_days=8, validation_days=40, holdout_days=40)


MARKET = small_market()


def make_member(number: int = 0, **changed: Any) -> Member:
    return Member(number, small_config(**changed), MARKET, 0.0)


def play(member: Member, generation: int = 0) -> Any:
    config = small_config()
    return member.play(generation, training_slices(MARKET, config, generation), validation_slices(MARKET, config))


def make_session(config: Config, folder: RunFolder, generation: int) -> Session:
    return Session(config, folder, generation, {}, Console(file=io.StringIO()))


def run(
    path: Path, generation: int = 0, runtime: Runtime | None = None, share: Share | None = None, **changed: Any
) -> RunFolder:
    """Train what is left of a run after `generation` generations; returns its folder."""
    config, folder = small_config(**changed), RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    session = make_session(config, folder, generation)
    train(config, MARKET, folder, runtime or LocalRuntime(), lambda: share or Share(), session, generation)
    return folder


def rows_of(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]


def family_of(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.lineage.read_text(encoding="utf-8").splitlines()]


def timeless(folder: RunFolder) -> list[str]:
    """The lines of metrics.jsonl without their times."""
    return [
        json.dumps({name: value for name, value in row.items() if not name.startswith("time/")})
        for row in rows_of(folder)
    ]


def assert_same_run(one: RunFolder, other: RunFolder) -> None:
    """Metrics aside from times, lineage and champion to the byte."""
    assert timeless(one) == timeless(other)
    assert one.lineage.read_bytes() == other.lineage.read_bytes()
    assert one.candidates.read_bytes() == other.candidates.read_bytes()
    assert one.champion.read_bytes() == other.champion.read_bytes()


def assert_identical(left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    """The same arrays by the same names, in whatever order, to the byte."""
    assert left.keys() == right.keys()
    assert [name for name in left if _content(left[name]) != _content(right[name])] == []


def _content(array: Any) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.tobytes()


class Silent:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.phases: list[tuple[int, str, int, int]] = []
        self.rows: list[Mapping[str, Any]] = []
        self.warnings: list[str] = []

    def phase(self, generation: int, name: str, done: int, total: int) -> None:
        self.phases.append((generation, name, done, total))

    def generation(
        self, row: Mapping[str, Any], lineage: Sequence[Mapping[str, Any]], candidates: Sequence[Mapping[str, Any]]
    ) -> None:
        self.rows.append(row)

    def warn(self, message: str) -> None:
        self.warnings.append(message)
