"""Crossover in the space of behaviour: what several agents judge alike, and how another learns it.

The weights of agents that learned apart cannot be blended: a blend judges nothing well. What they do can. The child is
taught by its parents, as in PDERL (Bodnar et al. 2019, arXiv 1906.09807, distilled crossover), and by the mean of any
number of them, as in codistillation (Anil et al. 2018, arXiv 1804.03235): the errors in which they differ cancel out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from eigen2.learning.agent import Agent
from eigen2.learning.networks import Encoding
from eigen2.learning.optimiser import AdamW
from eigen2.market.market import Span

PIECE_DAYS = 256  # days that are judged in one go: bounds the memory, and little history is read twice
FLAT = 1e-6  # a variance that is divided by counts as no less
FLAT_TARGET = 0.01  # that of targets, as shares of their range: where all are much the same, it matters little which


class Judgement(NamedTuple):
    """What an agent makes of N days in a row from `first`, float32.

    conviction [N, S]; target [N, S], as a share of its range; purchase [N, S], the value of buying at full size with
    that target; state [N], the value of the day itself.
    """

    first: int
    conviction: NDArray[np.float32]
    target: NDArray[np.float32]
    purchase: NDArray[np.float32]
    state: NDArray[np.float32]

    def block(self, first_days: Tensor, days: int, device: torch.device) -> tuple[Tensor, ...]:
        """All of it on blocks that start on `first_days` [B]: [days, B, ...] each."""
        places = (first_days[None, :] + torch.arange(days)[:, None] - self.first).numpy()
        return tuple(torch.as_tensor(array[places], device=device) for array in self[1:])


@torch.no_grad()
def judge(agent: Agent, span: Span) -> Judgement:
    """What the agent makes of every day of the span."""
    parts = []
    for first in range(span.first, span.last + 1, PIECE_DAYS):
        days = min(PIECE_DAYS, span.last + 1 - first)
        encoding = agent.encode(torch.tensor([first], device=agent.market.inputs.device), days)
        conviction, target, stocks = _wanted(agent, encoding)
        critic = agent.networks.critic
        judged = (conviction, target, critic.purchase(stocks, encoding.context, target), critic.state(encoding.context))
        parts.append([part[:, 0].cpu().numpy() for part in judged])
    return Judgement(span.first, *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def agreement(judgements: Sequence[Judgement]) -> Judgement:
    """The mean of judgements of the same days, where who tells stocks apart has more say; of targets the median.

    Weights are the squares of what values of purchases differ by within a day: an agent that has found nothing yet
    gives all stocks the same value, though its convictions may be strong. Where some sell early and others late, the
    mean of their targets is what none of them does.
    """
    told_apart = np.array([np.square(judgement.purchase.std(axis=1).mean()) for judgement in judgements]) + FLAT
    weights = (told_apart / told_apart.sum()).astype(np.float32)

    def mean(name: str) -> NDArray[np.float32]:
        said = zip(weights, judgements, strict=True)
        return np.asarray(sum(weight * getattr(judgement, name) for weight, judgement in said))

    target = np.median([judgement.target for judgement in judgements], axis=0).astype(np.float32)
    return Judgement(judgements[0].first, mean("conviction"), target, mean("purchase"), mean("state"))


def imitate(
    agent: Agent, taught: Judgement, steps: int, lr: float, block_days: int, max_grad_norm: float, rng: torch.Generator
) -> float:
    """Teach an agent a judgement in `steps` updates, with rates that fall to 0; its targets follow at once.

    The agent sees the days through the noise that it learns under, the judgement was made without: what it learns by
    heart helps it little. rng draws blocks and noise, on the CPU. Returns the last loss.
    """
    optimiser = AdamW(agent.networks.parameters(), lr, weight_decay=0.0)
    last_start, loss = taught.first + len(taught.state) - block_days, torch.zeros(())
    for step in range(steps):
        first_days = torch.randint(taught.first, last_start + 1, (1,), generator=rng)
        loss = _disagreement(agent, taught, first_days, block_days, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step(max_grad_norm, 1 - step / steps)
    optimiser.zero_grad()
    agent.settle_targets()
    return loss.item()


def _disagreement(agent: Agent, taught: Judgement, first_days: Tensor, block_days: int, rng: torch.Generator) -> Tensor:
    """Mean squares of what the agent judges otherwise, in parts of their variance."""
    device = agent.market.inputs.device
    conviction, target, purchase, state = taught.block(first_days, block_days, device)
    encoding = agent.encode(first_days.to(device), block_days, agent.input_noise(1, block_days, rng).to(device))
    own_conviction, own_target, stocks = _wanted(agent, encoding)
    critic = agent.networks.critic
    values = F.mse_loss(critic.purchase(stocks, encoding.context, target), purchase)
    values = values + F.mse_loss(critic.state(encoding.context), state)
    convictions = F.mse_loss(own_conviction, conviction)
    return (
        convictions / conviction.var().clamp(min=FLAT)
        + values / purchase.var().clamp(min=FLAT)
        + F.mse_loss(own_target, target) / target.var().clamp(min=FLAT_TARGET)
    )


def _wanted(agent: Agent, encoding: Encoding) -> tuple[Tensor, Tensor, Tensor]:
    """Conviction and target [n, B, S] of the actor, and the features [n, B, S, H] that it read."""
    stocks = encoding.columns[:, :, agent.market.stocks]
    conviction, target = agent.networks.actor(stocks, encoding.context)
    return conviction, target, stocks
