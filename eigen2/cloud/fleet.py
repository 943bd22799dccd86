"""The pods of a cluster as of now: one list, fetched now and then, that answers every question about them."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from eigen2.cloud.api import RefusedError, RunPod
from eigen2.cloud.pod import Pod

FRESH_S = 4.0  # Ray asks every 5 s, and several questions each time
LISTED_S = 60.0  # a new pod is on RunPod's list by then, and an ended one off it
STALE_S = 300.0  # an older list is better than none for as long

logger = logging.getLogger("eigen2")


class Fleet:
    """Pods of one cluster. Safe to share between threads.

    A pod that can't be logged in to after `ready_s` seconds, or has stopped by itself, is given back and named: both
    would be paid for.
    """

    def __init__(
        self, api: RunPod, cluster: str, ready_s: float, seen: Callable[[list[Pod]], None] = lambda _: None
    ) -> None:
        """seen: hears of the cluster's live pods whenever they are fetched."""
        self._api, self._cluster, self._ready_s, self._seen = api, cluster, ready_s, seen
        self._lock = threading.RLock()
        self._pods: dict[str, Pod] = {}
        self._fetched = float("-inf")
        self._rented: dict[str, tuple[Pod, float]] = {}
        self._ended: dict[str, float] = {}
        self._were_ready: set[str] = set()

    def pods(self, fresh: bool = False) -> dict[str, Pod]:
        """The live pods by id, at most 4 s old; `fresh`: as of now."""
        with self._lock:
            if fresh or time.monotonic() - self._fetched > FRESH_S:
                self._fetch()
            return dict(self._pods)

    def pod(self, pod_id: str) -> Pod | None:
        """A live pod; None once it is gone."""
        return self.pods().get(pod_id)

    def add(self, pod: Pod) -> None:
        """Take in a pod that was just rented."""
        with self._lock:
            self._rented[pod.id] = (pod, time.monotonic())
            self._pods[pod.id] = pod

    def end(self, pod_id: str) -> None:
        """Terminate a pod."""
        self._api.terminate(pod_id)
        with self._lock:
            self._ended[pod_id] = time.monotonic()
            self._rented.pop(pod_id, None)
            self._pods.pop(pod_id, None)

    def _fetch(self) -> None:
        now = time.monotonic()
        try:
            listed = [pod for pod in self._api.pods() if pod.cluster == self._cluster]
        except RefusedError as refusal:
            if not refusal.passing or now - self._fetched > STALE_S:
                raise
            logger.warning("%s; going on with what was known %.0f s ago", refusal, now - self._fetched)
            return
        self._fetched = now
        self._forget_old(now, {pod.id for pod in listed})
        found = {pod.id: pod for pod, _ in self._rented.values()} | {pod.id: pod for pod in listed}
        kept = [pod for pod in found.values() if pod.id not in self._ended and pod.status != "TERMINATED"]
        self._pods = {pod.id: pod for pod in kept if self._worth_keeping(pod)}
        self._seen(list(self._pods.values()))

    def _forget_old(self, now: float, listed: set[str]) -> None:
        """Rented pods need no memory of ours once they are listed; ended ones once the list had time to forget them."""
        self._rented = {
            pod_id: (pod, since)
            for pod_id, (pod, since) in self._rented.items()
            if pod_id not in listed and now - since < LISTED_S
        }
        self._ended = {pod_id: since for pod_id, since in self._ended.items() if now - since < LISTED_S}

    def _worth_keeping(self, pod: Pod) -> bool:
        if pod.ready:
            self._were_ready.add(pod.id)
        if pod.live and (pod.id in self._were_ready or pod.age_s(datetime.now(UTC)) < self._ready_s):
            return True
        why = f"not ready after {self._ready_s / 60:g} minutes" if pod.live else f"it stopped by itself ({pod.status})"
        logger.warning("pod %s (%s) is given back: %s", pod.id, pod.name, why)
        try:
            self._api.terminate(pod.id)
        except RefusedError as refusal:
            logger.warning("%s", refusal)  # it is tried again with the next list
            return False
        self._ended[pod.id] = time.monotonic()
        return False


def ours(api: RunPod) -> list[Pod]:
    """All pods of the account that were rented by us, of whatever cluster, oldest first."""
    return sorted((pod for pod in api.pods() if pod.cluster is not None), key=lambda pod: pod.created)


def end_cluster(api: RunPod, cluster: str, last: str | None = None) -> list[Pod]:
    """Terminate all pods of a cluster, the pod `last` after all others; returns them.

    Repeated until none is listed, since an autoscaler may have rented another meanwhile.
    """
    ended: dict[str, Pod] = {}
    while True:
        left = [pod for pod in ours(api) if pod.cluster == cluster and pod.status != "TERMINATED"]
        if last is not None and (others := [pod for pod in left if pod.id != last]):
            left = others
        if not left:
            return list(ended.values())
        for pod in left:
            api.terminate(pod.id)
            ended[pod.id] = replace(pod, status="TERMINATED")
        time.sleep(1)
