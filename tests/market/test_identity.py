"""A market is known again, and what has changed in it is named."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from eigen2.market.identity import differences, digest_of, first_holdout_day, identity_of
from eigen2.market.market import Market, Prices, Span
from tests.synthetic import make_market


def small() -> Market:
    return make_market(60, stocks=3, context_days=8, validation_days=10, holdout_days=10)


MARKET = small()


def with_prices(**changed: Any) -> Market:
    return replace(MARKET, prices=replace(MARKET.prices, **changed))


def test_the_same_market_has_the_same_identity_whatever_its_nans_are() -> None:
    close = MARKET.prices.close.copy()
    close[3, 1] = np.nan
    other = close.copy()
    other[3, 1] = -np.nan
    assert identity_of(with_prices(close=close)) == identity_of(with_prices(close=other))
    assert identity_of(MARKET) == identity_of(small())


@pytest.mark.parametrize("name", [field.name for field in fields(Prices)])
def test_every_array_of_prices_counts(name: str) -> None:
    array = getattr(MARKET.prices, name).copy()
    array.flat[-1] += 1
    assert differences(identity_of(MARKET), identity_of(with_prices(**{name: array}))) == ["prices are others"]


SPLITS = MARKET.splits
CHANGES: list[tuple[Market, str]] = [
    (replace(MARKET, dates=MARKET.dates + 1), "the first day was 2020-01-01, is 2020-01-02"),
    (replace(MARKET, columns=("^C0", "S0", "S1", "NEW")), "the columns are without S2 and with NEW now"),
    (replace(MARKET, columns=("^C0", "S1", "S0", "S2")), "the columns have another order now"),
    (replace(MARKET, stocks=MARKET.stocks[:2]), "the columns that may be bought are without S2 now"),
    (replace(MARKET, index=None), "the index was ^C0, is None"),
    (replace(MARKET, closes_only=not MARKET.closes_only), "closes only"),
    (replace(MARKET, splits=replace(SPLITS, holdout=Span(SPLITS.holdout.first - 1, 59))), "the hold-out days was"),
]


@pytest.mark.parametrize(("market", "told"), CHANGES, ids=[told for _, told in CHANGES])
def test_what_has_changed_is_named(market: Market, told: str) -> None:
    found = differences(identity_of(MARKET), identity_of(market))
    assert told in "; ".join(found)
    assert digest_of(identity_of(market)) != digest_of(identity_of(MARKET))


def test_days_between_the_first_and_the_last_count_too() -> None:
    dates = MARKET.dates + np.where(np.arange(60) > 30, 1, 0)  # day 31 is left out,
    other = MARKET.dates + np.where(np.arange(60) > 20, 1, 0)  # or day 21
    markets = [replace(MARKET, dates=days, splits=replace(SPLITS, training=Span(7, 10))) for days in (dates, other)]
    assert differences(*map(identity_of, markets)) == ["some days between the first and the last are others"]


def test_names_are_told_without_control_characters() -> None:
    found = differences(identity_of(MARKET), identity_of(replace(MARKET, columns=("^C0", "S0", "S1", "\x1b[2J"))))
    assert all(told.isprintable() for told in found)


def test_the_first_day_that_neither_trained_nor_chose() -> None:
    assert first_holdout_day(identity_of(MARKET)) == MARKET.dates[MARKET.splits.holdout.first]
