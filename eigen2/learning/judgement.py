"""What agents make of the training days, what several of them agree on, and what is best by that.

Without torch, so that who only keeps judgements starts quickly and stays small.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TARGETS = (0.0, 0.25, 0.5, 0.75, 1.0)  # sale targets, as shares of their range, that purchases are valued with
LEAST_SAY = 1e-6  # so that those who tell nothing apart have equal says
CLEAR_SHARE = 1 / 3  # a value is clear beyond this share of the root mean square of all
CLEAR = 3.0  # what a clear value adds to a conviction, or takes from it
FLAT = 1e-6  # a scale that is divided by counts as no less


class Judgement(NamedTuple):
    """What an agent makes of N days in a row from `first`, whatever luck a stock had on all of them; float32.

    conviction [N, S]; values [N, S, len(TARGETS)], of buying at full size with each target; state [N], the value of the
    day itself.
    """

    first: int
    conviction: NDArray[np.float32]
    values: NDArray[np.float32]
    state: NDArray[np.float32]


class Lesson(NamedTuple):
    """What an agent is to make of N days in a row from `first`, float32.

    conviction [N, S]; target [N, S], as a share of its range; purchase [N, S], the value of buying at full size with
    that target; state [N], the value of the day itself.
    """

    first: int
    conviction: NDArray[np.float32]
    target: NDArray[np.float32]
    purchase: NDArray[np.float32]
    state: NDArray[np.float32]


def agreement(judgements: Sequence[Judgement]) -> Judgement:
    """The mean of judgements of the same days, where who tells stocks apart has more say.

    Weights are the squares of what values of purchases differ by within a day: an agent that has found nothing yet
    gives all stocks the same value, though its convictions may be strong.
    """
    told_apart = [np.square(judgement.values.mean(axis=2).std(axis=1).mean()) for judgement in judgements]
    weights = np.array(told_apart) + LEAST_SAY
    weights = (weights / weights.sum()).astype(np.float32)

    def mean(name: str) -> NDArray[np.float32]:
        said = zip(weights, judgements, strict=True)
        return np.asarray(sum(weight * getattr(judgement, name) for weight, judgement in said))

    return Judgement(judgements[0].first, mean("conviction"), mean("values"), mean("state"))


def lesson_of(agreed: Judgement) -> Lesson:
    """The policy that is best by the values agreed on: a step of policy iteration, short of which actors get stuck.

    Each purchase has the target of the highest value: actors saturate at a bound before their critics know which target
    is right. Convictions rise by what is clearly worth it and fall by what is not; where that is said of all alike it
    says nothing, and they stay.
    """
    best = agreed.values.argmax(axis=2)
    purchase = np.take_along_axis(agreed.values, best[..., None], axis=2)[..., 0]
    clear = max(CLEAR_SHARE * float(np.sqrt(np.square(purchase).mean())), FLAT)
    worth = np.float32(CLEAR) * np.clip(purchase / np.float32(clear), -1, 1)
    conviction = agreed.conviction + worth - worth.mean()
    return Lesson(agreed.first, conviction, np.array(TARGETS, np.float32)[best], purchase, agreed.state)
