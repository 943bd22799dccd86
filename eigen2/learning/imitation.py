"""Crossover in the space of behaviour: what several agents judge alike, and how another learns it.

The weights of agents that learned apart cannot be blended: a blend judges nothing well. What they do can. The child is
taught by its parents, as in PDERL (Bodnar et al. 2019, arXiv 1906.09807, distilled crossover), and by the mean of any
number of them, as in codistillation (Anil et al. 2018, arXiv 1804.03235): the errors in which they differ cancel out.
It is taught the policy that is best by what they agree on, not the mean of theirs.
"""

from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from eigen2.learning.agent import Agent
from eigen2.learning.judgement import FLAT, TARGETS, Judgement, Lesson
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
    """What the agent makes of every day of the span, but for what it says of a stock by its name on all days alike.

    Which stocks did better over all training days is mostly luck: few years say little of mean returns (Merton 1980).
    Agents learn it by heart, through the columns' names. What a name says of one day and not of another stays: it may
    be what the day means for the stock.
    """
    starts = range(span.first, span.last + 1, PIECE_DAYS)
    pieces = [_judged(agent, first, min(PIECE_DAYS, span.last + 1 - first)) for first in starts]
    said, by_name, seen, state = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    said -= _level(by_name, seen)
    return Judgement(span.first, said[..., 0].copy(), said[..., 1:].copy(), state)


def _judged(agent: Agent, first: int, days: int) -> list[NDArray[Any]]:
    """Of days in a row from `first`: what is said of each stock, [N, S, 1 + len(TARGETS)], what of it is by the stock's
    name, whether it is seen, [N, S], and the values of the days, [N]."""
    numbers = agent.market.stocks
    encoding = agent.encode(torch.tensor([first], device=numbers.device), days)
    stocks = encoding.columns[:, :, numbers]
    said = _said(agent, stocks, encoding.context)
    by_name = said - _said(agent, agent.networks.encoder.unnamed(stocks, numbers), encoding.context)
    seen = encoding.attention[..., numbers] > 0
    parts = (said, by_name, seen, agent.networks.critic.state(encoding.context))
    return [part[:, 0].cpu().numpy() for part in parts]


def _said(agent: Agent, stocks: Tensor, context: Tensor) -> Tensor:
    """Conviction, and values of purchases with each of TARGETS, [n, B, S, 1 + len(TARGETS)]."""
    conviction, _ = agent.networks.actor(stocks, context)
    values = [agent.networks.critic.purchase(stocks, context, torch.full_like(conviction, share)) for share in TARGETS]
    return torch.stack([conviction, *values], dim=-1)


def _level(by_name: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What is said by each stock's name, in the mean of the days on which it is seen, against that of all, [S, ...]."""
    level = (by_name * seen[..., None]).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)[:, None]
    return np.asarray(level - level.mean(axis=0), np.float32)


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
    stocks = encoding.columns[:, :, agent.market.stocks]
    own_conviction, own_target = agent.networks.actor(stocks, encoding.context)
    critic = agent.networks.critic
    return (
        F.mse_loss(own_conviction, conviction) / scales.conviction
        + F.mse_loss(own_target, target) / scales.target
        + F.mse_loss(critic.purchase(stocks, encoding.context, target), purchase) / scales.purchase
        + F.mse_loss(critic.state(encoding.context), state) / scales.state
    )
