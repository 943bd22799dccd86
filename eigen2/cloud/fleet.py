"""The pods of a cluster as of now: one list, fetched now and then, that answers every question about them."""

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from eigen2.cloud.api import LISTED_S, RefusedError, RunPod
from eigen2.cloud.pod import ClusterId, Pod
from eigen2.cloud.teardown import ownerless

FRESH_S = 4.0  # Ray asks every 5 s, and several questions each time
YOUNG_S = 2 * LISTED_S  # two machines that rented at once see each other's pods by then
STALE_S = 300.0  # an older list is better than none for as long
PENNY = 0.0001  # USD an hour: prices are floats
HEAD = "head"
BOOTING = ("PROVISIONING", "STARTING")
LOOKS = 3  # a pod that works is not ended for an odd answer

logger = logging.getLogger("eigen2")


class Fleet:
    """Pods of one cluster. Safe to share between threads.

    A pod that is paid for in vain is given back and named: one that could never be logged in to within `ready_s`
    seconds, has stopped by itself, was rented twice, or was just rented above `max_usd_per_hour` of the cluster.
    """

    def __init__(
        self,
        api: RunPod,
        cluster: ClusterId,
        ready_s: float,
        max_usd_per_hour: float = math.inf,
        own_id: str | None = None,
        seen: Callable[[list[Pod]], None] = lambda _: None,
    ) -> None:
        """own_id: the pod that we run on. seen: hears of all pods of the cluster whenever they are fetched."""
        self._api, self._cluster, self._ready_s, self._seen = api, cluster, ready_s, seen
        self._max_usd_per_hour, self._own_id = max_usd_per_hour, own_id
        self._lock = threading.RLock()
        self._paid: dict[str, Pod] = {}
        self._unwanted: dict[str, str] = {}
        self._fetched = float("-inf")
        self._unlisted: dict[str, tuple[Pod, float]] = {}
        self._ended: dict[str, float] = {}
        self._first_seen: dict[str, float] = {}
        self._looks: Counter[str] = Counter()
        self._ownerless: set[str] = set()

    def pods(self, fresh: bool = False) -> dict[str, Pod]:
        """The live pods by id, at most 4 s old; `fresh`: as of now."""
        paid = self.paid(fresh)
        return {pod_id: pod for pod_id, pod in paid.items() if pod_id not in self._unwanted}

    def paid(self, fresh: bool = False) -> dict[str, Pod]:
        """The same, with those that were to be given back and are still there."""
        with self._lock:
            if fresh or self._api.clock() - self._fetched > FRESH_S:
                self._fetch()
            return dict(self._paid)

    def pod(self, pod_id: str) -> Pod | None:
        """A live pod; None once it is gone."""
        return self.pods().get(pod_id)

    def add(self, pod: Pod) -> None:
        """Take in a pod that was just rented."""
        with self._lock:
            self._unlisted[pod.id] = (pod, self._api.clock())
            self._paid[pod.id] = pod

    def end(self, pod_id: str) -> None:
        """Terminate a pod."""
        self._api.terminate(pod_id)
        self.forget(pod_id)

    def why_unwanted(self, pod_id: str) -> str | None:
        """Why a pod was given back or is to be; None for all others."""
        return self._unwanted.get(pod_id)

    def forget(self, pod_id: str) -> None:
        """Take note that a pod is ended."""
        with self._lock:
            self._ended[pod_id] = self._api.clock()
            self._unlisted.pop(pod_id, None)
            self._paid.pop(pod_id, None)

    def _fetch(self) -> None:
        now = self._api.clock()
        try:
            everyones = self._api.pods()
        except RefusedError as refusal:
            if not refusal.passing or now - self._fetched > STALE_S:
                raise
            logger.warning("%s; going on with what was known %.0f s ago", refusal, now - self._fetched)
            return
        self._fetched = now
        self._name_ownerless(everyones)
        listed = {pod.id: pod for pod in everyones if pod.cluster == self._cluster}
        self._forget_old(now, listed.keys())
        found = {pod_id: pod for pod_id, (pod, _) in self._unlisted.items()} | listed
        self._paid = {
            pod_id: pod for pod_id, pod in found.items() if pod_id not in self._ended and pod.status != "TERMINATED"
        }
        self._first_seen = {pod_id: self._first_seen.get(pod_id, now) for pod_id in self._paid}
        self._looks.update(self._paid.keys())
        self._give_back(self._in_vain(list(self._paid.values())))
        self._seen(list(self._paid.values()))

    def _name_ownerless(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            if pod.ownerless_cluster == self._cluster.name and pod.id not in self._ownerless:
                self._ownerless.add(pod.id)
                logger.warning("%s", ownerless(pod))

    def _forget_old(self, now: float, listed: Collection[str]) -> None:
        """Rented pods need no memory of ours once they are listed; ended ones once the list had time to forget them."""
        self._unlisted = {
            pod_id: (pod, at)
            for pod_id, (pod, at) in self._unlisted.items()
            if pod_id not in listed and now - at < LISTED_S
        }
        self._ended = {pod_id: at for pod_id, at in self._ended.items() if now - at < LISTED_S}

    def _give_back(self, in_vain: dict[str, str]) -> None:
        self._unwanted = in_vain
        for pod_id, why in in_vain.items():
            logger.warning("pod %s (%s) is given back: %s", pod_id, self._paid[pod_id].name, why)
            try:
                self.end(pod_id)
            except RefusedError as refusal:
                logger.warning("%s", refusal)  # it is tried again with the next list

    def _in_vain(self, pods: list[Pod]) -> dict[str, str]:
        """Why pods are not worth keeping, by id."""
        rented_twice, above = superseded(pod for pod in pods if pod.live), above_ceiling(pods, self._max_usd_per_hour)
        own = self._paid.get(self._own_id or "")
        reasons = {pod.id: self._why_end(pod) for pod in pods}
        for pod in pods:
            if own is not None and own.kind == pod.kind == HEAD:  # a lost answer may have made another
                reasons[pod.id] = f"the head of the cluster is pod {own.id}" if pod.id != own.id else None
            elif pod.id in rented_twice:
                reasons[pod.id] = "its request was answered with another pod as well"
            elif pod.id in above and self._age_s(pod) < YOUNG_S:  # an older one has work; the ceiling was lowered
                reasons[pod.id] = f"the cluster's max_usd_per_hour is {self._max_usd_per_hour:g}"
        return {pod_id: why for pod_id, why in reasons.items() if why}

    def _why_end(self, pod: Pod) -> str | None:
        if not pod.live:
            return f"it stopped by itself ({pod.status})"
        if pod.was_ready or self._looks[pod.id] < LOOKS or self._booting_s(pod) < self._ready_s:
            return None
        return f"not ready after {self._ready_s / 60:g} minutes"

    def _booting_s(self, pod: Pod) -> float:
        """How long a pod that was never seen ready has been booting; 0 where its status does not say that it boots."""
        if pod.status in BOOTING:
            return self._age_s(pod)
        if pod.status == "RUNNING":  # without an address: it may have had one before we looked
            return self._api.clock() - self._first_seen[pod.id]
        return 0.0

    def _age_s(self, pod: Pod) -> float:
        """By RunPod's clock, never by this machine's; where RunPod does not say, since we know of it."""
        now = self._api.server_time()
        age_s = pod.age_s(now) if now else None
        return self._api.clock() - self._first_seen[pod.id] if age_s is None else age_s


def superseded(pods: Iterable[Pod]) -> set[str]:
    """Ids of the pods that were rented for a request for which a later attempt rented another."""
    kept: dict[str, str] = {}
    requested = [(pod.label.request, pod) for pod in pods if pod.label and pod.label.request]
    for request, pod in sorted(requested, key=lambda found: (-found[1].attempt, oldest_first(found[1]))):
        kept.setdefault(request, pod.id)
    return {pod.id for request, pod in requested if kept[request] != pod.id}


def above_ceiling(pods: Iterable[Pod], max_usd_per_hour: float) -> set[str]:
    """Ids of the pods that a ceiling has no room for beside older ones: the same for everyone who looks."""
    room, above = max_usd_per_hour + PENNY, set()
    for pod in sorted(pods, key=oldest_first):
        usd_per_hour = pod.usd_per_hour or 0.0
        if usd_per_hour > room:
            above.add(pod.id)
        else:
            room -= usd_per_hour
    return above


def oldest_first(pod: Pod) -> tuple[float, str]:
    """A key to sort by; pods of which RunPod does not say when they were rented come last."""
    return (pod.created.timestamp() if pod.created else math.inf, pod.id)


def rented_by_us(api: RunPod, owner: str | None = None, name: str | None = None) -> list[Pod]:
    """The account's pods that eigen2 has rented, oldest first: of an owner and a cluster's name, or (None) of any.

    Pods whose owner nobody knows are among those of any owner.
    """
    found = [pod for pod in api.pods() if _is_ours(pod, owner, name)]
    return sorted(found, key=oldest_first)


def _is_ours(pod: Pod, owner: str | None, name: str | None) -> bool:
    if pod.cluster:
        return owner in (None, pod.cluster.owner) and name in (None, pod.cluster.name)
    return owner is None and pod.ownerless_cluster is not None and name in (None, pod.ownerless_cluster)
