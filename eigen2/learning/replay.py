"""The replay buffer: a ring of transitions, one for the whole population.

The market does not react to the agent, so an observation is a day number and a transition is 19 bytes.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigen2.arrays import require_like
from eigen2.config import DDPGConfig, ReplayConfig
from eigen2.errors import RunError
from eigen2.trading.ledger import Ledger

TRANSITION = np.dtype(
    [
        ("day", np.int32),  # day number of the decision
        ("stock", np.int16),  # number among the investable stocks, NO_STOCK where nothing was bought
        ("coefficient", np.float32),
        ("target_pct", np.float32),
        ("credit", np.float32),  # discounted reward of the decision
        ("done", np.bool_),  # last trading day of its slice
    ]
)


def rows_of(ledger: Ledger) -> NDArray[np.void]:
    """The transitions of a ledger, slice after slice, [K * D] of dtype TRANSITION."""
    rows = np.zeros(ledger.stock.shape, dtype=TRANSITION)
    rows["day"], rows["stock"] = ledger.slices.trading, ledger.stock
    rows["coefficient"], rows["target_pct"] = ledger.coefficient, ledger.target_pct
    rows["credit"] = ledger.credits
    rows["done"][:, -1] = True
    return rows.reshape(-1)


@dataclass(frozen=True)
class BatchShape:
    """An update's transitions lie in `blocks` blocks of `days` neighbouring days, `per_block` in each."""

    blocks: int
    per_block: int
    days: int

    @classmethod
    def of(cls, ddpg: DDPGConfig, replay: ReplayConfig, trading_days: int) -> "BatchShape":
        """The shape of one update: batch_size * gradient_accumulation_steps transitions, rounded up to full blocks.

        trading_days: of a slice; a block is no longer.
        """
        transitions = ddpg.batch_size * ddpg.gradient_accumulation_steps
        blocks = -(-transitions // replay.block_transitions)
        return cls(blocks, -(-transitions // blocks), min(replay.block_days, trading_days))


class Sample(NamedTuple):
    """Transitions for U updates: [U, B] first days of the blocks; [U, B, m] rows of dtype TRANSITION."""

    first_days: NDArray[np.int64]
    rows: NDArray[np.void]


class Replay:
    """A ring of transitions; the newest overwrite the oldest."""

    def __init__(self, capacity: int) -> None:
        self._ring = np.zeros(capacity, dtype=TRANSITION)
        self._added = 0  # ever; the ring's cursor is this modulo the capacity

    @property
    def size(self) -> int:
        """Transitions held."""
        return min(self._added, len(self._ring))

    def ready(self) -> int:
        """The transitions held, once the buffer stands."""
        return self.size

    def extend(self, rows: NDArray[np.void]) -> int:
        """Append rows in the order given; returns the size afterwards.

        Raises ValueError for more rows than the ring holds: some would be lost before anyone could sample them.
        """
        if len(rows) > len(self._ring):
            raise ValueError(f"{len(rows)} transitions at once do not fit into a replay buffer of {len(self._ring)}")
        self._ring[(self._added + np.arange(len(rows))) % len(self._ring)] = rows
        self._added += len(rows)
        return self.size

    def extend_shuffled(self, rng: np.random.Generator, *batches: NDArray[np.void]) -> int:
        """Append a generation, one batch a member, in random order; returns the size afterwards.

        The next generation overwrites a part of this one: in random order it takes equally from all members and days.
        """
        return self.extend(rng.permutation(np.concatenate(batches)))

    def sample(self, updates: int, shape: BatchShape, rng: np.random.Generator) -> Sample:
        """Blocks round uniformly drawn transitions; within a block, uniformly from whatever the ring has of its days.

        Blocks stay within the days that the ring knows. Raises ValueError when the ring is empty.
        """
        if not self.size:
            raise ValueError("the replay buffer is empty")
        held = self._ring[: self.size]
        held = held[np.argsort(held["day"], kind="stable")]
        days = held["day"].astype(np.int64)
        anchors = days[rng.integers(self.size, size=(updates, shape.blocks))]
        first = anchors - rng.integers(shape.days, size=anchors.shape)
        first = np.maximum(np.minimum(first, days[-1] - shape.days + 1), days[0])
        low = np.searchsorted(days, first)
        high = np.searchsorted(days, first + shape.days)
        share = rng.random((updates, shape.blocks, shape.per_block))
        chosen = low[..., None] + (share * (high - low)[..., None]).astype(np.int64)
        return Sample(first, held[chosen])

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything needed to restore the ring, name -> array."""
        held = self._ring[: self.size]
        return {"added": np.array(self._added), **{name: held[name].copy() for name in TRANSITION.names or ()}}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore what `state` gave. Raises RunError naming the array that does not fit this ring."""
        size = state["day"].size if "day" in state else 0
        held = np.zeros(size, TRANSITION)
        require_like(state, {"added": np.array(0), **{name: held[name] for name in TRANSITION.names or ()}})
        added = int(state["added"])
        if size != min(added, len(self._ring)):
            raise RunError(f"{size} transitions saved, but {min(added, len(self._ring))} expected")
        for name in TRANSITION.names or ():
            self._ring[name][:size] = state[name]
        self._added = added
