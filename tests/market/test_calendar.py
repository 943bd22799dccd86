"""Bars a year: counted from the dates, near a convention that convention."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eigen2.market.calendar import change_of_calendar, periods_per_year
from tests.synthetic import make_market


def exchange_days(first: str = "2004-01-02", last: str = "2022-12-28") -> np.ndarray:
    """Weekdays without nine holidays a year."""
    days = pd.bdate_range(first, last)
    rng = np.random.default_rng(0)
    return np.sort(rng.choice(days.to_numpy(), int(len(days) * (1 - 9 / 261)), replace=False))


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (exchange_days(), 252),
        (pd.date_range("2017-01-01", "2020-12-31"), 365),
        (pd.date_range("2005-01-07", "2019-12-27", freq="W-FRI"), 52),
        (pd.date_range("2005-01-31", "2019-12-31", freq="ME"), 12),
        (pd.date_range("2005-01-01", "2019-12-31", freq="QS"), 4),
        (pd.bdate_range("2015-01-01", "2015-06-30"), 252),  # half a year, without holidays
        (np.concatenate([exchange_days("2004-01-02", "2010-12-30"), exchange_days("2015-01-02", "2022-12-28")]), 252),
        (pd.date_range("2015-01-01", "2019-01-01", freq="3D"), 365.25 / 3),
        (pd.date_range("2015-01-01", periods=1), 252),
    ],
)
def test_periods_follow_from_the_dates(dates: pd.DatetimeIndex | np.ndarray, expected: float) -> None:
    assert periods_per_year(np.asarray(dates, dtype="datetime64[D]")) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("step", "unit"), [(1, "days"), (7, "bars")])
def test_bars_that_are_not_days_have_another_name(step: int, unit: str) -> None:
    market = make_market()
    dates = np.datetime64("2020-01-01") + step * np.arange(len(market.dates))
    assert replace(market, dates=dates).bar_unit == unit


def test_a_calendar_that_changes_is_seen() -> None:
    daily, weekly = exchange_days("2004-01-02", "2015-12-30"), pd.date_range("2016-01-08", "2022-12-30", freq="W-FRI")
    both = np.concatenate([daily[:600], weekly.to_numpy()]).astype("datetime64[D]")
    assert change_of_calendar(both) == (252, 52)
    assert change_of_calendar(daily.astype("datetime64[D]")) is None
    assert change_of_calendar(both[:100]) is None, "too few to tell"
