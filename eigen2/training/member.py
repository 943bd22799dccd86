"""A member: one slot of the population. A plain class; run as an actor, it does not know where it is."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eigen2.arrays import Arrays
from eigen2.config import Config
from eigen2.errors import RunError
from eigen2.evaluation.scores import daily_returns, mean_score, score_slices
from eigen2.evaluation.slices import mean_of_worst, whole
from eigen2.evolution.operators import mutate
from eigen2.evolution.plan import Champion, Cross, Keep, Mutate, Recipe
from eigen2.learning.agent import Actions, Agent, MarketView
from eigen2.learning.imitation import imitate, judge
from eigen2.learning.judgement import Judgement, Lesson, agreement, lesson_of
from eigen2.learning.replay import BatchShape, Sample, rows_of
from eigen2.market.market import Market
from eigen2.randomness import stream, torch_seed
from eigen2.trading.account import account_of
from eigen2.trading.ledger import Ledger, Slices
from eigen2.trading.rules import settle

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # without a fixed one cuBLAS adds up in an order of its own


@dataclass(frozen=True)
class Outcome:
    """How a member played a generation.

    scores, validation_scores: [K] fitness of each training and of each validation slice; fitness, validation_fitness:
    mean of the worst of them; validation: mean score of the validation slices; importance: [C] mean attention to each
    column; validation_returns: [T] daily returns on all validation days, played as one episode.
    """

    scores: NDArray[np.float64]
    fitness: float
    validation_scores: NDArray[np.float64]
    validation_fitness: float
    validation: dict[str, float]
    importance: NDArray[np.float32]
    validation_returns: NDArray[np.float64]


class Member:
    """An agent and the market it trades on."""

    def __init__(self, number: int, config: Config, market: Market, gpu_share: float) -> None:
        """gpu_share: the part of a GPU's memory this member may use; 0 runs on the CPU."""
        torch.set_num_threads(config.resources.threads_per_member)
        device = torch.device("cuda" if gpu_share > 0 else "cpu")
        if gpu_share > 0:
            os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")  # read once, as the GPU is first used
            torch.use_deterministic_algorithms(True, warn_only=True)
            # filling each new tensor would cost a launch, and no one reads what was not written
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            torch.cuda.set_per_process_memory_fraction(gpu_share)
        self._number, self._config, self._market = number, config, market
        self._prices = market.stock_prices
        self._batch = BatchShape.of(config.ddpg, config.replay, config.slices.trading_days)
        seed = torch_seed(config.run.seed, 0, number, "networks")
        view = MarketView.of(market, config.rules, device)
        self._agent = Agent(config.agent, config.ddpg, config.rules, view, seed)

    def ready(self) -> int:
        """The member's number, once it stands."""
        return self._number

    def play(self, generation: int, training: Slices, validation: Slices) -> tuple[Outcome, NDArray[np.void]]:
        """Play with exploration on training slices, without on validation slices: (outcome, transitions).

        Raises RunError when the networks put out NaN or infinity.
        """
        rng = stream(self._config.run.seed, generation, self._number, "exploration")
        played = self._settle(training, self._agent.act(training, noise_in(self._config, generation), rng), generation)
        # slices overlap: only one episode over the whole split gives each day one return
        everything = whole(self._market.splits.validation, self._config)
        policy = self._agent.policy(np.union1d(validation.trading, everything.trading))
        checked = self._settle(validation, policy.on(validation), generation)
        once = self._settle(everything, policy.on(everything), generation)
        worst = self._config.slices.worst_slices
        outcome = Outcome(
            scores=played.fitness,
            fitness=mean_of_worst(played.fitness, worst),
            validation_scores=checked.fitness,
            validation_fitness=mean_of_worst(checked.fitness, worst),
            validation=mean_score(
                score_slices(checked, self._prices, self._config.rules, self._market.periods_per_year)
            ),
            importance=policy.on(validation).attention,
            validation_returns=daily_returns(account_of(once, self._prices, self._config.rules).equity[0]),
        )
        return outcome, rows_of(played)

    def train(self, generation: int, sample: Sample) -> dict[str, float]:
        """One update for each batch of the sample; returns the means of the training metrics.

        Raises RunError when a loss is not finite.
        """
        rng = torch.Generator().manual_seed(torch_seed(self._config.run.seed, generation, self._number, "input noise"))
        metrics = self._agent.learn(sample, self._batch.days, rng, self._config.ddpg.lr_decay**generation)
        self._require_finite(generation, *metrics.values())
        return metrics

    def judge(self, generation: int) -> tuple[None, Judgement]:
        """What the agent makes of the training days: (nothing for the driver, for those it is a parent of).

        Raises RunError when the networks put out NaN or infinity.
        """
        judgement = judge(self._agent, self._market.splits.training)
        self._require_finite(generation, *judgement)
        return None, judgement

    def breed(self, generation: int, recipe: Recipe, *parents: Any) -> None:
        """Become what the recipe makes of the parents: of their states, in a cross of their judgements.

        A child inherits its parent's targets and optimisers too: with fresh ones it learns the training days faster
        than what holds on other days, and every generation would begin there again.
        """
        match recipe, parents:
            case Cross(), (Judgement(), *_):
                self._learn_from(generation, lesson_of(agreement(parents)))
            case Mutate(rate=rate, std=std), (parent,):
                rng = stream(self._config.run.seed, generation, self._number, "mutation")
                self._agent.load_state(parent)
                self._agent.load_genome(mutate(self._agent.genome(), rate, std, rng))
            case Champion(), (champion,):
                self._agent.load_state(champion)
            case Keep(), ():
                pass
            case _:
                raise ValueError(f"{recipe} takes another number of parents than {len(parents)}")

    def _learn_from(self, generation: int, lesson: Lesson) -> None:
        steps, lr = self._config.evolution.crossover_steps, self._config.evolution.crossover_lr
        rng = torch.Generator().manual_seed(torch_seed(self._config.run.seed, generation, self._number, "crossover"))
        loss = imitate(self._agent, lesson, steps, lr, self._batch.days, self._config.ddpg.max_grad_norm, rng)
        self._require_finite(generation, loss)

    def genome(self) -> Arrays:
        """The agent's parameters, name -> array."""
        return self._agent.genome()

    def state(self) -> Arrays:
        """Everything that decides how the member acts and learns on, name -> array."""
        return self._agent.state()

    def load_state(self, state: Arrays) -> None:
        """Restore what `state` gave."""
        self._agent.load_state(state)

    def _settle(self, slices: Slices, actions: Actions, generation: int) -> Ledger:
        self._require_finite(generation, actions.conviction, actions.target_pct)
        rules, gamma = self._config.rules, self._config.ddpg.gamma
        return settle(self._prices, slices, actions.conviction, actions.target_pct, rules, gamma)

    def _require_finite(self, generation: int, *values: Any) -> None:
        if not all(np.isfinite(value).all() for value in values):
            raise RunError(
                f"member {self._number} put out NaN or infinity in generation {generation}, which is not scored; "
                "lower ddpg.actor_lr or ddpg.critic_lr, or check the data report for spikes"
            )


def noise_in(config: Config, generation: int) -> float:
    """Exploration in a generation, as a share of each action's range: it decays with every trading day played."""
    played = generation * config.slices.training_slices * config.slices.trading_days
    return max(config.ddpg.min_noise, config.ddpg.noise_scale * config.ddpg.noise_decay**played)
