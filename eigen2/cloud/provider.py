"""The node provider through which Ray's cluster launcher and autoscaler rent RunPod's pods.

Named in cluster.yaml as `type: external`, `module: eigen2.cloud.provider.RunPodNodeProvider`. It works on the laptop,
where `ray up` rents the head, and on the head, where the autoscaler (version 1 or 2) rents the workers.
"""

import os
import sys
import tempfile
import threading
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
from eigen2.cloud.fleet import Fleet, logger
from eigen2.cloud.hunt import Order, hunt
from eigen2.cloud.places import (
    API_KEY,
    AUTH_TOKEN,
    OWN_POD_ID,
    SECRETS,
    api_key,
    bookkeeping,
    cost_file,
    make_auth_token,
    make_ssh_key,
    public_key,
)
from eigen2.cloud.pod import Pod
from eigen2.cloud.settings import NodeSettings, ProviderSettings, read
from eigen2.cloud.tags import TagFile
from eigen2.errors import Eigen2Error

CATEGORY_LENGTH = 20  # Ray's limit


class RunPodNodeProvider(NodeProvider):
    """Rents, lists, tags and gives back the pods of one cluster. Safe to share between threads."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._settings = read(ProviderSettings, provider_config, "provider")
        self._api = RunPod.from_environment()
        self._tags = TagFile(bookkeeping(cluster_name, "tags.json"))
        self._renting = threading.Lock()  # one after another, or two would share what the ceiling leaves
        on_the_head = OWN_POD_ID in os.environ
        ledger = Ledger(cost_file())
        self._fleet = Fleet(
            self._api,
            cluster_name,
            self._settings.ready_minutes * 60,
            seen=ledger.enter if on_the_head else lambda _: None,
        )

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        """Ids of the live pods with these tags."""
        return self._matching(tag_filters, fresh=False)

    def nodes_for_teardown(self, tag_filters: dict[str, str]) -> list[str]:
        """The same, as of now: what is overlooked here is paid for."""
        return self._matching(tag_filters, fresh=True)

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
        provider = {**cluster_config["provider"], "ssh_public_key": self._public_key()}
        for key in ("_config_cache_path", "ssh_private_key"):
            provider.pop(key, None)
        return {**cluster_config, "provider": provider}

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Check all settings before anything is rented; make the SSH key and the token if there are none."""
        key = cluster_config["auth"].get("ssh_private_key")
        provider = {**cluster_config["provider"], **({"ssh_private_key": key} if key else {})}
        try:
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

    def _matching(self, wanted: Mapping[str, str], fresh: bool) -> list[str]:
        pods = self._fleet.pods(fresh)
        return [
            pod_id for pod_id, pod in pods.items() if wanted.items() <= {**pod.tags, **self._tags.of(pod_id)}.items()
        ]

    def _rent(self, node_config: Mapping[str, Any], tags: Mapping[str, str]) -> Pod:
        try:
            with self._renting:
                pod = hunt(self._api, self._order(node_config, tags), lambda refusal: logger.warning("%s", refusal))
                self._fleet.add(pod)
        except Eigen2Error as error:
            category = error.reason if isinstance(error, RefusedError) else "no pod to be had"
            raise NodeLaunchException(category[:CATEGORY_LENGTH], str(error), sys.exc_info()) from error
        logger.warning("rented pod %s (%s): %s at $%.2f an hour", pod.id, pod.name, pod.gpu, pod.usd_per_hour)
        return pod

    def _order(self, node_config: Mapping[str, Any], tags: Mapping[str, str]) -> Order:
        return Order(
            node=read(NodeSettings, node_config, "node_config"),
            provider=self._settings,
            cluster=self.cluster_name,
            tags=tags,
            public_key=self._public_key(),
            room_usd_per_hour=self._settings.max_usd_per_hour
            - sum(pod.usd_per_hour for pod in self._fleet.pods().values()),
        )

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
