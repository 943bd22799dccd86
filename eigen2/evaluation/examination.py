"""The examination of a champion: validation and hold-out, beside what anyone could have had on the same days."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.config import Config
from eigen2.evaluation.baselines import hold_curve, hold_score, random_ledger
from eigen2.evaluation.scores import equity_curves, mean_score, score_slices
from eigen2.evaluation.slices import whole
from eigen2.learning.agent import Actions
from eigen2.market.market import Market
from eigen2.randomness import DRIVER, stream
from eigen2.trading.ledger import ExitReason, Ledger, Slices
from eigen2.trading.rules import settle

RANDOM_AGENTS = 100  # draws behind the random agent's mean
CHAMPION = "champion"


@dataclass(frozen=True)
class Segment:
    """One split, played as one episode: the champion's ledger, and equity and figures of everyone by name.

    days: [L] day numbers; curves: name -> [L] equity of one unit of capital; figures: name -> score.
    """

    name: str
    days: NDArray[np.int64]
    ledger: Ledger
    curves: dict[str, NDArray[np.float64]]
    figures: dict[str, dict[str, float]]


def examine(market: Market, config: Config, act: Callable[[Slices], Actions]) -> list[Segment]:
    """Play validation and hold-out, each as one episode, and score champion, baselines and random agents on it."""
    splits = {"validation": market.splits.validation, "hold-out": market.splits.holdout}
    return [_segment(name, whole(span, config), market, config, act) for name, span in splits.items()]


def trades_of(segment: Segment, market: Market) -> list[dict[str, object]]:
    """The champion's trades in order of their decision, as rows of trades.csv."""
    ledger, dates = segment.ledger, market.dates
    rows = []
    for step in np.flatnonzero(ledger.bought[0]):
        at = (0, step)
        rows.append(
            {
                "segment": segment.name,
                "stock": market.stock_names[ledger.stock[at]],
                "decided": dates[ledger.slices.trading[at]],
                "entry_date": dates[ledger.entry_day[at]],
                "entry_price": float(ledger.entry_price[at]),
                "coefficient": float(ledger.coefficient[at]),
                "target_pct": float(ledger.target_pct[at]),
                "exit_date": dates[ledger.exit_day[at]],
                "exit_price": float(ledger.exit_price[at]),
                "reason": ExitReason(ledger.reason[at]).name.lower(),
                "days_held": int(ledger.days_held[at]),
                "gain_pct": float(ledger.gain_pct[at]),
            }
        )
    return rows


def equity_of(segment: Segment, market: Market) -> list[dict[str, object]]:
    """Equity of everyone a day, as rows of equity.csv."""
    return [
        {
            "segment": segment.name,
            "date": market.dates[day],
            **{name: float(curve[step]) for name, curve in segment.curves.items()},
        }
        for step, day in enumerate(segment.days)
    ]


def _segment(name: str, slices: Slices, market: Market, config: Config, act: Callable[[Slices], Actions]) -> Segment:
    rules, prices = config.rules, market.stock_prices
    actions = act(slices)
    ledger = settle(prices, slices, actions.conviction, actions.target_pct, rules, config.ddpg.gamma)
    curves = {
        CHAMPION: equity_curves(ledger, prices, rules)[0],
        "buy and hold": hold_curve(market.prices, market.stocks, slices, rules),
    }
    if market.index is not None:
        curves["index"] = hold_curve(market.prices, np.array([market.index]), slices, rules)
    figures = {other: hold_score(curve).as_dict() for other, curve in curves.items() if other != CHAMPION}

    rng = stream(config.run.seed, 0, DRIVER, f"random agents on {name}")
    random = random_ledger(market, slices, rules, RANDOM_AGENTS, rng)
    curves["random agent"] = equity_curves(random, prices, rules).mean(axis=0)
    figures["random agent"] = mean_score(score_slices(random, prices, rules))
    figures = {CHAMPION: score_slices(ledger, prices, rules)[0].as_dict(), **figures}
    return Segment(name, slices.days[0], ledger, curves, figures)
