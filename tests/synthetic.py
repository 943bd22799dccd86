"""Small made-up markets."""

import numpy as np
from numpy.typing import NDArray

from eigen2.market.market import Market, Prices, Span, Splits

Array = NDArray[np.float64]


def make_prices(open: Array, high: Array, low: Array, close: Array) -> Prices:
    """Prices of [T, C] bars, NaN where there is none; a column without any bar has last_day -1."""
    last_close = close.copy()
    for day in range(1, len(close)):
        unknown = np.isnan(last_close[day])
        last_close[day, unknown] = last_close[day - 1, unknown]
    day_of_bar = np.where(np.isfinite(close), np.arange(len(close))[:, None], -1)
    return Prices(open, high, low, close, last_close, day_of_bar.max(axis=0).astype(np.int64))


def random_walk(rng: np.random.Generator, days: int, columns: int, volatility: float = 0.02) -> Prices:
    """Log-normal daily moves from 100, with gaps over night and real highs and lows, [T, C]."""
    close = 100 * np.exp(rng.normal(0, volatility, (days, columns)).cumsum(axis=0))
    before = np.vstack([np.full(columns, 100.0), close[:-1]])
    open_ = before * np.exp(rng.normal(0, volatility / 3, close.shape))
    reach = np.abs(rng.normal(0, volatility / 2, (2, *close.shape)))
    high = np.maximum(open_, close) * np.exp(reach[0])
    low = np.minimum(open_, close) * np.exp(-reach[1])
    return make_prices(open_, high, low, close)


def make_market(
    days: int = 400,
    stocks: int = 4,
    context: int = 1,
    seed: int = 0,
    *,
    context_days: int = 16,
    features: int = 3,
    validation_days: int = 80,
    holdout_days: int = 80,
    volatility: float = 0.02,
) -> Market:
    """Random walks, `context` observed columns and then `stocks` investable ones; features are noise within +-10."""
    rng = np.random.default_rng(seed)
    columns = context + stocks
    noise = rng.normal(0, 1, (days, columns, features)).clip(-10, 10)
    seen = np.ones((days, columns, 1))
    return Market(
        dates=np.datetime64("2020-01-01") + np.arange(days),
        columns=(*(f"^C{c}" for c in range(context)), *(f"S{s}" for s in range(stocks))),
        stocks=np.arange(context, columns),
        index=0 if context else None,
        prices=random_walk(rng, days, columns, volatility),
        features=np.concatenate([noise, seen], axis=-1).astype(np.float32),
        feature_names=(*(f"f{f}" for f in range(features)), "observed"),
        splits=Splits(
            training=Span(context_days - 1, days - validation_days - holdout_days - 1),
            validation=Span(days - validation_days - holdout_days, days - holdout_days - 1),
            holdout=Span(days - holdout_days, days - 1),
        ),
        closes_only=False,
        periods_per_year=252.0,
    )
