"""What a champion is held against on the same days: buy-and-hold, the index, random agents."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eigen2.config import RulesConfig
from eigen2.evaluation.scores import Score, curve_figures
from eigen2.market.market import Market, Prices
from eigen2.trading.ledger import Ledger, Slices
from eigen2.trading.rules import settle

ORDERING = 1e-9  # convictions differ by so little: they decide which stock is bought, not how much of it


def hold_curve(prices: Prices, columns: NDArray[np.int64], slices: Slices, rules: RulesConfig) -> NDArray[np.float64]:
    """Equity of equal shares of the columns, bought like a first purchase and held to the end, [L] of slice 0.

    Bought on the first day from then on on which any of the columns trades; those without a price on that day are left
    out. Where none ever trades, the capital stays idle.
    """
    days = slices.days[0]
    fills = (prices.open if rules.fill_lag else prices.close)[days[:, None], columns]
    traded = np.isfinite(fills).any(axis=1)
    traded[: rules.fill_lag] = False
    if not traded.any():
        return np.ones(len(days))
    entry = int(traded.argmax())
    columns, entry_price = columns[np.isfinite(fills[entry])], fills[entry][np.isfinite(fills[entry])]
    cost = rules.cost_bps / 1e4
    growth = prices.last_close[days[:, None], columns] / (entry_price * (1 + cost))
    growth[:entry] = 1.0
    growth[-1] *= 1 - cost
    equity: NDArray[np.float64] = growth.mean(axis=1)
    return equity


def hold_score(equity: NDArray[np.float64], periods_per_year: float) -> Score:
    """The score of a curve that is one long position."""
    return Score(
        **curve_figures(equity, periods_per_year),
        win_rate=float(equity[-1] > 1),
        avg_trade_duration=float(len(equity) - 1),
        num_trades=1,
        exposure=1.0,
        turnover=1.0,
    )


def random_ledger(market: Market, slices: Slices, rules: RulesConfig, draws: int, rng: np.random.Generator) -> Ledger:
    """`draws` random agents on slice 0: random order, random size, random target, under the same rules."""
    repeated = Slices(np.repeat(slices.starts[:1], draws), slices.trading_days, slices.settlement_days)
    shape = (draws, slices.trading_days, len(market.stocks))
    conviction = rng.normal(0.0, 1.0, shape)
    target_pct = rng.uniform(rules.min_target_pct, rules.max_target_pct, shape)
    return settle(market.stock_prices, repeated, conviction, target_pct, rules, gamma=1.0)


def matched_ledger(market: Market, ledger: Ledger, rules: RulesConfig, draws: int, rng: np.random.Generator) -> Ledger:
    """`draws` random agents who trade like slice 0 of a champion's ledger: on the same days, in the same sizes, with
    the same targets, in stocks drawn from those that they could buy.

    Exposure and turnover are those of the champion, but for targets met on other days and orders that lapse: what is
    left between them is the choice of stocks.
    """
    slices = ledger.slices
    repeated = Slices(np.repeat(slices.starts[:1], draws), slices.trading_days, slices.settlement_days)
    shape = (draws, slices.trading_days, len(market.stocks))
    size = np.where(ledger.bought[0], ledger.coefficient[0] / rules.max_coefficient, 0.0)
    with np.errstate(divide="ignore"):
        conviction = np.log(size) - np.log1p(-np.minimum(size, 1 - 1e-12))  # the inverse of coefficient_of
    convictions = conviction[:, None] + ORDERING * (1 + rng.random(shape))
    target_pct = np.broadcast_to(ledger.target_pct[0][:, None], shape)
    played = settle(market.stock_prices, repeated, convictions, target_pct, rules, gamma=1.0)
    # exactly the champion's sizes: where there is one stock to choose, the equity must be the same to the last digit
    return replace(played, coefficient=np.where(played.bought, ledger.coefficient[0], 0.0))
