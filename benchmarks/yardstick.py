"""Skill: where a fitness lies between random trading (0) and the oracle of a planted market (1)."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.markets import Planted
from eigen2.config import Config
from eigen2.evaluation.baselines import matched_ledger, random_ledger
from eigen2.evaluation.slices import spread_slices, whole
from eigen2.learning.agent import Agent
from eigen2.market.market import Market
from eigen2.randomness import DRIVER, stream
from eigen2.trading.ledger import Ledger, Slices
from eigen2.trading.rules import settle

HOLDOUT_SLICES = 8
RANDOM_AGENTS = 100
FULL_SIZE = 20.0  # a conviction whose coefficient is the largest


@dataclass(frozen=True)
class Yardstick:
    """The hold-out slices of a market, and the mean fitness on them of random agents and of the oracle."""

    market: Market
    config: Config
    slices: Slices
    random: float
    oracle: float

    @classmethod
    def of(cls, planted: Planted, market: Market, config: Config) -> Self:
        slices = spread_slices(market.splits.holdout, HOLDOUT_SLICES, config)
        rng = stream(config.run.seed, 0, DRIVER, "random agents of the yardstick")
        each = (Slices(np.array([start]), slices.trading_days, slices.settlement_days) for start in slices.starts)
        drawn = [random_ledger(market, one, config.rules, RANDOM_AGENTS, rng).fitness.mean() for one in each]
        bare = cls(market, config, slices, float(np.mean(drawn)), np.nan)
        return cls(market, config, slices, bare.random, bare.fitness_of(planted.oracle))

    def skill(self, fitness: float) -> float:
        """(F - F_random) / (F_oracle - F_random)."""
        return (fitness - self.random) / (self.oracle - self.random)

    def fitness_of(self, policy: NDArray[np.float64]) -> float:
        """Mean fitness of a policy [T, S], which buys at the largest coefficient and never sells at a target early."""
        wish = policy[self.slices.trading]
        conviction = FULL_SIZE + wish / max(np.abs(policy).max(), 1e-12)
        target_pct = np.full(wish.shape, self.config.rules.max_target_pct)
        return float(self._settled(conviction, target_pct).fitness.mean())

    def ledger_of(self, agent: Agent) -> Ledger:
        """What an agent does on the slices, without exploration."""
        actions = agent.act(self.slices)
        return self._settled(actions.conviction, actions.target_pct)

    def noise_errors(self, agent: Agent) -> float:
        """An agent's fitness less that of random agents who trade on the same days in the same sizes, in standard
        deviations of theirs; all hold-out days are played once, as one episode.

        On slices that overlap an agent would make the same trades twice, and random agents would make others.
        """
        once = replace(self, slices=whole(self.market.splits.holdout, self.config))
        rng = stream(self.config.run.seed, 0, DRIVER, "matched agents of the yardstick")
        ledger = once.ledger_of(agent)
        matched = matched_ledger(self.market, ledger, self.config.rules, RANDOM_AGENTS, rng).fitness
        return float((ledger.fitness[0] - matched.mean()) / max(matched.std(ddof=1), 1e-12))

    def _settled(self, conviction: NDArray[np.floating], target_pct: NDArray[np.floating]) -> Ledger:
        rules = self.config.rules
        return settle(self.market.stock_prices, self.slices, conviction, target_pct, rules, self.config.ddpg.gamma)
