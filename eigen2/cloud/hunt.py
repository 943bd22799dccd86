"""Finding a pod to rent: GPU types and data centres one after another, under a price ceiling."""

import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eigen2.cloud.api import LostAnswerError, Reason, RefusedError, RunPod
from eigen2.cloud.fleet import PENNY
from eigen2.cloud.pod import LABEL, ClusterId, Label, Pod
from eigen2.cloud.reservations import Reservations
from eigen2.cloud.settings import SSH_PORT, NodeSettings, ProviderSettings
from eigen2.cloud.teardown import Patience, end_pods
from eigen2.errors import Eigen2Error, ResourceError

# refusals after which another place may do
ELSEWHERE: tuple[Reason, ...] = ("rule or capacity", "conflict", "permission", "absent", "server", "network")
BROKEN_CONTRACT = 422  # the same request breaks it in every place
TRIES = 2  # in one place, where the answer gets lost and no pod appears


@dataclass(frozen=True)
class Order:
    """A pod to be rented: what, for which cluster, and with which tags."""

    node: NodeSettings
    provider: ProviderSettings
    cluster: ClusterId
    tags: Mapping[str, str]
    public_key: str
    room_usd_per_hour: float  # what the cluster's ceiling leaves
    request: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def ceiling(self) -> float:
        """What the pod may cost an hour."""
        return min(self.node.max_usd_per_hour, self.room_usd_per_hour)

    def places(self) -> Iterator[tuple[str, str | None]]:
        """(GPU type, data centre) of each place to try, in order."""
        return itertools.product(self.node.gpu_types, self.node.data_centers or (None,))

    def body(self, gpu: str, center: str | None, attempt: int, usd_per_hour: float) -> dict[str, Any]:
        """The request for one attempt. Its name is used once, so that a pod whose answer got lost is recognised."""
        node, provider = self.node, self.provider
        label = Label(self.cluster.name, self.tags, self.cluster.owner, self.request, attempt, usd_per_hour)
        body: dict[str, Any] = {
            "name": f"ray-{self.cluster.name}-{label.kind or 'node'}-{self.request}-{attempt}",
            "image": node.image,
            "gpu": {"id": gpu, "count": node.gpu_count},
            "cloud": node.cloud,
            "disk": node.disk_gb,
            "ports": [SSH_PORT],
            "globalNetworking": provider.global_networking,
            "env": {**node.env, "PUBLIC_KEY": self.public_key, LABEL: label.encode()},
        }
        if node.min_cuda:
            body["gpu"]["minCudaVersion"] = node.min_cuda
        if center:
            body["dataCenterIds"] = [center]
        if provider.volume_id:
            body["mounts"] = {"network": [{"volumeId": provider.volume_id, "path": provider.volume_path}]}
        return body


def hunt(api: RunPod, order: Order, reserved: Reservations, tell: Callable[[str], None]) -> Pod:
    """Rent the first pod that is to be had under the ceiling; each refusal is told as it comes.

    Raises RefusedError for what no other place would mend (balance, contract, no rights anywhere), ResourceError when
    every place refused; either names what was asked and why not.
    """
    return _Hunt(api, order, reserved, tell).run()


