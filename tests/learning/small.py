"""Small agents on small markets."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eigen2.config import AgentConfig, DDPGConfig, RulesConfig
from eigen2.learning.agent import Agent, MarketView
from eigen2.learning.replay import TRANSITION
from eigen2.market.market import Market
from tests.synthetic import make_market

torch.set_num_threads(1)

RULES = RulesConfig(max_holding_period=5, min_target_pct=2, max_target_pct=20)
AGENT = AgentConfig(context_days=16, hidden_size=8)
STOCKS = 4


def small_market(**changed: Any) -> Market:
    return make_market(**{"stocks": STOCKS, "context_days": AGENT.context_days, **changed})


def make_agent(market: Market, seed: int = 0, **ddpg: Any) -> Agent:
    return Agent(AGENT, DDPGConfig(**ddpg), RULES, MarketView.of(market, RULES, torch.device("cpu")), seed)


def make_rows(days: NDArray[np.int64], seed: int = 0) -> NDArray[np.void]:
    """Random transitions on the given days, of the same shape; about a fifth without a purchase."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(days.shape, TRANSITION)
    rows["day"] = days
    rows["stock"] = rng.integers(-1, STOCKS, days.shape)
    bought = rows["stock"] >= 0
    rows["coefficient"] = rng.uniform(1, 10, days.shape) * bought
    rows["target_pct"] = rng.uniform(2, 20, days.shape) * bought
    rows["credit"] = rng.normal(0, 30, days.shape)
    rows["done"] = rng.random(days.shape) < 0.1
    return rows


BLOCK_DAYS = 8


def make_batch(seed: int = 0, blocks: int = 4, per_block: int = 6) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """The arguments of an update: [B] first days of blocks, [B, m] transitions in them."""
    rng = np.random.default_rng(seed)
    first = rng.integers(20, 200, blocks)
    return first, make_rows(first[:, None] + rng.integers(0, BLOCK_DAYS, (blocks, per_block)), seed)
