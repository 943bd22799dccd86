"""Planted markets: made from a seed, with a signal that is known, and with the best that can be made of it.

`python -m benchmarks.markets reversion --seed 0 --out reversion.csv` writes one as a file for `data.source`.
"""

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eigen2.config import Config
from eigen2.market.bars import Bars
from eigen2.market.build import market_from_bars
from eigen2.market.market import Market

Grid = NDArray[np.float64]

STOCKS, DAYS = 40, 2_400
WALK_STD = 0.006  # of a day's log return that never comes back
DEVIATION_PHI, DEVIATION_STD = 0.9, 0.02  # AR(1): share that is left the next day, std of a day's shock
DRIFT = 0.003  # a day
REGIME_DAYS, REGIME_NOISE_STD = 40, 0.006  # mean length of a hidden drift; noise on it, a day
STATE_DAYS, STATE_NOISE_STD = 10, 0.01  # length of the context's state, in whose successor stocks answer; their noise
SIGN_NOISE_STD = 0.0025  # of the context column
CONTEXT = "^SIGN"


@dataclass(frozen=True)
class Planted:
    """A market and what can be made of it.

    bars: T days of S stocks, and a context column where the market has one. A policy is [T, S], higher is better:
    what it wants to hold, decided after the close of each day.
    oracle: sees what is hidden; observer: infers it from the prices so far, knowing how the market was made;
    rule: a rule of thumb that only looks at prices. None where there is nothing to see.
    """

    name: str
    bars: Bars
    oracle: Grid
    observer: Grid | None = None
    rule: Grid | None = None

    def market(self, config: Config) -> Market:
        """The market as the product sees it: cleaned, with features and splits."""
        market, _ = market_from_bars(
            self.bars, config.data, config.features, config.splits, config.agent.context_days, config.slice_days
        )
        return market


def reversion(rng: np.random.Generator) -> Planted:
    """Log price = walk + AR(1) deviation; the lowest deviation rises most."""
    shocks = rng.normal(0, DEVIATION_STD, (DAYS, STOCKS))
    deviation = np.zeros((DAYS, STOCKS))
    deviation[0] = shocks[0] / np.sqrt(1 - DEVIATION_PHI**2)
    for day in range(1, DAYS):
        deviation[day] = DEVIATION_PHI * deviation[day - 1] + shocks[day]
    log_price = rng.normal(0, WALK_STD, (DAYS, STOCKS)).cumsum(axis=0) + deviation
    below_mean = mean_of_last(20, log_price) - log_price
    return Planted("reversion", _bars(log_price), -deviation, -kalman_deviation(log_price), below_mean)


def kalman_deviation(log_price: Grid) -> Grid:
    """The expected deviation given the prices so far, [T, S]: the Kalman filter that knows the model (Kalman 1960).

    State: (walk, deviation), observed is their sum without noise, so the walk is the rest of the price.
    """
    expected = np.zeros_like(log_price)
    variance = DEVIATION_STD**2 / (1 - DEVIATION_PHI**2)  # of the deviation, given the prices so far
    before, walk_before = expected[0], log_price[0]
    for day in range(1, len(log_price)):
        # cov(walk, deviation) = -variance, for their sum is known
        ahead = DEVIATION_PHI**2 * variance + DEVIATION_STD**2
        sum_variance = variance + WALK_STD**2 + ahead - 2 * DEVIATION_PHI * variance
        gain = (ahead - DEVIATION_PHI * variance) / sum_variance
        before = DEVIATION_PHI * before
        surprise = log_price[day] - walk_before - before
        before = before + gain * surprise
        walk_before = log_price[day] - before
        variance = ahead - gain**2 * sum_variance
        expected[day] = before
    return expected


def momentum(rng: np.random.Generator) -> Planted:
    """Each stock drifts up or down in hidden regimes, under noise."""
    flips = rng.random((DAYS, STOCKS)) < 1 / REGIME_DAYS
    regime = rng.choice([-1.0, 1.0], STOCKS) * np.where(flips.cumsum(axis=0) % 2, -1.0, 1.0)
    returns = DRIFT * regime + rng.normal(0, REGIME_NOISE_STD, regime.shape)
    return Planted("momentum", _bars(returns.cumsum(axis=0)), regime, regime_odds(returns), mean_of_last(20, returns))


def regime_odds(returns: Grid) -> Grid:
    """Log odds that a stock is in its rising regime, given its returns so far, [T, S] (Hamilton 1989)."""
    odds, known = np.zeros_like(returns), np.zeros(returns.shape[1])
    switch = 1 / REGIME_DAYS
    for day, moved in enumerate(returns):
        rising = 1 / (1 + np.exp(-known))
        rising = rising * (1 - switch) + (1 - rising) * switch
        known = np.log(rising / (1 - rising)) + 2 * DRIFT * moved / REGIME_NOISE_STD**2
        odds[day] = known
    return odds


