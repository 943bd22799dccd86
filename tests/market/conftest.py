"""What the market tests share: writing a file, and bars of random closes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eigen2.market.bars import Bars


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes a text file in the test's folder; returns its name."""

    def written(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return written


@pytest.fixture
def walk() -> Callable[..., Bars]:
    """Closes-only bars of random walks, columns A, B, ... and ^I last."""

    def walked(days: int, columns: int = 3, seed: int = 0) -> Bars:
        steps = np.random.default_rng(seed).normal(0, 0.01, (days, columns))
        names = [*(chr(65 + c) for c in range(columns - 1)), "^I"]
        dates = np.datetime64("2001-01-01") + np.arange(days)
        return Bars.from_closes(dates, names, 100 * np.exp(np.cumsum(steps, axis=0)))

    return walked
