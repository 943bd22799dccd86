"""What a cluster has cost so far, and a budget that a run must keep."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from eigen2.cloud.pod import Pod
from eigen2.errors import ConfigError, Eigen2Error
from eigen2.files import write_atomically

BUDGET_SPENT = 3  # exit code of a run that stopped at its budget


@dataclass(frozen=True)
class Stay:
    """How long a pod was there, in seconds since 1970, and its hourly price."""

    usd_per_hour: float
    since: float
    until: float

    @property
    def usd(self) -> float:
        """What it cost."""
        return self.usd_per_hour * max(self.until - self.since, 0.0) / 3600


class Ledger:
    """The stays of a cluster's pods in a file: written by the head's node provider, read by its runs.

    Hourly prices of the pods times their age; network volumes are not in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def enter(self, pods: Sequence[Pod]) -> None:
        """Note who is there now."""
        stays = self.stays()
        now = datetime.now(UTC).timestamp()
        stays |= {pod.id: Stay(pod.usd_per_hour, pod.created.timestamp(), now) for pod in pods}
        content = json.dumps({pod_id: asdict(stay) for pod_id, stay in stays.items()})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, content.encode())

    def stays(self) -> dict[str, Stay]:
        """All stays by pod id; empty before the first entry."""
        if not self._path.exists():
            return {}
        return {pod_id: Stay(**found) for pod_id, found in json.loads(self._path.read_bytes()).items()}

    def usd(self) -> float | None:
        """The cost of all stays; None where nothing is known: not on a rented head."""
        stays = self.stays()
        return sum(stay.usd for stay in stays.values()) if stays else None


class Meter:
    """Reads the cost of a run from the ledger, generation by generation: `cost/total` and `cost/generation`, USD."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._before = ledger.usd()

    def read(self) -> dict[str, float]:
        """The metrics of the generation that ends now; empty where no cost is known."""
        total = self._ledger.usd()
        if total is None:
            return {}
        spent = total - (self._before or 0.0)
        self._before = total
        return {"cost/total": round(total, 4), "cost/generation": round(spent, 4)}


class BudgetSpentError(Eigen2Error):
    """A run stops because its budget is spent; its checkpoint stands."""

    exit_code = BUDGET_SPENT


class Budget:
    """What a run may cost and how long it may take, counted from when this is made."""

    def __init__(
        self,
        ledger: Ledger,
        max_usd: float | None,
        max_hours: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """max_usd bounds the whole cluster's cost. Raises ConfigError for it where no cost is known."""
        if max_usd is not None and ledger.usd() is None:
            raise ConfigError(
                "--max-cost needs a cost, and none is known here: it works on the head of a rented cluster"
            )
        self._ledger, self._max_usd, self._max_hours = ledger, max_usd, max_hours
        self._clock, self._started = clock, clock()

    def spent(self) -> str | None:
        """In words what is spent; None while there is some left."""
        hours = (self._clock() - self._started) / 3600
        if self._max_hours is not None and hours >= self._max_hours:
            return f"{hours:.2f} hours have passed, --max-hours is {self._max_hours:g}"
        usd = self._ledger.usd()
        if self._max_usd is not None and usd is not None and usd >= self._max_usd:
            return f"the cluster has cost ${usd:.2f}, --max-cost is {self._max_usd:g}"
        return None

    def check(self) -> None:
        """Raise BudgetSpentError if it is."""
        if spent := self.spent():
            raise BudgetSpentError(f"stopped at a checkpoint: {spent}")