def context(rng: np.random.Generator) -> Planted:
    """A context column's state, new every ten days, says which half of the stocks rises over the next ten.

    States are independent, so a stock's own past says next to nothing of its next days.
    """
    states = rng.choice([-1.0, 1.0], -(-DAYS // STATE_DAYS) + 1)
    state = np.repeat(states, STATE_DAYS)[: DAYS + STATE_DAYS]
    driving, shown = state[:DAYS], state[STATE_DAYS:]
    half = np.where(np.arange(STOCKS) % 2, 1.0, -1.0)
    returns = DRIFT * driving[:, None] * half + rng.normal(0, STATE_NOISE_STD, (DAYS, STOCKS))
    sign = DRIFT * shown + rng.normal(0, SIGN_NOISE_STD, DAYS)
    left = STATE_DAYS - 1 - np.arange(DAYS) % STATE_DAYS  # days on which today's driver goes on
    seen_odds = _odds_in_block(sign)
    ahead = driving * left + shown * (STATE_DAYS - left)
    inferred = driving * left + np.tanh(seen_odds / 2) * (STATE_DAYS - left)
    bars = _bars(np.column_stack([sign, returns]).cumsum(axis=0), CONTEXT)
    moved = mean_of_last(STATE_DAYS, sign[:, None])
    return Planted("context", bars, ahead[:, None] * half, inferred[:, None] * half, moved * half)


def _odds_in_block(sign: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds that the state now shown is +1, given the context's returns since it began, [T]."""
    evidence = np.zeros(-(-len(sign) // STATE_DAYS) * STATE_DAYS)
    evidence[: len(sign)] = 2 * DRIFT * sign / SIGN_NOISE_STD**2
    return evidence.reshape(-1, STATE_DAYS).cumsum(axis=1).ravel()[: len(sign)]


def noise(rng: np.random.Generator) -> Planted:
    """Random walks: nothing to find. The oracle that skill is measured by sees the next ten days."""
    returns = rng.normal(0, DEVIATION_STD, (DAYS, STOCKS))
    log_price = returns.cumsum(axis=0)
    ahead = np.vstack([log_price[STATE_DAYS:], np.repeat(log_price[-1:], STATE_DAYS, axis=0)]) - log_price
    return Planted("noise", _bars(log_price), ahead)


MARKETS: dict[str, Callable[[np.random.Generator], Planted]] = {
    "reversion": reversion,
    "momentum": momentum,
    "context": context,
    "noise": noise,
}


def planted(name: str, seed: int) -> Planted:
    """The market of that name made from a seed; another name does not share its draws."""
    return MARKETS[name](np.random.default_rng([seed, *name.encode()]))


def mean_of_last(days: int, values: Grid) -> Grid:
    """Mean of the last `days` values of each day, [T, S]; of as many as there are at the beginning."""
    total = values.cumsum(axis=0)
    earlier = np.vstack([np.zeros((days, values.shape[1])), total])[: len(values)]
    return (total - earlier) / np.minimum(np.arange(1, len(values) + 1), days)[:, None]


def _bars(log_price: Grid, *context_columns: str) -> Bars:
    """Daily bars that open where the day before closed; each column's price is 100 at first and has no drift."""
    moves = np.diff(log_price, axis=0, prepend=log_price[:1])
    close = 100 * np.exp((moves - moves.var(axis=0) / 2).cumsum(axis=0))
    open_ = np.vstack([close[:1], close[:-1]])
    names = (*context_columns, *(f"S{number:02d}" for number in range(close.shape[1] - len(context_columns))))
    dates = np.datetime64("2000-01-03") + np.arange(len(close))
    return Bars(dates, names, open_, np.maximum(open_, close), np.minimum(open_, close), close, source="planted market")


def write_csv(bars: Bars, out: Path) -> None:
    """One line a day and column, as the product's readers take it."""
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "ticker", "open", "high", "low", "close"])
        for day, date in enumerate(bars.dates):
            for column, name in enumerate(bars.columns):
                prices = (grid[day, column] for grid in (bars.open, bars.high, bars.low, bars.close))
                writer.writerow([date, name, *(f"{price:.6f}" for price in prices)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a planted market as a CSV file.")
    parser.add_argument("name", choices=list(MARKETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write_csv(planted(args.name, args.seed).bars, args.out)


if __name__ == "__main__":
    main()
