"""The account: one unit of capital that follows a ledger's trades, sized by current equity and never leveraged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.config import RulesConfig
from eigen2.market.market import Prices
from eigen2.trading.ledger import Ledger

RUIN = 1e-6  # equity below this share of the starting capital is reported as this share, and buys nothing more


@dataclass(frozen=True)
class Account:
    """Capital over K slices of L days with D trading days, in units of the starting capital.

    equity: [K, L] cash and open positions at the close of each day, at least RUIN; invested: [K, L] value of the open
    positions at the last known close; share: [K, D] part of the equity at the decision spent on each purchase, 0 to 1.
    """

    equity: NDArray[np.float64]
    invested: NDArray[np.float64]
    share: NDArray[np.float64]


def purchase_share(ledger: Ledger, rules: RulesConfig) -> NDArray[np.float64]:
    """Share of the current equity meant for each purchase, [K, D].

    coefficient / (max_coefficient * positions that may be open at once). Bought at an open and sold at a close, a
    position overlaps one day more than it is held.
    """
    return ledger.coefficient / (rules.max_coefficient * (rules.max_holding_period + rules.fill_lag))


def account_of(ledger: Ledger, prices: Prices, rules: RulesConfig) -> Account:
    """The account of each slice of a ledger.

    A purchase spends its share of the equity at the close of its decision, or all the cash of that close if that is
    less: older positions may be worth more than their share after losses.
    """
    starts = ledger.slices.starts[:, None]
    entry, exit_ = ledger.entry_day - starts, ledger.exit_day - starts
    longest = rules.max_holding_period + rules.fill_lag  # days from a decision to the latest sale
    cost, wanted = rules.cost_bps / 1e4, purchase_share(ledger, rules)
    units, share = np.zeros_like(wanted), np.zeros_like(wanted)
    equity, invested = np.empty((2, len(wanted), ledger.slices.length))
    cash = worth = np.ones(len(wanted))

    def buy(step: int) -> NDArray[np.float64]:
        """Carry out the purchases decided on `step`; returns the cash left."""
        spent = np.where(worth > RUIN, np.minimum(wanted[:, step] * worth, cash), 0.0)
        share[:, step] = spent / np.maximum(worth, RUIN)
        bought = ledger.bought[:, step]
        units[bought, step] = spent[bought] / (ledger.entry_price[bought, step] * (1 + cost))
        return cash - spent

    for step in range(ledger.slices.length):
        if rules.fill_lag and 0 < step <= ledger.slices.trading_days:
            cash = buy(step - 1)
        recent = slice(max(0, step - longest), step + 1)  # decisions whose positions may still be open
        sold = ledger.bought[:, recent] & (exit_[:, recent] == step)
        proceeds = units[:, recent] * ledger.exit_price[:, recent] * (1 - cost)
        cash = cash + np.where(sold, proceeds, 0.0).sum(axis=1)
        held = ledger.bought[:, recent] & (entry[:, recent] <= step) & (exit_[:, recent] > step)
        marks = prices.last_close[ledger.slices.days[:, step, None], ledger.stock[:, recent]]
        value = np.where(held, units[:, recent] * marks, 0.0).sum(axis=1)
        worth = cash + value
        if not rules.fill_lag and step < ledger.slices.trading_days:
            cash = buy(step)
            value = value + np.where(ledger.bought[:, step], units[:, step] * ledger.entry_price[:, step], 0.0)
        equity[:, step], invested[:, step] = cash + value, value
    return Account(np.maximum(equity, RUIN), invested, share)