class _Hunt:
    """One search, and what came of its attempts."""

    def __init__(self, api: RunPod, order: Order, reserved: Reservations, tell: Callable[[str], None]) -> None:
        self._api, self._order, self._reserved, self._tell = api, order, reserved, tell
        self._attempts = itertools.count(1)
        self._refusals: list[str] = []
        self._reasons: set[Reason] = set()
        self._lost: list[str] = []

    def run(self) -> Pod:
        try:
            if (pod := self._first_to_be_had() or self._appeared()) is not None:
                return pod
        except RefusedError as refusal:
            if (pod := self._appeared()) is not None:
                return pod
            raise RefusedError(refusal.reason, f"{refusal}{self._lost_note()}") from refusal
        raise self._all_refused()

    def _first_to_be_had(self) -> Pod | None:
        prices = self._api.prices_usd_per_hour(self._order.node.cloud)
        for gpu, center in self._order.places():
            found = self._ask(gpu, center, prices.get(gpu))
            if isinstance(found, Pod):
                return found
            self._refusals.append(f"{self._order.node.gpu_count} x {gpu} in {center or 'any data centre'}: {found}")
            self._tell(self._refusals[-1])
        return None

    def _ask(self, gpu: str, center: str | None, usd_of_a_gpu: float | None) -> Pod | str:
        """The pod, or why there is none here."""
        if usd_of_a_gpu is None:
            return f"RunPod's catalogue has no such GPU type, or names no price of it in {self._order.node.cloud}"
        usd_per_hour = usd_of_a_gpu * self._order.node.gpu_count
        if dear := self._too_dear(usd_per_hour):
            return dear
        told = ""
        for _ in range(TRIES):
            body = self._order.body(gpu, center, next(self._attempts), usd_per_hour)
            try:
                return self._if_cheap(self._create(body, usd_per_hour))
            except LostAnswerError as lost:
                self._lost.append(lost.name)
                if not lost.looked:
                    raise  # without a list nobody knows what was rented: another request could be the second pod
                self._reasons.add(lost.reason)
                told = str(lost)
                self._tell(told)
            except RefusedError as refusal:
                if not _may_do_elsewhere(refusal):
                    raise
                self._reasons.add(refusal.reason)
                return str(refusal)
        return told

    def _create(self, body: Mapping[str, Any], usd_per_hour: float) -> Pod:
        """The pod, its price reserved for as long as RunPod's list may not show it."""
        self._reserved.add(body["name"], usd_per_hour)
        try:
            return self._api.create(body)
        except LostAnswerError:
            raise  # it may still appear
        except RefusedError:
            self._reserved.drop(body["name"])
            raise

    def _if_cheap(self, pod: Pod) -> Pod | str:
        """The pod, unless it turns out dearer than the catalogue said: then it is given back."""
        dear = self._too_dear(pod.usd_per_hour or 0.0)
        if not dear:
            return pod
        if left := end_pods(self._api, [pod], Patience()).left():
            raise ResourceError(f"{dear}; {left[0]}")
        self._reserved.drop(pod.name)
        return f"{dear}; given back"

    def _appeared(self) -> Pod | None:
        """A pod of ours whose answer got lost and that is on the list by now, the newest attempt of several."""
        if not self._lost:
            return None
        try:
            found = [pod for pod in self._api.pods() if pod.name in self._lost and pod.live]
        except RefusedError:
            return None
        newest = max(found, key=lambda pod: pod.attempt, default=None)
        kept = newest and self._if_cheap(newest)
        return kept if isinstance(kept, Pod) else None

    def _all_refused(self) -> Eigen2Error:
        cluster, told = self._order.cluster.name, "; ".join(self._refusals) + self._lost_note()
        if self._reasons == {"permission"}:
            advice = "give RUNPOD_API_KEY write access to pods, or ask RunPod for access to these GPUs"
            return RefusedError("permission", f"there are no rights to rent a pod for {cluster}; {advice}: {told}")
        advice = "add GPU types or data centres, or raise max_usd_per_hour"
        return ResourceError(f"no pod could be rented for {cluster}; {advice}: {told}")

    def _lost_note(self) -> str:
        if not self._lost:
            return ""
        return (
            f"; answers got lost, so a pod may still appear and be paid for as {', '.join(self._lost)}: look with "
            "`eigen2 cloud list`, end it with `eigen2 cloud sweep-up`"
        )

    def _too_dear(self, usd_per_hour: float) -> str | None:
        order = self._order
        if usd_per_hour <= order.ceiling + PENNY:
            return None
        if order.ceiling == order.node.max_usd_per_hour:
            return f"costs ${usd_per_hour:.2f} an hour, above max_usd_per_hour {order.ceiling:.2f} of a pod"
        return f"costs ${usd_per_hour:.2f} an hour, the cluster's max_usd_per_hour leaves {max(order.ceiling, 0):.2f}"


def _may_do_elsewhere(refusal: RefusedError) -> bool:
    unexpected = refusal.reason == "contract" and refusal.status != BROKEN_CONTRACT
    return unexpected or refusal.reason in ELSEWHERE
