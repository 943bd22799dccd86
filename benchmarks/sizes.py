"""Three sizes of work for the speed benchmark: made-up prices, and the config that goes with them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eigen2.config import Config, config_from_dict
from eigen2.market.bars import Bars
from eigen2.market.build import market_from_bars
from eigen2.market.market import Market

Figures = dict[str, float | str]  # what a measurement found, by name

BASE: dict[str, Any] = {"wandb_mode": "disabled", "progress": False, "dashboard": False, "population_size": 8}
QUICKSTART: dict[str, Any] = {
    "training_slices": 28,
    "worst_slices": 24,
    "gradient_steps_per_generation": 48,
    "batch_size": 48,
    "gradient_accumulation_steps": 4,
}
FULL: dict[str, Any] = {
    "training_slices": 5,
    "worst_slices": 2,
    "hidden_size": 64,
    "gradient_steps_per_generation": 32,
    "batch_size": 32,
    "gradient_accumulation_steps": 2,
    "buffer_warmup": 500,
}


@dataclass(frozen=True)
class Size:
    """columns: all that are observed, the first `stocks` of which may be bought; days: of the data."""

    name: str
    columns: int
    stocks: int
    context_days: int
    days: int
    fields: dict[str, Any] = field(default_factory=dict)

    def config(self, **changed: Any) -> Config:
        return config_from_dict(
            {**BASE, **self.fields, "context_days": self.context_days, **changed}, f"the size {self.name}"
        )

    def market(self, config: Config) -> Market:
        """Random walks of 1 % a day, with bars as wide."""
        rng = np.random.default_rng(0)
        close = 50 * np.exp(rng.normal(0, 0.01, (self.days, self.columns)).cumsum(axis=0))
        width = np.exp(np.abs(rng.normal(0, 0.01, close.shape)))
        names = [f"S{n:03d}" if n < self.stocks else f"^C{n:03d}" for n in range(self.columns)]
        dates = np.busday_offset(np.datetime64("2005-01-03"), np.arange(self.days), roll="forward")
        volume = np.full(close.shape, 1e6)
        bars = Bars(dates.astype("datetime64[D]"), tuple(names), close, close * width, close / width, close, volume)
        market, _ = market_from_bars(
            bars, config.data, config.features, config.splits, config.agent.context_days, config.slice_days
        )
        return market


SIZES = {
    size.name: size
    for size in (
        Size("quickstart", 21, 20, 64, 4_800, QUICKSTART),
        Size("skinny", 117, 108, 151, 3_000, FULL),
        Size("full", 669, 108, 504, 3_000, FULL),
    )
}
