"""Monthly returns of an equity curve."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Year:
    """Returns of a calendar year in %: by month, 1..12, those that have days; and over all of them."""

    year: int
    months: dict[int, float]
    total_pct: float


def monthly_returns(dates: NDArray[np.datetime64], equity: NDArray[np.float64]) -> list[Year]:
    """Returns by calendar month of a curve that starts from 1; dates, equity: [L], by day.

    A month that is only in part among the days has the return of that part.
    """
    months = dates.astype("datetime64[M]")
    last = np.append(months[1:] != months[:-1], True)
    ends = equity[last]
    returns = ends / np.concatenate([[1.0], ends[:-1]]) - 1
    named = months[last]
    years = named.astype("datetime64[Y]").astype(int) + 1970
    numbers = named.astype(int) % 12 + 1
    return [
        Year(
            int(year),
            {int(m): float(100 * r) for m, r in zip(numbers[years == year], returns[years == year], strict=True)},
            float(100 * (np.prod(1 + returns[years == year]) - 1)),
        )
        for year in np.unique(years)
    ]
