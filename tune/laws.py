"""The distributions of W&B's sweep files, each as its quantile function: a uniform draw u in [0, 1] gives the value.

Source: the published engine, sweeps 0.3.0, which draws in the same way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import special

from eigen2.errors import ConfigError

LARGEST_LIST = 100_000  # values of one parameter in a grid
QUANTILE = FloatDistribution(0.0, 1.0)
LEAST_U = 2.0**-53  # unbounded laws have no value at 0 and 1


class Law(Protocol):
    """How one parameter is distributed."""

    @property
    def ends(self) -> tuple[Any, Any] | None:
        """The smallest and the largest value it can give; None for a law without ends, or a list without order."""

    @property
    def distribution(self) -> BaseDistribution:
        """What Optuna draws: with `decode`, the same law."""

    def quantile(self, u: float) -> Any:
        """The value at a share u in [0, 1] of the probability."""

    def decode(self, drawn: Any) -> Any:
        """The value of what Optuna drew."""

    def encode(self, value: Any) -> Any:
        """What Optuna would have drawn for a value. Raises ValueError for one the law can't give."""

    def listed(self) -> Sequence[Any] | None:
        """The values a grid tries; None where W&B's grid refuses the law."""


@dataclass(frozen=True)
class Categories:
    """One of a list; with probabilities, all above 0, or each as likely."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None

    @property
    def ends(self) -> None:
        return None

    @property
    def is_ordered(self) -> bool:
        """Whether the values are numbers in rising order, so that neighbours are alike."""
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)
        return numbers and all(low < high for low, high in zip(self.values, self.values[1:], strict=False))

    @property
    def distribution(self) -> BaseDistribution:
        if self.probabilities is not None:
            return QUANTILE
        places = range(len(self.values))
        return IntDistribution(0, places[-1]) if self.is_ordered else CategoricalDistribution(places)

    @cached_property
    def _cumulated(self) -> np.ndarray:
        shares = self.probabilities or (1 / len(self.values),) * len(self.values)
        return np.cumsum(shares)

    def quantile(self, u: float) -> Any:
        place = int(np.searchsorted(self._cumulated, u, side="left"))
        return self.values[min(place, len(self.values) - 1)]

    def decode(self, drawn: Any) -> Any:
        return self.values[drawn] if self.probabilities is None else self.quantile(drawn)

    def encode(self, value: Any) -> Any:
        place = self.values.index(value)
        if self.probabilities is None:
            return place
        return float(self._cumulated[place] - self.probabilities[place] / 2)

    def listed(self) -> Sequence[Any] | None:
        """Each value once, as in W&B's grid, however often the list repeats it."""
        if self.probabilities is not None:
            return None
        return tuple({repr(value): value for value in self.values}.values())


@dataclass(frozen=True)
class Integers:
    """Whole numbers from low to high, both included."""

    low: int
    high: int

    @property
    def ends(self) -> tuple[int, int]:
        return self.low, self.high

    @property
    def distribution(self) -> BaseDistribution:
        return IntDistribution(self.low, self.high)

    def quantile(self, u: float) -> int:
        return self.low + max(math.ceil(u * (self.high - self.low + 1)) - 1, 0)

    def decode(self, drawn: Any) -> int:
        return int(drawn)

    def encode(self, value: Any) -> int:
        return _inside(int(value), self.low, self.high)

    def listed(self) -> Sequence[int]:
        return _short(range(self.low, self.high + 1))


@dataclass(frozen=True)
class Uniform:
    """Each value between low and high as likely."""

    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def distribution(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high)

    def quantile(self, u: float) -> float:
        return min(self.low + u * (self.high - self.low), self.high)

    def share_below(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def decode(self, drawn: Any) -> float:
        return float(drawn)

    def encode(self, value: Any) -> float:
        return _inside(float(value), self.low, self.high)

    def listed(self) -> None:
        return None


@dataclass(frozen=True)
class LogUniform:
    """The logarithm is uniform between those of low and high: `log_uniform_values` and `inv_log_uniform_values`."""

    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def distribution(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high, log=True)

    def quantile(self, u: float) -> float:
        value = math.exp(math.log(self.low) + u * math.log(self.high / self.low))
        return min(max(value, self.low), self.high)

    def share_below(self, value: float) -> float:
        return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else 0.0

    def decode(self, drawn: Any) -> float:
        return float(drawn)

    def encode(self, value: Any) -> float:
        return _inside(float(value), self.low, self.high)

    def listed(self) -> None:
        return None


class _ByQuantile:
    """What laws share that Optuna doesn't know: it draws the quantile, uniformly."""

    @property
    def ends(self) -> tuple[float, float] | None:
        return None

    @property
    def distribution(self) -> BaseDistribution:
        return QUANTILE

    def quantile(self, u: float) -> float:
        raise NotImplementedError

    def share_below(self, value: float) -> float:
        raise NotImplementedError

    def decode(self, drawn: Any) -> float:
        return self.quantile(float(drawn))

    def encode(self, value: Any) -> float:
        return min(max(float(self.share_below(float(value))), 0.0), 1.0)

    def listed(self) -> Sequence[float] | None:
        return None


@dataclass(frozen=True)
class Normal(_ByQuantile):
    """N(mu, sigma); of the logarithm where `of_log`."""

    mu: float
    sigma: float
    of_log: bool = False

    def quantile(self, u: float) -> float:
        value = self.mu + self.sigma * float(special.ndtri(min(max(u, LEAST_U), 1 - LEAST_U)))
        return float(np.exp(value)) if self.of_log else value

    def share_below(self, value: float) -> float:
        if self.of_log and value <= 0:
            return 0.0
        return float(special.ndtr(((math.log(value) if self.of_log else value) - self.mu) / self.sigma))


@dataclass(frozen=True)
class Beta(_ByQuantile):
    """Beta(a, b) on (0, 1)."""

    a: float
    b: float

    def quantile(self, u: float) -> float:
        return float(special.betaincinv(self.a, self.b, u))

    def share_below(self, value: float) -> float:
        return float(special.betainc(self.a, self.b, min(max(value, 0.0), 1.0)))


@dataclass(frozen=True)
class Quantised(_ByQuantile):
    """A law rounded to multiples of q, half to even; not clipped to its ends; whole numbers where q is one."""

    of: Uniform | LogUniform | Normal | Beta
    q: float

    @property
    def ends(self) -> tuple[float, float] | None:
        return None if self.of.ends is None else (self._rounded(self.of.ends[0]), self._rounded(self.of.ends[1]))

    def _rounded(self, value: float) -> float:
        multiple = float(np.round(value / self.q) * self.q)
        return int(multiple) if isinstance(self.q, int) else multiple

    def quantile(self, u: float) -> float:
        return self._rounded(self.of.quantile(u))

    def share_below(self, value: float) -> float:
        return self.of.share_below(value)

    def listed(self) -> Sequence[float] | None:
        """As W&B's grid does it: from the minimum in steps of q, the maximum excluded."""
        if not isinstance(self.of, Uniform):
            return None
        _short(range(math.ceil((self.of.high - self.of.low) / self.q)))
        return tuple(np.arange(self.of.low, self.of.high, self.q).tolist())


def _inside(value: Any, low: Any, high: Any) -> Any:
    if not low <= value <= high:
        raise ValueError(f"{value!r} is outside {low!r} to {high!r}")
    return value


def _short(values: range) -> range:
    if len(values) > LARGEST_LIST:
        raise ConfigError(f"a grid over {len(values)} values of one parameter is too large; use random or bayes")
    return values
