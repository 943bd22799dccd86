"""From a market file to a Market: read, choose columns, clean, compute features, split, normalise."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process

from eigen2.config.schema import Config, DataConfig, FeaturesConfig, SplitsConfig
from eigen2.errors import ConfigError, DataError
from eigen2.market.bars import Bars
from eigen2.market.calendar import FEWEST_BARS, periods_per_year
from eigen2.market.cleaning import DataReport, clean, first_and_last
from eigen2.market.indicators import compute
from eigen2.market.market import Market, Prices, Span, Splits
from eigen2.market.readers import read_bars

FEATURE_LIMIT = 10.0  # normalised features are clipped to this many standard deviations
OBSERVED = "observed"  # the last feature of every market: 1 where a column is seen, else 0
_CONSTANT = 1e-12  # a feature with a smaller std is constant, and only centred

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class _Choice:
    """The columns of a market, as numbers into the file's columns, and the index as one of them."""

    columns: list[int]
    stocks: list[int]
    index: int | None


def load_market(config: Config) -> tuple[Market, DataReport]:
    """The market a config names, and what cleaning it found."""
    return build_market(config.data, config.features, config.splits, config.agent.context_days, config.slice_days)


def build_market(
    data: DataConfig, features: FeaturesConfig, splits: SplitsConfig, context_days: int, slice_days: int
) -> tuple[Market, DataReport]:
    """The market of `data.source`, and what cleaning it found. See `market_from_bars`."""
    bars = read_bars(data.source, data.allow_pickle, data.date_format)
    return market_from_bars(bars, data, features, splits, context_days, slice_days)


def market_from_bars(
    bars: Bars,
    data: DataConfig,
    features: FeaturesConfig,
    splits: SplitsConfig,
    context_days: int,
    slice_days: int,
) -> tuple[Market, DataReport]:
    """The market of `bars`, and what cleaning them found; `data.source` isn't read.

    `context_days` is the history of an observation, `slice_days` the length of an episode. All arrays are read-only.
    Raises ConfigError for a column that isn't there or none to buy; DataError for bars that `clean` refuses, or too
    few days. Days after `data.last_date` are as if they were not there.
    """
    bars = _until(bars, data.last_date)
    choice = _choose(bars, data)
    context = {bars.columns[c] for c in choice.columns if c not in choice.stocks}
    chosen, report = clean(_chosen_bars(bars, choice), data.max_spike_pct, context)
    raw = compute(chosen.close, features.features)
    observed = np.all(np.isfinite(raw), axis=-1)
    try:
        spans = _split(observed, splits, context_days, slice_days, chosen.source)
    except DataError as error:
        raise DataError("; ".join([str(error), *report.losses])) from error
    market = Market(
        dates=_frozen(chosen.dates),
        columns=chosen.columns,
        stocks=_frozen(np.array([choice.columns.index(c) for c in choice.stocks], dtype=np.int64)),
        index=None if choice.index is None else choice.columns.index(choice.index),
        prices=_prices(chosen),
        features=_frozen(with_flag(normalise(raw, observed, spans.training.last), observed)),
        feature_names=(*features.features, OBSERVED),
        splits=spans,
        closes_only=chosen.closes_only,
        periods_per_year=data.periods_per_year or periods_per_year(_judged_dates(chosen.dates, spans)),
    )
    return market, report


def normalise(raw: NDArray[np.float64], observed: NDArray[np.bool_], last_training: int) -> NDArray[np.float32]:
    """Features [T, C, F] centred and scaled by the observed entries up to day `last_training`, within +-10.

    Zero where `observed` [T, C] is false.
    """
    # One mean and std a feature, over all columns: a calm stock must still look calmer than a wild one, and a column
    # that lists after training needs numbers from somewhere.
    seen = raw[: last_training + 1][observed[: last_training + 1]]
    mean, std = seen.mean(axis=0), seen.std(axis=0)
    scaled = (raw - mean) / np.where(std < _CONSTANT, 1.0, std)
    clipped = np.clip(scaled, -FEATURE_LIMIT, FEATURE_LIMIT)
    return np.where(observed[..., None], clipped, 0.0).astype(np.float32)


