"""The way to a cluster's head: SSH with a tunnel to Ray's dashboard, and rsync."""

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eigen2.cloud.api import RunPod
from eigen2.cloud.fleet import HEAD
from eigen2.cloud.places import check_name, owner
from eigen2.cloud.pod import ClusterId
from eigen2.cloud.settings import ProviderSettings, read
from eigen2.config.loading import NOT_YAML, yaml_text, yaml_value
from eigen2.errors import ConfigError, ResourceError, RunError

DASHBOARD_PORT = 8265
OPEN_S = 40.0
QUIET = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR")
ALIVE = ("ServerAliveInterval=20", "ServerAliveCountMax=6", "ExitOnForwardFailure=yes")


@dataclass(frozen=True)
class Cluster:
    """What a client must know of cluster.yaml."""

    id: ClusterId
    key: Path
    settings: ProviderSettings

    @classmethod
    def load(cls, path: Path) -> "Cluster":
        """From a cluster file. Raises ConfigError if it isn't one of RunPod's."""
        try:
            found = yaml_value(yaml_text(path))
            name, key, provider = found["cluster_name"], found["auth"]["ssh_private_key"], found["provider"]
        except NOT_YAML as error:
            raise ConfigError(f"--cluster {path}: not a cluster file: {type(error).__name__} {error}") from error
        settings = read(ProviderSettings, provider, f"{path}: provider")
        name = check_name(f"--cluster {path}: cluster_name", name)
        return cls(ClusterId(settings.owner or owner(), name), Path(key).expanduser(), settings)

    @property
    def runs(self) -> PurePosixPath:
        """The folder of runs on every node."""
        return PurePosixPath(self.settings.volume_path) / "runs"

    @property
    def sweeps(self) -> PurePosixPath:
        """The folder of sweeps on every node."""
        return PurePosixPath(self.settings.volume_path) / "sweeps"


@dataclass(frozen=True)
class Head:
    """A running head that can be logged in to."""

    cluster: Cluster
    pod_id: str

    @classmethod
    def find(cls, cluster: Cluster, api: RunPod) -> "Head":
        """The cluster's head. Raises ResourceError if none is ready."""
        ours = [pod for pod in api.pods() if pod.cluster == cluster.id and pod.kind == HEAD]
        ready = [pod for pod in ours if pod.ready]
        if not ready:
            state = f"is {ours[0].status}" if ours else "there is none"
            raise ResourceError(f"cluster {cluster.id.name} has no head to log in to: {state}; start one with `ray up`")
        return cls(cluster, ready[0].id)

    @property
    def ssh(self) -> list[str]:
        """The SSH command without host; `%h` is the pod's id."""
        proxy = f"ProxyCommand={shlex.quote(sys.executable)} -m eigen2.cloud.sshproxy %h"
        options = [part for option in (*QUIET, *ALIVE, proxy) for part in ("-o", option)]
        return ["ssh", "-i", str(self.cluster.key), *options]

    @property
    def host(self) -> str:
        """User and pod id, as SSH takes them."""
        return f"root@{self.pod_id}"

    @contextmanager
    def tunnel(self, ports: Mapping[int, int]) -> Iterator[None]:
        """Lead ports of this machine's loopback (keys) to ports of the head's. Raises ResourceError if it can't."""
        forwards = [part for here, there in ports.items() for part in ("-L", f"127.0.0.1:{here}:127.0.0.1:{there}")]
        command = [*self.ssh, "-N", *forwards, self.host]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            self._wait(process, next(iter(ports)))
            yield
        finally:
            process.terminate()
            process.wait()

    def pull(self, there: PurePosixPath, here: Path) -> None:
        """Copy a folder from the head, or what is new in it. Raises RunError if it can't be copied."""
        here.mkdir(parents=True, exist_ok=True)
        command = ["rsync", "-az", "--rsh", shlex.join(self.ssh), f"{self.host}:{there}/", f"{here}/"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise RunError("rsync is not installed on this machine") from error
        except subprocess.CalledProcessError as error:
            reason = (error.stderr.strip().splitlines() or ["rsync failed"])[0]
            raise RunError(f"{there} can't be copied from the head: {reason}") from error

    def _wait(self, process: "subprocess.Popen[str]", port: int) -> None:
        deadline = time.monotonic() + OPEN_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                said = process.stderr.read().strip() if process.stderr else ""
                raise ResourceError(f"no tunnel to the head {self.pod_id}: {said or 'SSH ended'}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.2)
        raise ResourceError(f"no tunnel to the head {self.pod_id} within {OPEN_S:g} s")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
