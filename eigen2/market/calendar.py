"""The calendar of a market: how many bars a year has, which every annualised figure depends on."""

import numpy as np
from numpy.typing import NDArray

CONVENTIONS = (365.0, 252.0, 52.0, 12.0, 4.0, 1.0)  # days of the week, exchange days, weeks, months, quarters, years
TOLERANCE = 0.05  # how far, as a share, from a convention a calendar still follows it
FEWEST_BARS = 60  # that tell a calendar
LONGEST_STEP = 15  # in median steps; a longer one is a hole in the data, not a part of the calendar
DAYS_PER_YEAR = 365.25


def steps_in_days(dates: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Calendar days from each bar to the next, [T - 1]."""
    days: NDArray[np.int64] = dates.astype("datetime64[D]").astype(np.int64)
    return days[1:] - days[:-1]


def median_step(dates: NDArray[np.datetime64]) -> int:
    """The median number of calendar days between two bars; 1 for fewer than two."""
    steps = steps_in_days(dates)
    return int(np.median(steps)) if len(steps) else 1


def bar_unit(dates: NDArray[np.datetime64]) -> str:
    """Name of a number of bars in reports: days where most bars are one day apart, else bars."""
    return "days" if median_step(dates) <= 1 else "bars"


def periods_per_year(dates: NDArray[np.datetime64]) -> float:
    """Bars in a year by their dates [T]: 252 for exchange days, 365 for every day, 52 for weeks, 12 for months.

    A calendar that is not within 5 % of a convention has the number of its own bars.
    """
    steps = steps_in_days(dates)
    if not len(steps):
        return 252.0
    steps = steps[steps <= LONGEST_STEP * median_step(dates)]
    counted = float(DAYS_PER_YEAR / steps.mean())
    nearest = min(CONVENTIONS, key=lambda convention: abs(np.log(counted / convention)))
    return nearest if abs(counted / nearest - 1) <= TOLERANCE else counted


def change_of_calendar(dates: NDArray[np.datetime64]) -> tuple[float, float] | None:
    """Bars a year in the first and the last third of the dates, where they differ; None where they do not."""
    third = len(dates) // 3
    if third < FEWEST_BARS:
        return None
    first, last = periods_per_year(dates[:third]), periods_per_year(dates[-third:])
    return None if abs(last / first - 1) <= TOLERANCE else (first, last)
