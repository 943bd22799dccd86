"""What a cluster has cost so far, and a budget that a run must keep."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from eigen2.cloud.pod import Pod
from eigen2.cloud.shared_file import Amount, SharedFile
from eigen2.errors import ConfigError, Eigen2Error

BUDGET_SPENT = 3  # exit code of a run that stopped at its budget
logger = logging.getLogger("eigen2")


@dataclass(frozen=True)
class Stay:
    """What a pod had cost at an age, in seconds by RunPod's clock, and what it costs an hour since.

    seen: when that was by this machine's clock, which may be wrong and measures only the time since. gone: it was not
    there at the last look, and costs nothing since then.
    """

    usd: Amount
    age_s: Amount
    usd_per_hour: Amount
    seen: Amount
    gone: bool = False

    def at_age(self, age_s: float, now: float) -> "Stay":
        """The stay when the pod is `age_s` old: the time between is paid for, also if nobody looked."""
        passed_s = max(age_s - self.age_s, 0.0)
        return replace(self, usd=self.usd + self.usd_per_hour * passed_s / 3600, age_s=self.age_s + passed_s, seen=now)

    def at_time(self, now: float) -> "Stay":
        """The stay now; a pod that nobody saw go is taken to be there still."""
        return self if self.gone else self.at_age(self.age_s + max(now - self.seen, 0.0), now)


class Ledger:
    """The stays of a cluster's pods, in a file on its head: written by whoever lists the pods, read by its runs.

    Hourly prices of the pods times their age; network volumes are not in it.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = SharedFile(path, Stay)
        self._clock = clock
        self._known: dict[str, Stay] = {}  # what was read; a file that is damaged later takes none of it away

    def enter(self, pods: Sequence[Pod], at: datetime) -> None:
        """Note which pods of the cluster are there at a time by RunPod's clock; all others are gone by then."""
        now = self._clock()
        with self._file.change() as stays:
            for pod_id, stay in self._known.items():
                stays.setdefault(pod_id, stay)
            for pod in pods:
                stays[pod.id] = _looked_at(pod, stays.get(pod.id), at, now)
            for pod_id in stays.keys() - {pod.id for pod in pods}:
                stays[pod_id] = replace(stays[pod_id].at_time(now), gone=True)
        self._known = stays

    def usd(self) -> float | None:
        """The cost of all stays until now; None where nothing is known: not on a rented head."""
        try:
            self._known = {**self._known, **self._file.read()}
        except OSError as error:
            logger.warning("%s: the cost goes on by what is known", error)
        now = self._clock()
        return sum(stay.at_time(now).usd for stay in self._known.values()) if self._known else None


def _looked_at(pod: Pod, before: Stay | None, at: datetime, now: float) -> Stay:
    age_s, usd_per_hour = pod.age_s(at), pod.usd_per_hour or 0.0
    if before is None:  # it was paid for since it was rented, also where it has stopped by now
        if pod.usd_per_hour is None:
            logger.warning("RunPod names no price for pod %s (%s): it is not in the cost", pod.id, pod.name)
        promised = pod.label.usd_per_hour if pod.label else None
        before = Stay(0.0, 0.0, usd_per_hour or promised or 0.0, now)
    until = before.at_time(now) if age_s is None else before.at_age(age_s, now)
    return replace(until, usd_per_hour=usd_per_hour, gone=False)


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
        spent = max(total - (self._before or 0.0), 0.0)  # the ledger may have been begun anew
        self._before = total
        return {"cost/total": round(total, 4), "cost/generation": round(spent, 4)}


class BudgetSpentError(Eigen2Error):
    """A run stops because its budget is spent; its checkpoint stands."""

    exit_code = BUDGET_SPENT


def check_limits(max_usd: float | None, max_hours: float | None) -> None:
    """Raise ConfigError for a limit that bounds nothing, such as nan."""
    for option, limit, unit in (("--max-cost", max_usd, "USD"), ("--max-hours", max_hours, "hours")):
        if limit is not None and not (math.isfinite(limit) and limit > 0):
            raise ConfigError(f"{option} {limit:g}: give a number of {unit} above 0")


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
        check_limits(max_usd, max_hours)
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
