"""The rules of trading once more, as a plain loop over days and positions: slow, and independent of the ledger."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eigen2.config import RulesConfig
from eigen2.market.market import Prices
from eigen2.trading.ledger import ExitReason, Slices


@dataclass
class Position:
    """What was bought (or ordered), on which step of the slice that was decided."""

    step: int
    stock: int
    coefficient: float
    target_pct: float
    entry_day: int = -1
    entry_price: float = math.nan

    @property
    def target_price(self) -> float:
        return self.entry_price * (1 + self.target_pct / 100)


@dataclass
class Trade:
    """A position that was sold."""

    position: Position
    exit_day: int
    exit_price: float
    gain_pct: float
    reason: ExitReason


@dataclass
class Diary:
    """What happened in one slice; rewards by step, credits by step of the decision."""

    rewards: list[float]
    credits: list[float]
    trades: list[Trade] = field(default_factory=list)
    lapsed: int = 0


def play(
    prices: Prices,
    slices: Slices,
    conviction: NDArray[np.float64],
    target_pct: NDArray[np.float64],
    rules: RulesConfig,
    gamma: float,
) -> list[Diary]:
    """One diary a slice; arguments as of `eigen2.trading.rules.settle`."""
    return [
        _Trader(prices, slices, int(start), rules, gamma).play(conviction[k], target_pct[k])
        for k, start in enumerate(slices.starts)
    ]


class _Trader:
    def __init__(self, prices: Prices, slices: Slices, start: int, rules: RulesConfig, gamma: float) -> None:
        self.prices, self.slices, self.start, self.rules, self.gamma = prices, slices, start, rules, gamma
        self.diary = Diary([0.0] * slices.length, [0.0] * slices.trading_days)
        self.positions: list[Position] = []
        self.order: Position | None = None
        self.last_close: dict[int, float] = {}

    def play(self, conviction: NDArray[np.float64], target_pct: NDArray[np.float64]) -> Diary:
        for step in range(self.slices.length):
            self._note_closes(step)
            self._fill_order(step)
            was_open = len(self.positions) > 0
            for position in list(self.positions):  # oldest first
                self._examine(position, step)
            if step < self.slices.trading_days:
                bought = self._decide(step, conviction[step], target_pct[step])
                if not was_open and not bought:
                    self.diary.rewards[step] -= self.rules.inaction_penalty
                    self.diary.credits[step] -= self.rules.inaction_penalty
        if not self.diary.trades:
            self.diary.rewards[-1] -= self.rules.zero_trades_penalty
            for step in range(self.slices.trading_days):
                self.diary.credits[step] -= self.rules.zero_trades_penalty / self.slices.trading_days
        return self.diary

    def _note_closes(self, step: int) -> None:
        for stock, close in enumerate(self.prices.close[self.start + step]):
            if not math.isnan(close):
                self.last_close[stock] = float(close)

    def _fill_order(self, step: int) -> None:
        if self.order is None:
            return
        day = self.start + step
        self.order.entry_day = day
        self.order.entry_price = float(self.prices.open[day, self.order.stock])
        if math.isnan(self.order.entry_price):
            self.diary.lapsed += 1
        else:
            self.positions.append(self.order)
        self.order = None

    def _examine(self, position: Position, step: int) -> None:
        day, stock = self.start + step, position.stock
        high, opened = float(self.prices.high[day, stock]), float(self.prices.open[day, stock])
        if high >= position.target_price:
            self._sell(position, step, max(opened, position.target_price), ExitReason.TARGET)
        elif not any(not math.isnan(close) for close in self.prices.close[day:, stock]):
            self._sell(position, step, self.last_close[stock], ExitReason.ENDED)
        elif day - position.entry_day == self.rules.max_holding_period:
            self._sell(position, step, self.last_close[stock], ExitReason.TIMED)
        elif step == self.slices.length - 1:
            self._sell(position, step, self.last_close[stock], ExitReason.SETTLED)

    def _sell(self, position: Position, step: int, price: float, reason: ExitReason) -> None:
        paid = position.entry_price + position.entry_price * self.rules.cost_bps / 10_000
        received = price - price * self.rules.cost_bps / 10_000
        gain_pct = (received - paid) / paid * 100
        reward = position.coefficient * gain_pct
        if reward < 0:
            reward *= self.rules.loss_penalty_multiplier
        day = self.start + step
        self.positions.remove(position)
        self.diary.rewards[step] += reward
        self.diary.credits[position.step] += reward * self.gamma ** (day - position.entry_day)
        self.diary.trades.append(Trade(position, day, price, gain_pct, reason))

    def _decide(self, step: int, conviction: NDArray[np.float64], target_pct: NDArray[np.float64]) -> bool:
        day = self.start + step
        held = [position.stock for position in self.positions]
        free = [s for s in range(len(conviction)) if s not in held and not math.isnan(self.prices.close[day, s])]
        if not free:
            return False
        best = max(free, key=lambda stock: conviction[stock])  # the first of equals
        coefficient = self.rules.max_coefficient / (1 + math.exp(-conviction[best]))
        if coefficient < 1:
            return False
        target = min(max(target_pct[best], self.rules.min_target_pct), self.rules.max_target_pct)
        position = Position(step, best, coefficient, float(target))
        if self.rules.fill == "next_open":
            self.order = position
        else:
            position.entry_day, position.entry_price = day, float(self.prices.close[day, best])
            self.positions.append(position)
        return True
