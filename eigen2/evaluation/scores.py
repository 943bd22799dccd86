"""The score of a slice: what a person would call its result, free of penalties and of the coefficient's scale."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from eigen2.config import RulesConfig
from eigen2.market.market import Prices
from eigen2.trading.account import Account, account_of
from eigen2.trading.ledger import Ledger


@dataclass(frozen=True)
class Score:
    """Figures of one equity curve; pct figures in %, Sharpe and Sortino a year without a risk-free rate."""

    total_return_pct: float
    sharpe_ratio: float
    sortino_ratio: float
    max_drawdown_pct: float
    win_rate: float  # share of trades with a gain, 0..1
    avg_trade_duration: float  # days, or bars where they are not days
    num_trades: int
    exposure: float  # mean share of the equity invested at the close, 0..1
    turnover: float  # sum of all purchases, each as a share of the equity at its decision

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def score_slices(ledger: Ledger, prices: Prices, rules: RulesConfig, periods_per_year: float) -> list[Score]:
    """The score of each slice of a ledger. periods_per_year: bars in a year."""
    account = account_of(ledger, prices, rules)
    return [_score(ledger, account, k, periods_per_year) for k in range(len(account.equity))]


def mean_score(scores: list[Score]) -> dict[str, float]:
    """The mean of each figure over slices."""
    return {name: float(np.mean([score.as_dict()[name] for score in scores])) for name in scores[0].as_dict()}


def curve_figures(equity: NDArray[np.float64], periods_per_year: float) -> dict[str, float]:
    """total_return_pct, sharpe_ratio, sortino_ratio and max_drawdown_pct of one equity curve that starts from 1."""
    returns = daily_returns(equity)
    curve = np.concatenate([[1.0], equity])
    downside = float(np.sqrt(np.mean(np.minimum(returns, 0) ** 2)))
    drawdown = 1 - curve / np.maximum.accumulate(curve)
    return {
        "total_return_pct": float(100 * (curve[-1] - 1)),
        "sharpe_ratio": float(sharpe_ratios(returns, periods_per_year)),
        "sortino_ratio": float(_yearly_ratios(returns, np.array(downside), periods_per_year)),
        "max_drawdown_pct": float(100 * drawdown.max()),
    }


def daily_returns(equity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns of each bar of equity curves that start from 1, [..., L], as shares."""
    before = np.concatenate([np.ones_like(equity[..., :1]), equity[..., :-1]], axis=-1)
    returns: NDArray[np.float64] = (equity - before) / before
    return returns


def sharpe_ratios(returns: NDArray[np.float64], periods_per_year: float) -> NDArray[np.float64]:
    """Sharpe ratio a year of each series of returns a bar [..., T], without a risk-free rate."""
    return _yearly_ratios(returns, returns.std(axis=-1, ddof=1), periods_per_year)


def _score(ledger: Ledger, account: Account, k: int, periods_per_year: float) -> Score:
    bought = ledger.bought[k]
    held = ledger.days_held[k][bought]
    trades = int(bought.sum())
    return Score(
        **curve_figures(account.equity[k], periods_per_year),
        win_rate=float((ledger.gain_pct[k][bought] > 0).mean()) if trades else 0.0,
        avg_trade_duration=float(held.mean()) if trades else 0.0,
        num_trades=trades,
        exposure=float((account.invested[k] / account.equity[k]).mean()),
        turnover=float(account.share[k].sum()),
    )


def _yearly_ratios(
    returns: NDArray[np.float64], deviation: NDArray[np.float64], periods_per_year: float
) -> NDArray[np.float64]:
    """0 for a curve that never moves: nothing was risked and nothing earned."""
    moves = deviation >= 1e-12
    ratios: NDArray[np.float64] = np.where(moves, returns.mean(axis=-1) / np.where(moves, deviation, 1.0), 0.0)
    return ratios * np.sqrt(periods_per_year)