def with_flag(features: NDArray[np.float32], observed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Features [T, C, F] and, as one more, whether a column is seen."""
    return np.concatenate([features, observed[..., None].astype(np.float32)], axis=-1)


def _choose(bars: Bars, data: DataConfig) -> _Choice:
    names = bars.columns
    _known("data.investable", data.investable or (), names, bars.source)
    _known("data.context", data.context or (), names, bars.source)
    both = sorted(set(data.investable or ()) & set(data.context or ()))
    if both:
        raise ConfigError(f"{', '.join(both)} can't be both in data.investable and in data.context")
    investable, context = _sides(names, data)
    if not investable:
        raise ConfigError(f"no column of {bars.source} may be bought: set data.investable")
    columns = [c for c, name in enumerate(names) if name in {*investable, *context}]
    stocks = [c for c in columns if names[c] in set(investable)]
    return _Choice(columns, stocks, _index_of(data, [names[c] for c in columns], context, bars))


def _sides(names: tuple[str, ...], data: DataConfig) -> tuple[list[str], list[str]]:
    """The names that may be bought, and those that are only observed."""
    if data.investable is not None:
        context = data.context if data.context is not None else [n for n in names if n not in data.investable]
        return list(data.investable), list(context)
    context = data.context if data.context is not None else [n for n in names if n.startswith("^")]
    return [name for name in names if name not in context], list(context)


def _index_of(data: DataConfig, chosen: list[str], context: list[str], bars: Bars) -> int | None:
    """The configured index, else the first context column that starts with ^, else the first of `data.context`.

    A column that is context only because it is not investable is a stock, and no index.
    """
    index = data.index
    if index is None:
        named = [*(name for name in context if name.startswith("^")), *(data.context or ())]
        return bars.columns.index(named[0]) if named else None
    _known("data.index", (index,), bars.columns, bars.source)
    if index not in chosen:
        raise ConfigError(f"data.index is {index}, which is neither in data.investable nor in data.context")
    return bars.columns.index(index)


def _known(field: str, wanted: Iterable[str], names: tuple[str, ...], source: str) -> None:
    for name in wanted:
        if name in names:
            continue
        nearest = process.extractOne(name, names)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError(f"{field} names {name}, which is no column of {source}{hint}")


def _chosen_bars(bars: Bars, choice: _Choice) -> Bars:
    left = [name for c, name in enumerate(bars.columns) if c not in choice.columns]
    notes = (f"columns left out, being neither investable nor context: {', '.join(left)}",) if left else ()
    return replace(bars.select(choice.columns), notes=bars.notes + notes)


def _until(bars: Bars, last_date: date | None) -> Bars:
    """The bars up to a date, it included."""
    if last_date is None:
        return bars
    kept = bars.dates <= np.datetime64(last_date)
    if not kept.any():
        raise ConfigError(f"data.last_date is {last_date}, but {bars.source} begins on {bars.dates[0]}")
    return bars.on_days(kept)


def _split(
    observed: NDArray[np.bool_], splits: SplitsConfig, context_days: int, slice_days: int, source: str
) -> Splits:
    days, seen = len(observed), observed.any(axis=1)
    if not seen.any():
        raise DataError(f"{source}: has {days} days, too few for the first value of every feature in any column")
    start = int(seen.argmax())
    held = splits.validation_days + splits.holdout_days + 2 * splits.embargo_days
    needed = start + context_days - 1 + slice_days + held
    if days < needed:
        embargo = f", and twice {splits.embargo_days} for splits.embargo_days" if splits.embargo_days else ""
        raise DataError(
            f"{source}: has {days} days, but {needed} are needed: {start} before the features have values, "
            f"{context_days - 1} more before the first observation is full (agent.context_days {context_days}), "
            f"{slice_days} for a training slice, {splits.validation_days} for splits.validation_days and "
            f"{splits.holdout_days} for splits.holdout_days{embargo}"
        )
    holdout = days - splits.holdout_days
    validation = holdout - splits.embargo_days - splits.validation_days
    return Splits(
        Span(start + context_days - 1, validation - splits.embargo_days - 1),
        Span(validation, validation + splits.validation_days - 1),
        Span(holdout, days - 1),
    )


def _judged_dates(dates: NDArray[np.datetime64], splits: Splits) -> NDArray[np.datetime64]:
    """The dates that figures are annualised by: those of validation and hold-out, or all where they are few."""
    judged = dates[splits.validation.first :]
    return judged if len(judged) >= FEWEST_BARS else dates


def _prices(bars: Bars) -> Prices:
    frozen = bars.mapped(_frozen)
    last_day = first_and_last(bars.valid)[1]
    return Prices(
        frozen.open, frozen.high, frozen.low, frozen.close, _frozen(_last_known(bars.close)), _frozen(last_day)
    )


def _last_known(close: NDArray[np.float64]) -> NDArray[np.float64]:
    days = np.where(np.isfinite(close), np.arange(len(close))[:, None], 0)
    return np.take_along_axis(close, np.maximum.accumulate(days, axis=0), axis=0)


def _frozen(array: NDArray[Scalar]) -> NDArray[Scalar]:
    own = array.copy()
    own.setflags(write=False)
    return own
