"""Ending pods so that one refusal keeps none of the others, and nothing that is still paid for goes unnamed."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

from eigen2.cloud.api import LISTED_S, RefusedError, RunPod
from eigen2.cloud.pod import ClusterId, Pod

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

logger = logging.getLogger("eigen2")


@dataclass(frozen=True)
class Patience:
    """How long to try again, in seconds: what was refused, and what failed because the API is out of order."""

    refused_s: float = 60.0
    outage_s: float = 60.0

    def ends(self, refusal: RefusedError, passed_s: float) -> bool:
        """Whether to give up after so many seconds."""
        return passed_s >= (self.outage_s if refusal.passing else self.refused_s)


class Teardown:
    """What becomes of pods that are to be ended."""

    def __init__(self, api: RunPod, patience: Patience) -> None:
        self._api, self._patience = api, patience
        self._began, self._pause_s = api.clock(), FIRST_PAUSE_S
        self._ended_at: dict[str, float] = {}
        self.ended: dict[str, Pod] = {}
        self.refused: dict[str, tuple[Pod, RefusedError]] = {}
        self.ownerless: dict[str, Pod] = {}

    @property
    def passed_s(self) -> float:
        """How long it has taken so far."""
        return self._api.clock() - self._began

    def attempt(self, pods: Collection[Pod]) -> None:
        """Ask once for the end of each pod."""
        for pod in pods:
            try:
                self._api.terminate(pod.id)
            except RefusedError as refusal:
                logger.warning("pod %s (%s) is not ended yet: %s", pod.id, pod.name, refusal)
                self.refused[pod.id] = (pod, refusal)
            else:
                self.ended[pod.id], self._ended_at[pod.id] = pod, self._api.clock()
                self.refused.pop(pod.id, None)

    def open(self, pods: Collection[Pod]) -> list[Pod]:
        """Those that are worth another attempt. RunPod may list a pod for a while after its end."""
        return [pod for pod in pods if not self._lately_ended(pod) and not self._given_up(pod)]

    def pause(self) -> None:
        """Wait before the next attempt, longer each time."""
        self._api.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def left(self) -> list[str]:
        """A sentence for each pod that is still paid for: which, why, and how to end it."""
        refused = [
            f"pod {pod.id} ({pod.name}) is left and still paid for: {refusal}; end it with `eigen2 cloud sweep-up` or "
            "in RunPod's console"
            for pod, refusal in self.refused.values()
        ]
        return refused + [ownerless(pod) for pod in self.ownerless.values()]

    def name_ownerless(self, pods: Collection[Pod]) -> None:
        """Note the pods that may belong to the cluster; they are named at once, since the teardown may end our pod."""
        for pod in pods:
            if pod.id not in self.ownerless:
                logger.warning("%s", ownerless(pod))
        self.ownerless = {pod.id: pod for pod in pods}

    def _lately_ended(self, pod: Pod) -> bool:
        return self._api.clock() - self._ended_at.get(pod.id, float("-inf")) < LISTED_S

    def _given_up(self, pod: Pod) -> bool:
        return pod.id in self.refused and self._patience.ends(self.refused[pod.id][1], self.passed_s)


def ownerless(pod: Pod) -> str:
    """A sentence for a pod that nobody may end unasked: it may be another owner's."""
    return (
        f"pod {pod.id} ({pod.name}) is left and still paid for: RunPod's answer has no env, so its owner is not known; "
        "if it is yours, end it in RunPod's console"
    )


def end_pods(api: RunPod, pods: Collection[Pod], patience: Patience) -> Teardown:
    """Terminate pods; one that is refused keeps none of the others, and is tried again while the patience lasts."""
    teardown = Teardown(api, patience)
    teardown.attempt(pods)
    while refused := teardown.open([pod for pod, _ in teardown.refused.values()]):
        teardown.pause()
        teardown.attempt(refused)
    return teardown


def end_cluster(
    api: RunPod, cluster: ClusterId, patience: Patience, last: str | None = None, last_after_s: float = 0.0
) -> Teardown:
    """Terminate all pods of a cluster, listed anew until none is left: its autoscaler may have rented another.

    The pod `last` goes after all others that can be ended, and not before `last_after_s`. Raises RefusedError if the
    pods can't be listed within the patience. Pods of the cluster's name whose owner is not known are left and named.
    """
    teardown = Teardown(api, patience)
    while True:
        try:
            everyones = api.pods()
        except RefusedError as refusal:
            if patience.ends(refusal, teardown.passed_s):
                raise
            logger.warning("%s", refusal)
        else:
            listed = [pod for pod in everyones if pod.cluster == cluster and pod.status != "TERMINATED"]
            teardown.name_ownerless([pod for pod in everyones if pod.ownerless_cluster == cluster.name])
            open_ = teardown.open(listed)
            if not open_:
                teardown.refused = {pod.id: teardown.refused[pod.id] for pod in listed if pod.id in teardown.refused}
                return teardown
            others = [pod for pod in open_ if pod.id != last]
            if others or teardown.passed_s >= last_after_s:
                teardown.attempt(others or open_)
        teardown.pause()
