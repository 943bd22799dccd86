"""The rules of trading, in one place: actions and prices in, a ledger out.

Each day, for all slices at once:
1. Positions are sold: at the target price when the day's high reaches it (at the open where the day opened above
   it), else at the close once held `max_holding_period` days or on the slice's last day; where a stock's data has
   ended, at its last known close.
2. On a trading day the stock with the highest conviction, among those with a price that are neither held nor
   ordered, is bought if its coefficient, max_coefficient * sigmoid(conviction), is at least 1.
3. `inaction_penalty` falls due on a trading day on which no position was open and none was decided.

The exit of a position depends on prices alone, so it is worked out when the position is opened; it is booked on
the day it happens. Nothing an agent may observe depends on it before that day.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from eigen2.config import RulesConfig
from eigen2.market.market import Prices
from eigen2.trading.ledger import NO_STOCK, ExitReason, Ledger, Slices

MIN_COEFFICIENT = 1.0  # a smaller one buys nothing


def settle(
    prices: Prices,
    slices: Slices,
    conviction: NDArray[np.floating],
    target_pct: NDArray[np.floating],
    rules: RulesConfig,
    gamma: float,
) -> Ledger:
    """The ledger of K slices played with the given actions.

    prices: of the S investable stocks, [T, S]; conviction, target_pct: [K, D, S].
    """
    book = Book(prices, slices, rules, gamma)
    for step in range(slices.trading_days):
        book.decide(step, conviction[:, step], target_pct[:, step])
    return book.close()


def coefficient_of(conviction: NDArray[np.floating], rules: RulesConfig) -> NDArray[np.float64]:
    """Size of a purchase: max_coefficient * sigmoid(conviction)."""
    # tanh, unlike exp, can't overflow
    return rules.max_coefficient * 0.5 * (1.0 + np.tanh(0.5 * conviction.astype(np.float64)))


@dataclass(frozen=True)
class _Exits:
    """When, at what price and why positions are sold, each [n]."""

    day: NDArray[np.int64]
    price: NDArray[np.float64]
    reason: NDArray[np.int8]


class Book:
    """K slices while they are played, a day at a time. `decide` each trading day in order, then `close`."""

    def __init__(self, prices: Prices, slices: Slices, rules: RulesConfig, gamma: float) -> None:
        self._prices, self._rules, self._gamma = prices, rules, gamma
        self._days = slices.days
        K, S = len(slices.starts), prices.close.shape[1]
        self._free_from = np.full((K, S), np.iinfo(np.int64).min)  # day from whose close on a stock may be bought
        self._open_until = np.full(K, np.iinfo(np.int64).min)  # last day on which any position is open
        self._ledger = _empty_ledger(slices)

    @property
    def rewards(self) -> NDArray[np.float64]:
        """Rewards booked so far on the days they fall due, [K, L]."""
        return self._ledger.rewards

    def available(self, step: int) -> NDArray[np.bool_]:
        """Stocks that may be bought at the close of trading day `step`, [K, S]."""
        today = self._days[:, step]
        return self._prices.valid[today] & (self._free_from <= today[:, None])

    def decide(self, step: int, conviction: NDArray[np.floating], target_pct: NDArray[np.floating]) -> None:
        """Trading day `step` of every slice, with the day's actions, each [K, S]."""
        ordered = np.where(self.available(step), conviction, -np.inf)
        best = ordered.argmax(axis=1)
        slices = np.arange(len(best))
        coefficient = coefficient_of(ordered[slices, best], self._rules)
        entry = self._days[:, step] + self._rules.fill_lag
        entry_price = (self._prices.open if self._rules.fill_lag else self._prices.close)[entry, best]
        decided = coefficient >= MIN_COEFFICIENT
        # an order for a stock that does not trade on the day of its fill lapses
        buys = np.flatnonzero(decided & np.isfinite(entry_price))
        if len(buys):
            wanted = target_pct[buys, best[buys]].astype(np.float64)
            target = np.clip(wanted, self._rules.min_target_pct, self._rules.max_target_pct)
            self._open(step, buys, best[buys], coefficient[buys], target)
        # today's reward must not tell whether tomorrow has an open, so an order that lapses counts as well
        self._penalise_inaction(step, decided)

    def close(self) -> Ledger:
        """The finished ledger; a slice without one trade pays `zero_trades_penalty`."""
        idle = ~self._ledger.bought.any(axis=1)
        self._ledger.rewards[idle, -1] -= self._rules.zero_trades_penalty
        # no single day is to blame, so each gets its share
        self._ledger.credits[idle] -= self._rules.zero_trades_penalty / self._ledger.slices.trading_days
        for field in fields(Ledger):
            if field.name != "slices":
                getattr(self._ledger, field.name).setflags(write=False)
        return self._ledger

    def _open(
        self,
        step: int,
        slices: NDArray[np.int64],
        stock: NDArray[np.int64],
        coefficient: NDArray[np.float64],
        target_pct: NDArray[np.float64],
    ) -> None:
        ledger, rules = self._ledger, self._rules
        entry = self._days[slices, step] + rules.fill_lag
        entry_price = (self._prices.open if rules.fill_lag else self._prices.close)[entry, stock]
        exits = self._exits(stock, entry, entry_price * (1 + target_pct / 100), self._days[slices, -1])
        cost = rules.cost_bps / 1e4
        gain_pct = 100 * (exits.price * (1 - cost) / (entry_price * (1 + cost)) - 1)
        reward = coefficient * gain_pct * np.where(gain_pct < 0, rules.loss_penalty_multiplier, 1.0)

        at = (slices, step)
        ledger.stock[at], ledger.coefficient[at], ledger.target_pct[at] = stock, coefficient, target_pct
        ledger.entry_day[at], ledger.exit_day[at], ledger.reason[at] = entry, exits.day, exits.reason
        ledger.entry_price[at], ledger.exit_price[at], ledger.gain_pct[at] = entry_price, exits.price, gain_pct
        ledger.rewards[slices, exits.day - self._days[slices, 0]] += reward
        ledger.credits[at] += reward * self._gamma ** (exits.day - entry)

        self._free_from[slices, stock] = exits.day
        self._open_until[slices] = np.maximum(self._open_until[slices], exits.day)

    def _exits(
        self,
        stock: NDArray[np.int64],
        entry: NDArray[np.int64],
        target_price: NDArray[np.float64],
        slice_end: NDArray[np.int64],
    ) -> _Exits:
        rules, prices = self._rules, self._prices
        # bought at a close, a position can meet its target from the next day on; bought at an open, the same day
        window = entry[:, None] + np.arange(1 - rules.fill_lag, rules.max_holding_period + 1)
        ended = prices.last_day[stock] + 1
        timed = entry + rules.max_holding_period
        last = np.minimum(np.minimum(timed, slice_end), ended)
        inside = window <= last[:, None]
        window = np.minimum(window, last[:, None])
        reached = inside & (prices.high[window, stock[:, None]] >= target_price[:, None])
        hit = reached.any(axis=1)
        hit_day = window[np.arange(len(stock)), reached.argmax(axis=1)]
        opened_at = prices.open[hit_day, stock]

        day = np.where(hit, hit_day, last)
        price = np.where(hit, np.fmax(target_price, opened_at), prices.last_close[last, stock])
        reason = np.select(
            [hit, last == ended, last == timed],
            [ExitReason.TARGET, ExitReason.ENDED, ExitReason.TIMED],
            ExitReason.SETTLED,
        )
        return _Exits(day, price, reason.astype(np.int8))

    def _penalise_inaction(self, step: int, decided: NDArray[np.bool_]) -> None:
        idle = (self._open_until < self._days[:, step]) & ~decided
        self._ledger.rewards[idle, step] -= self._rules.inaction_penalty
        self._ledger.credits[idle, step] -= self._rules.inaction_penalty


def _empty_ledger(slices: Slices) -> Ledger:
    K, D = len(slices.starts), slices.trading_days

    def whole(fill: int) -> NDArray[np.int64]:
        return np.full((K, D), fill, dtype=np.int64)

    def real(days: int = D) -> NDArray[np.float64]:
        return np.zeros((K, days))

    return Ledger(
        slices=slices,
        stock=whole(NO_STOCK),
        coefficient=real(),
        target_pct=real(),
        entry_day=whole(0),
        exit_day=whole(0),
        entry_price=real(),
        exit_price=real(),
        gain_pct=real(),
        reason=np.zeros((K, D), dtype=np.int8),
        rewards=real(slices.length),
        credits=real(),
    )
