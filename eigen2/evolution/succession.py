"""Who becomes champion: few contend, and only a clear lead on validation counts.

The best of many on few slices is mostly the luckiest, and in a trainer that goes on looking luck adds up.
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
    """Whether a contender leads the champion by `crown_lead` standard errors over their validation slices, [K] scores.

    One standard error is the rule of Breiman et al. (Classification and Regression Trees, 1984): of those that may be
    equals, the one that learned least stays.
    """
    lead = leads(np.stack([contender, champion]))[1]
    return bool(lead > 0 and lead >= crown_lead)
