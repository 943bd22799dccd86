import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigen2.market.indicators import (
    INDICATORS,
    compute,
    log_return,
    macd_signal,
    mean_distance,
    rsi,
    trix,
    volatility,
)

NAMES = tuple(INDICATORS)
WARMUP = {"log_return": 1, "rsi": 7, "macd_signal": 33, "trix": 34, "mean_distance": 19, "volatility": 20}


def walk(days, seed=0, std=0.02):
    return 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, std, days)))


def ema(values, days):
    """Exponential mean that starts from the plain mean of the first `days` values, NaN before."""
    smooth = np.full(len(values), np.nan)
    smooth[days - 1] = np.mean(values[:days])
    for t in range(days, len(values)):
        smooth[t] = smooth[t - 1] + 2 / (days + 1) * (values[t] - smooth[t - 1])
    return smooth


def test_log_return():
    np.testing.assert_allclose(log_return(np.array([1.0, 2.0, 1.0])), [np.nan, np.log(2), -np.log(2)])


def test_rsi():
    close = np.array([10, 11, 12, 11, 12, 13, 12, 13, 11.0])
    # Gains 5, losses 2 over the first 7 moves: 5 / 7. Then Wilder's means: gain 5/7*6/7, loss (2/7*6 + 2)/7.
    expected = [*[np.nan] * 7, 5 / 7, 30 / (30 + 26)]
    np.testing.assert_allclose(rsi(close), expected, rtol=1e-12)


def test_mean_distance():
    close = np.arange(1.0, 22.0)
    expected = [*[np.nan] * 19, (20 - 10.5) / 20, (21 - 11.5) / 21]
    np.testing.assert_allclose(mean_distance(close), expected, rtol=1e-12)


def test_volatility():
    close = np.exp(np.cumsum([0.0, *[0.01, 0.03] * 10, 0.21]))
    last = np.array([*[0.03, 0.01] * 9, 0.03, 0.21])
    expected = [*[np.nan] * 20, 0.01, last.std()]
    np.testing.assert_allclose(volatility(close), expected, rtol=1e-9)


def test_trix():
    close = walk(60)
    triple = ema(ema(ema(close, 12)[11:], 12)[11:], 12)
    triple = np.concatenate([np.full(22, np.nan), triple])
    expected = 100 * np.append(np.nan, triple[1:] / triple[:-1] - 1)
    np.testing.assert_allclose(trix(close), expected, rtol=1e-9, atol=1e-12)


def test_macd_signal():
    close = walk(60)
    slow = ema(close, 26)
    fast = np.concatenate([np.full(14, np.nan), ema(close[14:], 12)])  # both means begin on the same day
    signal = np.concatenate([np.full(25, np.nan), ema((fast - slow)[25:], 9)])
    np.testing.assert_allclose(macd_signal(close), signal / close, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_days_before_the_first_value(name):
    values = compute(walk(50)[:, None], (name,))[:, 0, 0]
    assert np.isnan(values[: WARMUP[name]]).all()
    assert np.isfinite(values[WARMUP[name] :]).all()


def test_scale_free():
    close = walk(80)[:, None]
    np.testing.assert_allclose(compute(close * 1000, NAMES), compute(close, NAMES), rtol=1e-6, atol=1e-9)


def test_missing_days_are_left_out_of_the_series():
    close = walk(80)
    holed = np.insert(close, [5, 40, 40, 60], np.nan)
    there = np.isfinite(holed)
    both = compute(np.stack([holed, np.append(close, [close[-1]] * 4)], axis=1), NAMES)
    np.testing.assert_array_equal(both[there, 0], both[:80, 1])
    assert np.isnan(both[~there, 0]).all()


@pytest.mark.parametrize("days", [0, 1, 2, 7, 8, 33, 34])
def test_short_columns(days):
    close = np.full((40, 1), np.nan)
    close[:days, 0] = walk(days)
    values = compute(close, NAMES)
    for f, name in enumerate(NAMES):
        assert np.isfinite(values[:, 0, f]).sum() == max(0, days - WARMUP[name])


def test_constant_prices_have_values():
    values = compute(np.full((40, 1), 5.0), NAMES)
    np.testing.assert_allclose(values[-1, 0], 0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), day=st.integers(0, 89), factor=st.floats(1e-3, 1e3), holes=st.sets(st.integers(0, 89)))
def test_a_value_uses_no_later_day(seed, day, factor, holes):
    close = np.stack([walk(90, seed), walk(90, seed + 1)], axis=1)
    close[sorted(holes), 0] = np.nan
    changed = close.copy()
    changed[day + 1 :] *= factor * np.linspace(0.5, 2, 89 - day)[:, None]
    shorter = compute(close[: day + 1], NAMES)
    np.testing.assert_array_equal(compute(changed, NAMES)[: day + 1], shorter)
    np.testing.assert_array_equal(compute(close, NAMES)[: day + 1], shorter)
