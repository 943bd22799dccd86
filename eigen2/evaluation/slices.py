"""Which days are played: random training slices, fixed validation slices, whole splits."""

import numpy as np

from eigen2.config import Config
from eigen2.market.market import Market, Span
from eigen2.randomness import DRIVER, stream
from eigen2.trading.ledger import Slices


def training_slices(market: Market, config: Config, generation: int) -> Slices:
    """The random slices of a generation, the same for every member.

    The possible starts are cut into equal stretches and one is drawn from each: every start is as likely as any other,
    but no generation is all crash or all boom, so fitness can be compared from one to the next.
    """
    span, count = market.splits.training, config.slices.training_slices
    rng = stream(config.run.seed, generation, DRIVER, "training slices")
    share = (np.arange(count) + rng.random(count)) / count
    starts = span.first + (share * (span.days - config.slice_days + 1)).astype(np.int64)
    return Slices(starts, config.slices.trading_days, config.settlement_days)


def validation_slices(market: Market, config: Config) -> Slices:
    """The fixed slices of the validation days, evenly spread from the first day to the last."""
    return spread_slices(market.splits.validation, config.slices.validation_slices, config)


def spread_slices(span: Span, count: int, config: Config) -> Slices:
    """`count` slices evenly spread over a span; one starts on its first day, one ends on its last."""
    starts = np.linspace(span.first, span.last - config.slice_days + 1, count).round().astype(np.int64)
    return Slices(starts, config.slices.trading_days, config.settlement_days)


def whole(span: Span, config: Config) -> Slices:
    """One episode over all days of a span, the last of them for settlement."""
    return Slices.over(span, config.settlement_days)


def mean_of_worst(fitness: np.ndarray, worst: int) -> float:
    """Mean of the `worst` lowest values: what a member is ranked by."""
    return float(np.sort(fitness)[:worst].mean())
