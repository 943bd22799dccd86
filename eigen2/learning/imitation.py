"""Crossover in the space of behaviour: what several agents judge alike, and how another learns it.

The weights of agents that learned apart cannot be blended: a blend judges nothing well. What they do can. The child is
taught by its parents, as in PDERL (Bodnar et al. 2019, arXiv 1906.09807, distilled crossover), and by the mean of any
number of them, as in codistillation (Anil et al. 2018, arXiv 1804.03235): the errors in which they differ cancel out.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eigen2.learning.agent import Agent, MarketView
from eigen2.learning.judgement import Judgement
from eigen2.learning.networks import Encoding, Networks
from eigen2.learning.optimiser import AdamW
from eigen2.market.market import Span

PIECE_DAYS = 256  # days that are judged in one go: bounds the memory, and little history is read twice
FLAT = 1e-6  # a variance that is divided by counts as no less
FLAT_TARGET = 0.01  # that of targets, as shares of their range: where all are much the same, it matters little which


@torch.no_grad()
def judge(agent: Agent, span: Span) -> Judgement:
    """What the agent's targets make of every day of the span: averages of weights know less of it by heart.

    (Izmailov et al. 2018, arXiv 1803.05407: averaged weights lie where the loss is flat, and hold better elsewhere.)
    """
    networks, parts = agent.targets, []
    for first in range(span.first, span.last + 1, PIECE_DAYS):
        days = min(PIECE_DAYS, span.last + 1 - first)
        encoding = agent.encode(networks, torch.tensor([first], device=agent.market.inputs.device), days)
        conviction, target, stocks = _wanted(networks, agent.market, encoding)
        critic = networks.critic
        judged = (conviction, target, critic.purchase(stocks, encoding.context, target), critic.state(encoding.context))
        parts.append([part[:, 0].cpu().numpy() for part in judged])
    return Judgement(span.first, *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def block_of(judgement: Judgement, first_days: Tensor, days: int, device: torch.device) -> tuple[Tensor, ...]:
    """All of a judgement on blocks that start on `first_days` [B]: [days, B, ...] each."""
    places = (first_days[None, :] + torch.arange(days)[:, None] - judgement.first).numpy()
    return tuple(torch.as_tensor(array[places], device=device) for array in judgement[1:])


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
    conviction, target, purchase, state = block_of(taught, first_days, block_days, device)
    noise = agent.input_noise(1, block_days, rng).to(device)
    encoding = agent.encode(agent.networks, first_days.to(device), block_days, noise)
    own_conviction, own_target, stocks = _wanted(agent.networks, agent.market, encoding)
    critic = agent.networks.critic
    values = F.mse_loss(critic.purchase(stocks, encoding.context, target), purchase)
    values = values + F.mse_loss(critic.state(encoding.context), state)
    convictions = F.mse_loss(own_conviction, conviction)
    return (
        convictions / conviction.var().clamp(min=FLAT)
        + values / purchase.var().clamp(min=FLAT)
        + F.mse_loss(own_target, target) / target.var().clamp(min=FLAT_TARGET)
    )


def _wanted(networks: Networks, market: MarketView, encoding: Encoding) -> tuple[Tensor, Tensor, Tensor]:
    """Conviction and target [n, B, S] of the actor, and the features [n, B, S, H] that it read."""
    stocks = encoding.columns[:, :, market.stocks]
    conviction, target = networks.actor(stocks, encoding.context)
    return conviction, target, stocks
