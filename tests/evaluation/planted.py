"""Markets with a signal that is known to be there, or known not to be, and a training that takes seconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eigen2.config import Config
from eigen2.market.market import Market
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.session import train
from tests.synthetic import make_market, make_prices
from tests.training.small import make_session, small_config

torch.set_num_threads(1)
DAYS, STOCKS, SPELL = 900, 6, 10
LEARNING: dict[str, Any] = {
    "num_generations": 4,
    "population_size": 5,
    "validation_days": 200,
    "holdout_days": 200,
    "min_target_pct": 5.0,
    "max_target_pct": 20.0,
    "cost_bps": 0.0,
    "zero_trades_penalty": 100.0,
    "context_days": 4,
    "hidden_size": 16,
    "training_slices": 6,
    "worst_slices": 4,
    "validation_slices": 4,
    "trading_days": 34,
    "gradient_steps_per_generation": 30,
    "batch_size": 128,
    "gradient_accumulation_steps": 2,
    "buffer_size": 5000,
    "block_days": 16,
    "block_transitions": 16,
    "crossover_steps": 64,
    "actor_lr": 0.001,
    "critic_lr": 0.002,
}


def planted_market(seed: int, drift: float) -> Market:
    """Each stock rises or falls by `drift` a day in spells, and the first feature tells which; 0: there is nothing."""
    rng = np.random.default_rng(seed)
    market = make_market(DAYS, STOCKS, context=1, seed=seed, context_days=4, validation_days=200, holdout_days=200)
    trend = np.repeat(rng.choice([-1.0, 1.0], (DAYS // SPELL, STOCKS + 1)), SPELL, axis=0)
    close = 100 * np.exp((drift * trend + rng.normal(0, 0.01, trend.shape)).cumsum(axis=0))
    open_ = np.vstack([close[:1], close[:-1]])
    features = market.features.copy()
    features[:-1, :, 0] = trend[1:]  # of the next day, on which an order is filled
    prices = make_prices(open_, np.maximum(open_, close), np.minimum(open_, close), close)
    return replace(market, prices=prices, features=features)


def train_on(market: Market, path: Path, **changed: Any) -> tuple[RunFolder, Config]:
    """A run trained in this process."""
    config, folder = small_config(**{**LEARNING, **changed}), RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    train(config, market, folder, LocalRuntime(), Share, make_session(config, folder, 0))
    return folder, config
