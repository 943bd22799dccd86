"""Walk-forward evaluation: successive windows of test days, each after a training of its own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eigen2.config import Config
from eigen2.errors import ConfigError

Curves = dict[str, NDArray[np.float64]]


def window_configs(config: Config, dates: NDArray[np.datetime64], windows: int) -> list[Config]:
    """The configs of successive windows, oldest first, on a market with these days [T].

    Each ends `splits.holdout_days` after the one before, the last with the market: the hold-outs follow each other
    without a gap. Training begins with the market's first day every time. As many days as a position may need are left
    out before validation and before the test, so that no trade reaches from one into the next. Raises ConfigError if
    there are too few days; whether the oldest window has room for its training is for the market to say.
    """
    step = config.splits.holdout_days
    ends = [len(dates) - 1 - step * later for later in reversed(range(windows))]
    if ends[0] < step:
        raise ConfigError(
            f"{windows} windows of splits.holdout_days {step} need {windows * step} days of testing alone, "
            f"but {config.data.source} has {len(dates)} days"
        )
    embargo = max(config.splits.embargo_days, config.rules.max_holding_period + config.rules.fill_lag)
    splits = config.splits.model_copy(update={"embargo_days": embargo})
    last_dates = [dates[end].astype("datetime64[D]").item() for end in ends]
    return [
        config.model_copy(update={"splits": splits, "data": config.data.model_copy(update={"last_date": last})})
        for last in last_dates
    ]


def stitched(parts: Sequence[Curves]) -> Curves:
    """Curves [L] of successive windows, each of which starts from 1, as one curve a name that goes on growing."""
    names = [name for name in parts[0] if all(name in part for part in parts)]
    whole: Curves = {}
    for name in names:
        grown = np.ones(1)
        for part in parts:
            grown = np.concatenate([grown, grown[-1] * part[name]])
        whole[name] = grown[1:]
    return whole
