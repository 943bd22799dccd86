"""What agents make of the training days, and what several of them agree on.

Without torch, so that who only keeps judgements starts quickly and stays small.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_SAY = 1e-6  # so that those who tell nothing apart have equal says


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


def agreement(judgements: Sequence[Judgement]) -> Judgement:
    """The mean of judgements of the same days, where who tells stocks apart has more say; of targets the median.

    Weights are the squares of what values of purchases differ by within a day: an agent that has found nothing yet
    gives all stocks the same value, though its convictions may be strong. Where some sell early and others late, the
    mean of their targets is what none of them does.
    """
    told_apart = np.array([np.square(judgement.purchase.std(axis=1).mean()) for judgement in judgements]) + LEAST_SAY
    weights = (told_apart / told_apart.sum()).astype(np.float32)

    def mean(name: str) -> NDArray[np.float32]:
        said = zip(weights, judgements, strict=True)
        return np.asarray(sum(weight * getattr(judgement, name) for weight, judgement in said))

    target = np.median([judgement.target for judgement in judgements], axis=0).astype(np.float32)
    return Judgement(judgements[0].first, mean("conviction"), target, mean("purchase"), mean("state"))
