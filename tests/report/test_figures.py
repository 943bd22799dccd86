"""The figures on the page against the textbook, and against a library that others use for them."""

import ffn
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from eigen2.evaluation.scores import curve_figures
from eigen2.report.months import monthly_returns
from eigen2.report.plots import drawdown_pct


def curve(days: int = 700, seed: int = 0) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Weekdays, and equity that starts from 1 the day before the first."""
    dates = pd.bdate_range("2019-05-14", periods=days).to_numpy().astype("datetime64[D]")
    return dates, np.exp(np.random.default_rng(seed).normal(0.0004, 0.012, days).cumsum())


def prices(dates: NDArray[np.datetime64], equity: NDArray[np.float64]) -> pd.Series:
    """The same with its start, as the library takes it."""
    start = dates[0] - np.timedelta64(1, "D")
    return pd.Series(np.concatenate([[1.0], equity]), index=pd.DatetimeIndex(np.concatenate([[start], dates])))


def test_the_library_has_the_sharpe_of_the_textbook_and_so_have_we() -> None:
    dates, equity = curve()
    returns = np.diff(equity, prepend=1.0) / np.concatenate([[1.0], equity[:-1]])
    textbook = np.sqrt(252) * returns.mean() / np.sqrt(((returns - returns.mean()) ** 2).sum() / (len(returns) - 1))
    library = ffn.calc_sharpe(prices(dates, equity).pct_change().dropna(), nperiods=252)
    assert library == pytest.approx(textbook)
    assert curve_figures(equity, 252)["sharpe_ratio"] == pytest.approx(textbook)


def test_return_and_drawdown_are_those_of_the_library() -> None:
    dates, equity = curve(seed=1)
    known, figures = prices(dates, equity), curve_figures(equity, 252)
    assert figures["total_return_pct"] == pytest.approx(100 * ffn.calc_total_return(known))
    assert figures["max_drawdown_pct"] == pytest.approx(-100 * ffn.calc_max_drawdown(known))
    fallen = ffn.to_drawdown_series(known).to_numpy()[1:]
    assert drawdown_pct(equity) == pytest.approx(100 * fallen)


def test_months_are_those_of_the_library() -> None:
    dates, equity = curve(seed=2)
    theirs = 100 * ffn.to_monthly(prices(dates, equity)).pct_change()
    ours = {(year.year, month): pct for year in monthly_returns(dates, equity) for month, pct in year.months.items()}
    told = {(day.year, day.month): pct for day, pct in theirs.dropna().items()}
    assert list(ours)[1:-1] == list(told), "the library leaves out the first and last month, of which there are parts"
    assert {month: ours[month] for month in told} == pytest.approx(told)
