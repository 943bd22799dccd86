"""The yardstick of the learning benchmark."""

from typing import cast

import numpy as np
import pytest

from benchmarks import yardstick
from benchmarks.learning import Task
from benchmarks.markets import STOCKS, planted
from benchmarks.yardstick import Yardstick
from eigen2.learning.agent import Actions, Agent
from eigen2.trading.ledger import Slices

AGENTS = 60


class Guessing:
    """Acts like an agent that wants something else of every day, and the same whenever it sees the day again."""

    def __init__(self, seed: int, days: int) -> None:
        self._wanted = np.random.default_rng(seed).normal(8, 1, (days, STOCKS)).astype(np.float32)

    def act(self, slices: Slices) -> Actions:
        conviction = self._wanted[slices.trading]
        return Actions(conviction, np.full_like(conviction, 50.0), np.ones(STOCKS, np.float32))


def test_who_guesses_is_one_standard_deviation_from_random_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yardstick, "RANDOM_AGENTS", 30)
    config, made = Task("noise", "ERL", 0).config(), planted("noise", 0)
    market = made.market(config)
    measure = Yardstick.of(made, market, config)
    guessing = [cast(Agent, Guessing(seed, len(market.dates))) for seed in range(AGENTS)]
    errors = np.array([measure.noise_errors(agent) for agent in guessing])
    assert abs(errors.mean()) < 3 / np.sqrt(AGENTS)
    assert errors.std() == pytest.approx(1, abs=0.27)  # three standard errors
