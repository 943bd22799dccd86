"""Monthly returns: what each calendar month did, and that they make up the whole."""

import numpy as np
import pytest

from eigen2.report.months import monthly_returns


def test_months_are_told_by_calendar() -> None:
    dates = np.array(["2020-12-30", "2020-12-31", "2021-01-04", "2021-01-29", "2021-03-01"], dtype="datetime64[D]")
    first, second = monthly_returns(dates, np.array([1.01, 1.02, 1.03, 0.918, 1.0]))
    assert (first.year, second.year) == (2020, 2021)
    assert first.months == pytest.approx({12: 2.0})
    assert second.months == pytest.approx({1: -10.0, 3: 100 * (1 / 0.918 - 1)})
    assert second.total_pct == pytest.approx(100 * (1 / 1.02 - 1))


def test_months_multiply_to_the_total() -> None:
    dates = np.arange("2018-03-07", "2021-02-02", dtype="datetime64[D]")
    equity = np.exp(np.random.default_rng(0).normal(0, 0.01, len(dates)).cumsum())
    years = monthly_returns(dates, equity)
    months = [1 + pct / 100 for year in years for pct in year.months.values()]
    assert np.prod(months) == pytest.approx(equity[-1])
    assert np.prod([1 + year.total_pct / 100 for year in years]) == pytest.approx(equity[-1])
    assert [len(year.months) for year in years] == [10, 12, 12, 2]
