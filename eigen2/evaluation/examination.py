"""The examination of a champion: validation and hold-out, beside what anyone could have had on the same days."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.config import Config, RulesConfig
from eigen2.evaluation.baselines import hold_curve, hold_score, matched_ledger
from eigen2.evaluation.scores import mean_score, score_slices
from eigen2.evaluation.slices import whole
from eigen2.learning.agent import Actions
from eigen2.market.market import Market
from eigen2.randomness import DRIVER, stream
from eigen2.trading.account import account_of
from eigen2.trading.ledger import ExitReason, Ledger, Slices
from eigen2.trading.rules import settle

RANDOM_AGENTS = 200
CHAMPION, HOLD, RANDOM = "champion", "buy and hold", "random agent"
VALIDATION, HOLDOUT = "validation", "hold-out"


@dataclass(frozen=True)
class Segment:
    """One split, played as one episode: the champion's ledger, and equity and figures of everyone by name.

    days: [L] day numbers; curves: name -> [L] equity of one unit of capital, the random agent's a mean;
    random_curves: [R, L] of each random agent; figures: name -> score; at_cost: basis points a side -> the champion's
    score had it traded the same at that cost.
    """

    name: str
    days: NDArray[np.int64]
    ledger: Ledger
    curves: dict[str, NDArray[np.float64]]
    random_curves: NDArray[np.float64]
    figures: dict[str, dict[str, float]]
    at_cost: dict[float, dict[str, float]]


def examine(
    market: Market, config: Config, act: Callable[[Slices], Actions], costs_bps: Sequence[float] = ()
) -> list[Segment]:
    """Play validation and hold-out, each as one episode, and score champion, baselines and random agents on it.

    costs_bps: at which the champion's same actions are scored as well.
    """
    splits = {VALIDATION: market.splits.validation, HOLDOUT: market.splits.holdout}
    return [_segment(name, whole(span, config), market, config, act, costs_bps) for name, span in splits.items()]


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


def _segment(
    name: str,
    slices: Slices,
    market: Market,
    config: Config,
    act: Callable[[Slices], Actions],
    costs_bps: Sequence[float],
) -> Segment:
    rules, prices, yearly = config.rules, market.stock_prices, market.periods_per_year
    actions = act(slices)

    def played(rules: RulesConfig) -> Ledger:
        return settle(prices, slices, actions.conviction, actions.target_pct, rules, config.ddpg.gamma)

    ledger = played(rules)
    curves = {CHAMPION: account_of(ledger, prices, rules).equity[0]} | _hold_curves(market, slices, rules)
    figures = {CHAMPION: score_slices(ledger, prices, rules, yearly)[0].as_dict()}
    figures |= {other: hold_score(curve, yearly).as_dict() for other, curve in curves.items() if other != CHAMPION}

    rng = stream(config.run.seed, 0, DRIVER, f"random agents on {name}")
    random = matched_ledger(market, ledger, rules, RANDOM_AGENTS, rng)
    random_curves = account_of(random, prices, rules).equity
    curves[RANDOM] = random_curves.mean(axis=0)
    figures[RANDOM] = mean_score(score_slices(random, prices, rules, yearly))

    dearer = {cost: rules.model_copy(update={"cost_bps": cost}) for cost in costs_bps}
    at_cost = {cost: score_slices(played(other), prices, other, yearly)[0].as_dict() for cost, other in dearer.items()}
    return Segment(name, slices.days[0], ledger, curves, random_curves, figures, at_cost)


def _hold_curves(market: Market, slices: Slices, rules: RulesConfig) -> dict[str, NDArray[np.float64]]:
    curves = {HOLD: hold_curve(market.prices, market.stocks, slices, rules)}
    if market.index is not None and market.index_label is not None:
        curves[market.index_label] = hold_curve(market.prices, np.array([market.index]), slices, rules)
    return curves
