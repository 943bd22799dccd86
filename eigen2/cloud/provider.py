"""The node provider through which Ray's cluster launcher and autoscaler rent RunPod's pods.

Named in cluster.yaml as `type: external`, `module: eigen2.cloud.provider.RunPodNodeProvider`. It works on the laptop,
where `ray up` rents the head, and on the head, where the autoscaler (version 1 or 2) rents the workers.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ray.autoscaler._private.command_runner import SSHCommandRunner
from ray.autoscaler.command_runner import CommandRunnerInterface
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.node_provider import NodeProvider

from eigen2.cloud.api import RefusedError, RunPod
from eigen2.cloud.cost import Ledger
from eigen2.cloud.fleet import HEAD, Fleet, logger
from eigen2.cloud.hunt import Order, hunt
from eigen2.cloud.places import (
    API_KEY,
    AUTH_TOKEN,
    OWN_POD_ID,
    SECRETS,
    api_key,
    bookkeeping,
    check_name,
    cost_file,
    keep_cost_on,
    make_auth_token,
    make_ssh_key,
    owner,
    public_key,
)
from eigen2.cloud.pod import KIND, ClusterId, Pod
from eigen2.cloud.reservations import Reservations, renting
from eigen2.cloud.settings import NodeSettings, ProviderSettings, read
from eigen2.cloud.tags import TagFile
from eigen2.cloud.teardown import Patience, end_pods
from eigen2.errors import Eigen2Error, ResourceError

CATEGORY_LENGTH = 20  # Ray's limit
BRIEFLY = Patience(refused_s=10, outage_s=0)  # Ray asks again by itself; calls have waited for an outage already


class RunPodNodeProvider(NodeProvider):
    """Rents, lists, tags and gives back the pods of one cluster. Safe to share between threads."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._settings = read(ProviderSettings, provider_config, "provider")
        self._api = RunPod.from_environment()
        self._cluster = ClusterId(self._settings.owner or owner(), cluster_name)
        self._tags = TagFile(bookkeeping(cluster_name, "tags.json"))
        self._reservations = Reservations.of(cluster_name)
        self._ledger = Ledger(cost_file())
        own_id = os.environ.get(OWN_POD_ID)
        if own_id and self._settings.volume_id:
            keep_cost_on(Path(self._settings.volume_path), own_id)
        self._fleet = Fleet(
            self._api,
            self._cluster,
            self._settings.ready_minutes * 60,
            self._settings.max_usd_per_hour,
            own_id,
            seen=self._enter_cost if own_id else lambda _: None,
        )

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        """Ids of the live pods with these tags."""
        return self._with_tags(tag_filters, self._fleet.pods())

    def nodes_for_teardown(self, tag_filters: dict[str, str]) -> list[str]:
        """The same, as of now, with those that were to be given back before: what is overlooked here is paid for."""
        return self._with_tags(tag_filters, self._fleet.paid(fresh=True))

    def is_running(self, node_id: str) -> bool:
        """Whether a pod can be logged in to."""
        pod = self._fleet.pod(node_id)
        return pod is not None and pod.ready

    def is_terminated(self, node_id: str) -> bool:
        """Whether a pod is gone."""
        return self._fleet.pod(node_id) is None

    def node_tags(self, node_id: str) -> dict[str, str]:
        """The tags a pod was rented with, and what was set since."""
        pod = self._fleet.pod(node_id)
        return {**(pod.tags if pod else {}), **self._tags.of(node_id)}

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        """Set some tags of a pod."""
        self._tags.update(node_id, tags)

    def external_ip(self, node_id: str) -> str | None:  # type: ignore[override] # Ray's launcher asks again
        """The public address of a pod's SSH server, None until it is known; eigen2.cloud.sshproxy finds its port."""
        pod = self._fleet.pod(node_id)
        return pod.ssh[0] if pod and pod.ssh else None

    def internal_ip(self, node_id: str) -> str | None:  # type: ignore[override] # as above
        """A pod's address in the account's private network; None until it is known."""
        pod = self._fleet.pod(node_id)
        return pod.private_ip if pod else None

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Rent pods. Raises NodeLaunchException saying who refused what."""
        return {pod.id: {"name": pod.name} for pod in (self._rent(node_config, tags) for _ in range(count))}

    def terminate_node(self, node_id: str) -> None:
        """Give a pod back."""
        self._fleet.end(node_id)
        self._tags.forget(node_id)

    def terminate_nodes(self, node_ids: list[str]) -> None:
        """Give pods back; one that is refused keeps none of the others. Raises ResourceError naming what is left."""
        paid = self._fleet.paid()
        teardown = end_pods(self._api, [paid[node_id] for node_id in node_ids if node_id in paid], BRIEFLY)
        for node_id in teardown.ended:
            self._fleet.forget(node_id)
            self._tags.forget(node_id)
        if teardown.refused:
            raise ResourceError("; ".join(teardown.left()))

    def get_command_runner(
        self,
        log_prefix: str,
        node_id: str,
        auth_config: dict[str, Any],
        cluster_name: str,
        process_runner: ModuleType,
        use_internal_ip: bool,
        docker_config: dict[str, Any] | None = None,
    ) -> CommandRunnerInterface:
        """An SSH runner that hands the secrets over to a head."""
        secrets = _secrets(self._settings) if OWN_POD_ID not in os.environ else {}
        return PodCommandRunner(
            secrets, log_prefix, node_id, self, auth_config, cluster_name, process_runner, use_internal_ip
        )

    def prepare_for_head_node(self, cluster_config: dict[str, Any]) -> dict[str, Any]:
        """The config as the head gets it: with the public key in it, whose file stays on the laptop."""
        provider = {
            **cluster_config["provider"],
            "ssh_public_key": self._public_key(),
            "owner": self._cluster.owner,
        }
        for key in ("_config_cache_path", "ssh_private_key"):
            provider.pop(key, None)
        return {**cluster_config, "provider": provider}

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Check all settings before anything is rented; make the SSH key and the token if there are none."""
        key = cluster_config["auth"].get("ssh_private_key")
        provider = {**cluster_config["provider"], **({"ssh_private_key": key} if key else {})}
        try:
            check_name("cluster_name", cluster_config["cluster_name"])
            read(ProviderSettings, provider, "provider")
            for name, kind in cluster_config["available_node_types"].items():
                read(NodeSettings, kind["node_config"], f"available_node_types.{name}.node_config")
            api_key()
            if key:
                make_ssh_key(key)
            if AUTH_TOKEN in cluster_config["file_mounts"]:
                make_auth_token(cluster_config["file_mounts"][AUTH_TOKEN])
        except Eigen2Error as error:
            sys.exit(f"eigen2: {error}")  # Ray's launcher would bury it in a traceback
        return {**cluster_config, "provider": provider}

    def _with_tags(self, wanted: Mapping[str, str], pods: Mapping[str, Pod]) -> list[str]:
        changed = self._tags.all()
        return [
            pod_id for pod_id, pod in pods.items() if wanted.items() <= {**pod.tags, **changed.get(pod_id, {})}.items()
        ]

    def _enter_cost(self, pods: list[Pod]) -> None:
        try:
            self._ledger.enter(pods, self._api.now())
        except OSError as error:  # Ray must not lose its nodes for it
            logger.warning("the cost can't be written: %s", error)

    def _rent(self, node_config: Mapping[str, Any], tags: Mapping[str, str]) -> Pod:
        try:
            with renting(self.cluster_name):
                self._check_one_head(tags)
                order = self._order(node_config, tags)
                pod = hunt(self._api, order, self._reservations, lambda refusal: logger.warning("%s", refusal))
                self._fleet.add(pod)
                self._check_kept(pod)
        except Eigen2Error as error:
            category = error.reason if isinstance(error, RefusedError) else "no pod to be had"
            raise NodeLaunchException(category[:CATEGORY_LENGTH], str(error), sys.exc_info()) from error
        price = "nobody knows how much" if pod.usd_per_hour is None else f"${pod.usd_per_hour:.2f}"
        logger.warning("rented pod %s (%s): %s at %s an hour", pod.id, pod.name, pod.gpu, price)
        return pod

    def _order(self, node_config: Mapping[str, Any], tags: Mapping[str, str]) -> Order:
        return Order(
            node=read(NodeSettings, node_config, "node_config"),
            provider=self._settings,
            cluster=self._cluster,
            tags=tags,
            public_key=self._public_key(),
            room_usd_per_hour=self._room_usd_per_hour(),
        )

    def _room_usd_per_hour(self) -> float:
        paid = self._fleet.paid().values()
        asked_for = self._reservations.usd_per_hour({pod.name for pod in paid})
        return self._settings.max_usd_per_hour - asked_for - sum(pod.usd_per_hour or 0.0 for pod in paid)

    def _check_one_head(self, tags: Mapping[str, str]) -> None:
        if tags.get(KIND) != HEAD:
            return
        if heads := [pod for pod in self._fleet.pods(fresh=True).values() if pod.kind == HEAD]:
            raise ResourceError(
                f"{self.cluster_name} has a head by now, pod {heads[0].id}; `ray up` again goes on with it"
            )

    def _check_kept(self, pod: Pod) -> None:
        """Look again: another machine may have rented at the same time. Raises ResourceError if the pod had to go."""
        self._fleet.pods(fresh=True)
        if why := self._fleet.why_unwanted(pod.id):
            raise ResourceError(f"pod {pod.id} was given back: {why}")

    def _public_key(self) -> str:
        if self._settings.ssh_public_key:
            return self._settings.ssh_public_key
        return public_key(self._settings.ssh_private_key or "")


class PodCommandRunner(SSHCommandRunner):
    """Runs commands on a pod over SSH; a head first gets the secrets, as files that its owner alone can read.

    So they are in no config, no command line, no log, and not in the pod's environment, which RunPod's console shows.
    """

    def __init__(self, secrets: Mapping[str, str], *args: Any) -> None:
        super().__init__(*args)
        self._secrets = secrets

    def run_init(self, *, as_head: bool, file_mounts: dict[str, str], sync_run_yet: bool) -> bool:
        """Hand the secrets over; nothing else is to be done for it."""
        if as_head and self._secrets:
            with tempfile.TemporaryDirectory() as folder:
                for name, value in self._secrets.items():
                    path = Path(folder) / name
                    path.touch(mode=0o600)
                    path.write_text(value, encoding="utf-8")
                self.run(f"mkdir -p {SECRETS}")
                self.run_rsync_up(f"{folder}/", f"{SECRETS}/")
        return False


def _secrets(settings: ProviderSettings) -> dict[str, str]:
    """The API key, and those of the named variables that are set."""
    named = {name: os.environ[name] for name in settings.secrets if os.environ.get(name)}
    return {API_KEY: api_key(), **named}
