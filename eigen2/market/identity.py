"""What makes a market the one that a run was made on."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigen2.market.market import Market, Span

SHOWN = {  # what may differ, in the order it is told
    "first_date": "the first day",
    "last_date": "the last day",
    "days": "the number of days",
    "stocks": "the columns that may be bought",
    "columns": "the columns",
    "index": "the index",
    "closes_only": "whether there are closes only",
    "training": "the training days",
    "validation": "the validation days",
    "holdout": "the hold-out days",
    "features": "the features",
}
TO = " to "
PRICES, DATES = "prices_sha256", "dates_sha256"


def identity_of(market: Market) -> dict[str, Any]:
    """A market's days, columns, splits and the SHA-256 of its dates and prices, as JSON has them.

    Features follow from the prices, the config and the code, which a run knows each for itself; their last bit depends
    on the processor, so a run that moved to another machine would not know its own market again.
    """

    def days(span: Span) -> str:
        return f"{market.dates[span.first]}{TO}{market.dates[span.last]}"

    prices = market.prices
    arrays = (prices.open, prices.high, prices.low, prices.close, prices.last_close, prices.last_day)
    return {
        "first_date": str(market.dates[0]),
        "last_date": str(market.dates[-1]),
        "days": len(market.dates),
        "stocks": list(market.stock_names),
        "columns": list(market.columns),
        "index": None if market.index is None else market.columns[market.index],
        "closes_only": market.closes_only,
        "training": days(market.splits.training),
        "validation": days(market.splits.validation),
        "holdout": days(market.splits.holdout),
        "features": list(market.feature_names),
        DATES: _digest([market.dates.astype("datetime64[D]").astype(np.int64)]),
        PRICES: _digest(arrays),
    }


def digest_of(identity: Mapping[str, Any]) -> str:
    """The SHA-256 of an identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def holdout_digest(identity: Mapping[str, Any]) -> str:
    """The SHA-256 of the days and prices of a hold-out, whatever of its columns may be bought."""
    return digest_of({name: identity[name] for name in ("holdout", DATES, PRICES)})


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what a market differs from the one before, a clause each."""
    told = [
        f"{title} {_change(before.get(name), now[name])}"
        for name, title in SHOWN.items()
        if before.get(name) != now[name]
    ]
    if before.get(DATES) != now[DATES] and not told:
        told.append("some days between the first and the last are others")
    if before.get(PRICES) != now[PRICES] and before.get("days") == now["days"]:
        told.append("prices are others")
    return told


def first_holdout_day(identity: Mapping[str, Any]) -> np.datetime64:
    """The first day that neither trained nor chose the champion of a run on this market."""
    return np.datetime64(str(identity["holdout"]).partition(TO)[0], "D")


def _change(before: Any, now: Any) -> str:
    if not isinstance(now, list):
        return f"was {_printable(before)}, is {_printable(now)}"
    known = [str(name) for name in before] if isinstance(before, list) else []
    parts = [
        f"{word} {', '.join(map(_printable, names))}"
        for word, names in (("without", sorted(set(known) - set(now))), ("with", sorted(set(now) - set(known))))
        if names
    ]
    return f"are {' and '.join(parts)} now" if parts else "have another order now"


def _printable(value: object) -> str:
    return "".join(filter(str.isprintable, str(value)))


def _digest(arrays: Sequence[NDArray[Any]]) -> str:
    whole = hashlib.sha256()
    for part in _plain(arrays):
        whole.update(part)
    return whole.hexdigest()


def _plain(arrays: Sequence[NDArray[Any]]) -> Iterator[bytes]:
    """Shapes and bytes, the same for equal arrays on every machine: little-endian, and one kind of NaN."""
    for array in arrays:
        yield repr(array.shape).encode()
        if array.dtype.kind == "f":
            yield np.where(np.isnan(array), np.nan, array).astype("<f8").tobytes()
        else:
            yield array.astype("<i8").tobytes()
