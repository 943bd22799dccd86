"""Who becomes champion: few contend, and only clear leads on validation count.

The best of many on few slices is mostly the luckiest, and in a trainer that goes on looking luck adds up. That less
than one standard error tells nothing apart is the rule of Breiman et al. (Classification and Regression Trees, 1984).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eigen2.config import EvolutionConfig
from eigen2.evolution.plan import heir_slot, leads


def contenders(generation: int, config: EvolutionConfig) -> Sequence[int]:
    """The slots that may make the champion: the heir, or everyone before it was taught or where there is none."""
    heir = heir_slot(config)
    return range(config.population_size) if heir is None or generation == 0 else (heir,)


def succeeds(contender: NDArray[np.float64], champion: NDArray[np.float64], crown_lead: float) -> bool:
    """Whether the luckiest of all leads the champion by `crown_lead` standard errors of their validation scores [K]."""
    lead = _lead(contender, champion)
    return lead > 0 and lead >= crown_lead


def inherits(heir: NDArray[np.float64], best: NDArray[np.float64], crown_lead: float) -> bool:
    """Whether the heir becomes champion: unless the best contender so far leads it by more than `crown_lead`.

    Nobody chose it by luck, and who taught it knows more than who taught the heir before: of equals it is the one to
    take. The best so far, not the champion, is what it is held against, or a slow decline would not be seen.
    """
    return _lead(best, heir) <= crown_lead


def _lead(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The paired t statistic of two members' scores, [K]; 0 where `one` does not lead."""
    return float(leads(np.stack([one, other]))[1])
