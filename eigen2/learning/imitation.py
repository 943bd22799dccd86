"""Crossover in the space of behaviour: what several agents judge alike, and how another learns it.

The weights of agents that learned apart cannot be blended: a blend judges nothing well. What they do can. The child is
taught by its parents, as in PDERL (Bodnar et al. 2019, arXiv 1906.09807, distilled crossover), and by the mean of any
number of them, as in codistillation (Anil et al. 2018, arXiv 1804.03235): the errors in which they differ cancel out.
It is taught the policy that is best by what they agree on, not the mean of theirs.
"""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eigen2.learning.agent import Agent
from eigen2.learning.judgement import FLAT, TARGETS, Judgement, Lesson
from eigen2.learning.networks import Encoding
from eigen2.learning.optimiser import AdamW
from eigen2.market.market import Span

PIECE_DAYS = 256  # days that are judged in one go: bounds the memory, and little history is read twice
SHARP = 10.0  # who has learned a lesson acts by as many times its convictions: sizes are all or nothing, but for a few
FLAT_TARGET = 1 / 12  # that of targets drawn evenly from their range: where they differ less, it matters little which


class Scales(NamedTuple):
    """What the square of an error is measured by: variances, but of the days' values, which have a level, the square.

    They are of all days, not of the block that is learned: where stocks are all alike small errors would count most.
    """

    conviction: float
    target: float
    purchase: float
    state: float

    @classmethod
    def of(cls, lesson: Lesson) -> Self:
        conviction, target, purchase = (float(part.var()) for part in lesson[1:4])
        state = float(np.square(lesson.state).mean())
        return cls(max(conviction, FLAT), max(target, FLAT_TARGET), max(purchase, FLAT), max(state, FLAT))


@torch.no_grad()
def judge(agent: Agent, span: Span) -> Judgement:
    """What the agent makes of every day of the span."""
    parts = []
    for first in range(span.first, span.last + 1, PIECE_DAYS):
        days = min(PIECE_DAYS, span.last + 1 - first)
        encoding = agent.encode(torch.tensor([first], device=agent.market.inputs.device), days)
        conviction, target, stocks = _wanted(agent, encoding)
        critic = agent.networks.critic
        values = [critic.purchase(stocks, encoding.context, torch.full_like(target, share)) for share in TARGETS]
        judged = (conviction, torch.stack(values, dim=-1), critic.state(encoding.context))
        parts.append([part[:, 0].cpu().numpy() for part in judged])
    return Judgement(span.first, *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def block_of(lesson: Lesson, first_days: Tensor, days: int, device: torch.device) -> tuple[Tensor, ...]:
    """All of a lesson on blocks that start on `first_days` [B]: [days, B, ...] each."""
    places = (first_days[None, :] + torch.arange(days)[:, None] - lesson.first).numpy()
    return tuple(torch.as_tensor(array[places], device=device) for array in lesson[1:])


def imitate(
    agent: Agent, lesson: Lesson, steps: int, lr: float, block_days: int, max_grad_norm: float, rng: torch.Generator
) -> float:
    """Teach an agent a lesson in `steps` updates, with rates that fall to 0; its targets follow at once.

    The agent sees the days through the noise that it learns under, the lesson was made without: what it learns by
    heart helps it little. Values are linear in the size, so all or nothing is best: what it learned is sharpened, and
    what is sharp of a lesson before is softened first, as steps of one rate suit one scale.

    rng draws blocks and noise, on the CPU. Returns the last loss.
    """
    _soften(agent, lesson)
    optimiser = AdamW(agent.networks.parameters(), lr, weight_decay=0.0)
    last_start, loss, scales = lesson.first + len(lesson.state) - block_days, torch.zeros(()), Scales.of(lesson)
    for step in range(steps):
        first_days = torch.randint(lesson.first, last_start + 1, (1,), generator=rng)
        loss = _disagreement(agent, lesson, scales, first_days, block_days, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step(max_grad_norm, 1 - step / steps)
    optimiser.zero_grad()
    agent.networks.actor.scale_convictions(SHARP)
    agent.settle_targets()
    return loss.item()


def _soften(agent: Agent, lesson: Lesson) -> None:
    """Bring convictions that differ by more than the lesson's to its scale."""
    span = Span(lesson.first, lesson.first + len(lesson.state) - 1)
    own = float(judge(agent, span).conviction.std())
    agent.networks.actor.scale_convictions(min(1.0, float(lesson.conviction.std()) / max(own, FLAT)))


def _disagreement(
    agent: Agent, lesson: Lesson, scales: Scales, first_days: Tensor, block_days: int, rng: torch.Generator
) -> Tensor:
    """Mean squares of what the agent judges otherwise, each in parts of its scale."""
    device = agent.market.inputs.device
    conviction, target, purchase, state = block_of(lesson, first_days, block_days, device)
    encoding = agent.encode(first_days.to(device), block_days, agent.input_noise(1, block_days, rng).to(device))
    own_conviction, own_target, stocks = _wanted(agent, encoding)
    critic = agent.networks.critic
    return (
        F.mse_loss(own_conviction, conviction) / scales.conviction
        + F.mse_loss(own_target, target) / scales.target
        + F.mse_loss(critic.purchase(stocks, encoding.context, target), purchase) / scales.purchase
        + F.mse_loss(critic.state(encoding.context), state) / scales.state
    )


def _wanted(agent: Agent, encoding: Encoding) -> tuple[Tensor, Tensor, Tensor]:
    """Conviction and target [n, B, S] of the actor, and the features [n, B, S, H] that it read."""
    stocks = encoding.columns[:, :, agent.market.stocks]
    conviction, target = agent.networks.actor(stocks, encoding.context)
    return conviction, target, stocks
