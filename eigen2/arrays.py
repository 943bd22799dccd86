"""Arrays by name, and whether those that a file gave are what is needed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigen2.errors import RunError

Arrays = dict[str, NDArray[Any]]


def require_like(found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]) -> None:
    """See that arrays have the names, shapes and types of others, and are finite. Raises RunError naming the array."""
    for name in sorted(found.keys() ^ wanted.keys()):
        raise RunError(f"array {name} is missing" if name in wanted else f"array {name} is none of those needed")
    for name, array in found.items():
        _require_like(name, array, wanted[name])


def _require_like(name: str, array: NDArray[Any], wanted: NDArray[Any]) -> None:
    if array.shape != wanted.shape:
        raise RunError(f"array {name} has shape {array.shape}, but {wanted.shape} is needed")
    if array.dtype != wanted.dtype:
        raise RunError(f"array {name} is of type {array.dtype}, but {wanted.dtype} is needed")
    if not np.isfinite(array).all():
        raise RunError(f"array {name} holds NaN or infinity")
