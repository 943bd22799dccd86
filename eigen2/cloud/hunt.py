"""Finding a pod to rent: GPU types and data centres one after another, under a price ceiling."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eigen2.cloud.api import RefusedError, RunPod
from eigen2.cloud.pod import LABEL, Pod, label
from eigen2.cloud.settings import SSH_PORT, NodeSettings, ProviderSettings
from eigen2.errors import ResourceError

ELSEWHERE = ("rule or capacity", "conflict", "server", "network")  # refusals after which another place may do
PENNY = 0.0001  # USD an hour: prices are floats


@dataclass(frozen=True)
class Order:
    """A pod to be rented: what, for which cluster, and with which tags."""

    node: NodeSettings
    provider: ProviderSettings
    cluster: str
    tags: Mapping[str, str]
    public_key: str
    room_usd_per_hour: float  # what the cluster's ceiling leaves

    @property
    def ceiling(self) -> float:
        """What the pod may cost an hour."""
        return min(self.node.max_usd_per_hour, self.room_usd_per_hour)

    def bodies(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(GPU type, request) for each place to try, in order."""
        for gpu in self.node.gpu_types:
            for center in self.node.data_centers or (None,):
                yield gpu, self._body(gpu, center)

    def _body(self, gpu: str, center: str | None) -> dict[str, Any]:
        node, provider = self.node, self.provider
        body: dict[str, Any] = {
            # ours alone, so that a pod whose answer got lost is recognised
            "name": f"ray-{self.cluster}-{self.tags.get('ray-node-type', 'node')}-{secrets.token_hex(4)}",
            "image": node.image,
            "gpu": {"id": gpu, "count": node.gpu_count},
            "cloud": node.cloud,
            "disk": node.disk_gb,
            "ports": [SSH_PORT],
            "globalNetworking": provider.global_networking,
            "env": {**node.env, "PUBLIC_KEY": self.public_key, LABEL: label(self.cluster, self.tags)},
        }
        if node.min_cuda:
            body["gpu"]["minCudaVersion"] = node.min_cuda
        if center:
            body["dataCenterIds"] = [center]
        if provider.volume_id:
            body["mounts"] = {"network": [{"volumeId": provider.volume_id, "path": provider.volume_path}]}
        return body


def hunt(api: RunPod, order: Order, tell: Callable[[str], None]) -> Pod:
    """Rent the first pod that is to be had under the ceiling; each refusal is told as it comes.

    Raises RefusedError for what no other place would mend (balance, permission, contract), ResourceError when every
    place refused; either names what was asked and why not.
    """
    prices = api.prices_usd_per_hour(order.node.cloud)
    refusals = []
    for gpu, body in order.bodies():
        where = f"{order.node.gpu_count} x {gpu} in {', '.join(body.get('dataCenterIds', ['any data centre']))}"
        found = _in_catalogue(prices.get(gpu), order) or _ask(api, body, order)
        if isinstance(found, Pod):
            return found
        refusals.append(f"{where}: {found}")
        tell(refusals[-1])
    raise ResourceError(
        f"no pod could be rented for {order.cluster}; add GPU types or data centres, or raise max_usd_per_hour: "
        + "; ".join(refusals)
    )


def _ask(api: RunPod, body: Mapping[str, Any], order: Order) -> Pod | str:
    """The pod, or why there is none here."""
    try:
        pod = api.create(body)
    except RefusedError as refusal:
        if refusal.reason not in ELSEWHERE:
            raise
        return str(refusal)
    dear = _too_dear(pod.usd_per_hour, order)  # the catalogue's price may not be the one that is charged
    if dear:
        api.terminate(pod.id)
        return f"{dear}; given back"
    return pod


def _in_catalogue(usd_per_hour: float | None, order: Order) -> str | None:
    """Why a GPU type need not be asked for; None if it may be had."""
    if usd_per_hour is None:
        return "RunPod's catalogue has no such GPU type"
    return _too_dear(usd_per_hour * order.node.gpu_count, order)


def _too_dear(usd_per_hour: float, order: Order) -> str | None:
    if usd_per_hour <= order.ceiling + PENNY:
        return None
    if order.ceiling == order.node.max_usd_per_hour:
        return f"costs ${usd_per_hour:.2f} an hour, above max_usd_per_hour {order.ceiling:.2f} of a pod"
    return f"costs ${usd_per_hour:.2f} an hour, the cluster's max_usd_per_hour leaves {max(order.ceiling, 0):.2f}"
