"""The market as a standard gymnasium environment: one slice an episode.

Importing this module registers it, and so does `gymnasium.make("eigen2.evaluation.env:eigen2/Trading-v0")`.
The rules are those of `eigen2.trading.rules`; this module only translates spaces.
"""

from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from eigen2.config import Config
from eigen2.errors import ConfigError
from eigen2.market.market import Market
from eigen2.trading.ledger import Slices
from eigen2.trading.rules import Book

ENV_ID = "eigen2/Trading-v0"
FEATURE_BOUND = 10.0

SpanName = Literal["training", "validation", "holdout"]


class TradingEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.floating]]):
    """One trader on one slice of a market with C columns, F features and S investable stocks.

    Observation: [context_days, C, F] float32, the features of the days up to and including today.
    Action: [S, 2] in -1..1, clipped to it. The first number of a stock is its conviction, scaled to
    +-conviction_range / 2; the second its sale target, scaled linearly to min_target_pct..max_target_pct.
    Reward of a step: what falls due on that day; an order's own outcome comes on the day of its sale.
    An episode lasts all days of a slice; on settlement days actions are ignored.

    Info: `date` (ISO) and `step` of the day observed; after the last step also `ledger`, a dictionary of
    `fitness` (the sum of rewards) and `num_trades`.
    """

    def __init__(self, market: Market | None = None, config: Config | None = None, span: SpanName = "training") -> None:
        """Without a market, that of `config.data`; without a config, the defaults.

        Raises ConfigError where a slice doesn't fit into the span, or its first observation into the market.
        """
        self._config = Config() if config is None else config
        self._market = _configured_market(self._config) if market is None else market
        self._prices = self._market.stock_prices
        self._length = self._config.slice_days
        self._first_start, self._last_start = _start_bounds(self._market, self._config, span)
        self._start = self._first_start
        self._step = 0
        self._book: Book | None = None

        shape = (self._config.agent.context_days, *self._market.features.shape[1:])
        self.observation_space = gymnasium.spaces.Box(-FEATURE_BOUND, FEATURE_BOUND, shape, np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (len(self._market.stocks), 2), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a slice: on day number `options["start"]`, else on a random day that leaves room for all of it.

        Raises ConfigError for a start from which the slice would leave the span, and for any other option.
        """
        super().reset(seed=seed)
        self._start = self._choose_start(options or {})
        self._step = 0
        slices = Slices(np.array([self._start]), self._config.slices.trading_days, self._config.settlement_days)
        self._book = Book(self._prices, slices, self._config.rules, self._config.ddpg.gamma)
        return self._observation(), self._info()

    def step(self, action: NDArray[np.floating]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Play one day.

        Raises ValueError for an action of another shape or with a number that isn't finite, ResetNeeded before
        the first reset and after the last day.
        """
        if self._book is None:
            raise ResetNeeded("call reset() before the first step and after the last day of a slice")
        step, book = self._step, self._book
        if step < self._config.slices.trading_days:
            conviction, target_pct = self._decoded(action)
            book.decide(step, conviction[None], target_pct[None])
        if step < self._length - 1:
            self._step += 1
            return self._observation(), float(book.rewards[0, step]), False, False, self._info()
        return self._finish(book)

    def _finish(self, book: Book) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        ledger = book.close()
        self._book = None
        totals = {"fitness": float(ledger.fitness[0]), "num_trades": int(ledger.bought.sum())}
        return self._observation(), float(ledger.rewards[0, -1]), True, False, {**self._info(), "ledger": totals}

    def _choose_start(self, options: dict[str, Any]) -> int:
        unknown = sorted(set(options) - {"start"})
        if unknown:
            raise ConfigError(f"unknown reset option {unknown[0]!r}; the only one is 'start'")
        if "start" not in options:
            return int(self.np_random.integers(self._first_start, self._last_start, endpoint=True))
        start = int(options["start"])
        if not self._first_start <= start <= self._last_start:
            raise ConfigError(
                f"start is day {start}, but a slice of {self._length} days must start on day "
                f"{self._first_start}..{self._last_start}"
            )
        return start

    def _observation(self) -> NDArray[np.float32]:
        today = self._start + self._step
        return self._market.features[today + 1 - self._config.agent.context_days : today + 1].copy()

    def _info(self) -> dict[str, Any]:
        return {"date": str(self._market.dates[self._start + self._step]), "step": self._step}

    def _decoded(self, action: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = np.asarray(action, dtype=np.float64)
        if values.shape != self.action_space.shape:
            raise ValueError(f"an action has shape {self.action_space.shape}, this one {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("an action must be finite numbers")
        conviction, target = np.clip(values, -1.0, 1.0).T
        rules = self._config.rules
        target_pct = rules.min_target_pct + (target + 1) / 2 * (rules.max_target_pct - rules.min_target_pct)
        return conviction * self._config.agent.conviction_range / 2, target_pct


def _configured_market(config: Config) -> Market:
    # reading market files takes pandas, which a caller with a market of its own does without
    from eigen2.market.build import load_market

    market, _ = load_market(config)
    return market


def _start_bounds(market: Market, config: Config, name: SpanName) -> tuple[int, int]:
    """First and last day number on which a slice may start."""
    if name not in get_args(SpanName):
        raise ConfigError(f"span is {name!r}; it must be one of {', '.join(get_args(SpanName))}")
    span, length = getattr(market.splits, name), config.slice_days
    if span.days < length:
        raise ConfigError(f"the {name} days are {span.days}, shorter than a slice of {length} days")
    if span.first < config.agent.context_days - 1:
        raise ConfigError(
            f"the {name} days start on day {span.first}, but agent.context_days {config.agent.context_days} needs "
            f"{config.agent.context_days - 1} days before them"
        )
    return span.first, span.last + 1 - length


gymnasium.register(ENV_ID, entry_point="eigen2.evaluation.env:TradingEnv")
