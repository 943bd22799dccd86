"""The candidates of a run: what each member of each generation earned a day on validation, where champions are chosen.

Evaluation needs all of them, not only the best: the more were looked at, the less the best one means. That the heir is
the only contender is not counted in a champion's favour.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigen2.errors import RunError
from eigen2.tracking.jsonl import read_whole_rows
from eigen2.training.member import Outcome

DECIMALS = 3  # of a basis point: what float32 holds of a return, in few characters
IMPORTANCE_DECIMALS = 8


def records(generation: int, outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """The lines of candidates.jsonl for a generation that has played: returns a day, mean attention a column."""
    return [
        {
            "generation": generation,
            "member": member,
            "returns_bps": (1e4 * outcome.validation_returns).round(DECIMALS).tolist(),
            "importance": outcome.importance.astype(np.float64).round(IMPORTANCE_DECIMALS).tolist(),
        }
        for member, outcome in enumerate(outcomes)
    ]


def read_candidates(path: Path, generations: int | None = None) -> NDArray[np.float64]:
    """Daily returns of all candidates, [N, T] as shares, of so many generations or of all that the file has.

    Raises RunError if the file can't be read, is none, or lacks a candidate or has it twice: all must be counted, once.
    """
    rows = read_whole_rows(path, generations)
    try:
        returns = np.array([row["returns_bps"] for row in rows], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: not the returns of a run's candidates, as many a member") from error
    if returns.ndim != 2 or not np.isfinite(returns).all():
        raise RunError(f"{path}: not the returns of a run's candidates, as many a member")
    return returns / 1e4
