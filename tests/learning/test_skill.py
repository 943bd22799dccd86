"""An agent learns what can be known: a feature tells which stocks rise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eigen2.config import AgentConfig, DDPGConfig, RulesConfig
from eigen2.evaluation.baselines import random_ledger
from eigen2.learning.agent import Agent, MarketView
from eigen2.learning.replay import BatchShape, Replay, rows_of
from eigen2.market.market import Market
from eigen2.trading.ledger import Ledger, Slices
from eigen2.trading.rules import settle
from tests.synthetic import make_market, make_prices

torch.set_num_threads(1)
STOCKS, DAYS = 6, 400
RULES = RulesConfig(max_holding_period=5, min_target_pct=5, max_target_pct=20, zero_trades_penalty=100)
AGENT = AgentConfig(context_days=4, hidden_size=16)
DDPG = DDPGConfig()
VALIDATION = Slices(np.array([240]), 64, 6)  # training days end before


def signalled_market(seed: int) -> Market:
    """Each stock rises or falls by 1 % a day in spells of ten days; its first feature tells which."""
    rng = np.random.default_rng(seed)
    market = make_market(DAYS, STOCKS, context=1, seed=seed, context_days=AGENT.context_days)
    trend = np.repeat(rng.choice([-1.0, 1.0], (DAYS // 10, STOCKS + 1)), 10, axis=0)
    close = 100 * np.exp((0.01 * trend + rng.normal(0, 0.01, trend.shape)).cumsum(axis=0))
    open_ = np.vstack([close[:1], close[:-1]])
    features = market.features.copy()
    # the spell of the next day, on which an order is filled
    features[:-1, :, 0] = trend[1:]
    prices = make_prices(open_, np.maximum(open_, close), np.minimum(open_, close), close)
    return replace(market, prices=prices, features=features)


def play(agent: Agent, market: Market, slices: Slices, noise: float, rng: np.random.Generator) -> Ledger:
    actions = agent.act(slices, noise, rng)
    return settle(market.stock_prices, slices, actions.conviction, actions.target_pct, RULES, DDPG.gamma)


def fitness(agent: Agent, market: Market) -> float:
    return float(play(agent, market, VALIDATION, 0, np.random.default_rng()).fitness.mean())


def trained(agent: Agent, market: Market, generations: int, updates: int) -> None:
    rng, replay, shape = np.random.default_rng(0), Replay(5_000), BatchShape(4, 16, 16)
    noise = torch.Generator().manual_seed(0)
    for _ in range(generations):
        slices = Slices(rng.integers(3, 200, 5), 34, 6)
        replay.extend(rows_of(play(agent, market, slices, 0.125, rng)))
        agent.learn(replay.sample(updates, shape, rng), shape.days, noise)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_agent_learns_a_planted_signal(seed: int) -> None:
    market = signalled_market(seed)
    agent = Agent(AGENT, DDPG, RULES, MarketView.of(market, RULES, torch.device("cpu")), seed)
    start = fitness(agent, market)
    guessed = random_ledger(market, VALIDATION, RULES, 100, np.random.default_rng(0)).fitness
    trained(agent, market, generations=4, updates=60)
    learned = fitness(agent, market)
    assert learned > start + 2 * guessed.std()
    assert learned > guessed.mean() + 4 * guessed.std()
