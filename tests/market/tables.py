"""Small made-up market files as text."""

import numpy as np
import pandas as pd

FIELDS = ("Open", "High", "Low", "Close", "Volume")


def frame(days: int = 60, seed: int = 0, first: str = "2014-01-02", step: str = "B") -> pd.DataFrame:
    """Bars of a random walk, sound in themselves, under yfinance's names; rounded, so that text gives them back."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, days).cumsum())
    opened = close * np.exp(rng.normal(0, 0.003, days))
    high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
    columns = dict(zip(FIELDS, (opened, high, low, close), strict=False)) | {"Volume": rng.integers(1, 9, days)}
    return pd.DataFrame(columns, index=pd.date_range(first, periods=days, freq=step, name="Date")).round(3)


def long(tickers: str = "AAPL MSFT", days: int = 60) -> pd.DataFrame:
    """Bars of several tickers, one row a ticker and day: date, open, high, low, close, volume, ticker."""
    parts = [frame(days, seed).assign(ticker=name) for seed, name in enumerate(tickers.split())]
    return pd.concat(parts).reset_index().rename(columns=str.lower)
