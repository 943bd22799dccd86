"""Pods on one machine: each is a set of namespaces (network, processes, mounts, host name) with its own SSH server.

As on RunPod a pod has a network to the outside (eth0), on which the outside reaches mapped ports alone, by a public
address and a random port; and a private network with the other pods (gn0) with names like POD.runpod.internal.
Call from inside an own network and mount namespace, as root.
"""

import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PUBLIC, API_HOST, API_PORT = "203.0.113.7", "203.0.113.8", 8900  # addresses for documentation, RFC 5737
VOLUME = "/mnt/workspace"
TOOLS = ("sshd", "ssh", "ssh-keygen", "rsync", "ip", "unshare", "mount")
START_S = 20.0
NAMESPACES = ("--uts", "--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child")

INIT = r"""
set -e
mount --make-rprivate /
until [ -e $POD_FOLDER/wired ]; do sleep 0.05; done
ip link set lo up
ip address add 172.18.$NUMBER.2/24 dev eth0; ip link set eth0 up; ip route add default via 172.18.$NUMBER.1
ip address add $PRIVATE_IP/16 dev gn0; ip link set gn0 up
hostname $RUNPOD_POD_ID
mount --bind $HOSTS /etc/hosts
: > $POD_FOLDER/nobody; mount --bind $POD_FOLDER/nobody $(readlink -f /etc/resolv.conf)
mount -t tmpfs tmpfs /mnt
number=0
for kept in $KEPT; do number=$((number + 1)); mkdir /mnt/$number; mount --bind $kept /mnt/$number; done
mkdir $VOLUME_PATH; mount --bind $VOLUME_FOLDER $VOLUME_PATH
for private in /tmp /root /run; do mount -t tmpfs -o mode=755 tmpfs $private; done
chmod 1777 /tmp
mount -t tmpfs -o size=1g tmpfs /dev/shm
number=0
for kept in $KEPT; do number=$((number + 1)); mkdir -p $kept; mount --bind /mnt/$number $kept; done
mkdir -p /root/.ssh /run/sshd
echo "$PUBLIC_KEY" > /root/.ssh/authorized_keys; chmod 700 /root/.ssh; chmod 600 /root/.ssh/authorized_keys
env | grep -E '^[A-Z_][A-Z0-9_]*=' | grep -vE '^(PATH|HOME|PWD|SHLVL|_)=' \
  | sed 's/"/\\"/g; s/=\(.*\)/="\1"/; s/^/export /' > /run/environment
echo 'source /run/environment' > /root/.bashrc
ssh-keygen -q -t ed25519 -N '' -f /run/host_key
cat > /run/sshd_config <<END
Port 22
HostKey /run/host_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
PidFile none
StrictModes no
END
exec /usr/sbin/sshd -D -e -f /run/sshd_config
"""


def why_not() -> str | None:
    """Why this machine can't have such pods; None if it can."""
    if os.geteuid() != 0:
        return "pods need namespaces, and those need root"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=path) is None]:
        return f"pods need {', '.join(missing)} (openssh-server, rsync, iproute2)"
    tried = subprocess.run(
        [
            "unshare",
            "--uts",
            "--net",
            "--pid",
            "--mount",
            "--fork",
            "--mount-proc",
            "mount",
            "-t",
            "tmpfs",
            "x",
            "/mnt",
        ],
        capture_output=True,
        timeout=20,
        check=False,
    )
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


class World:
    """The networks between pods and laptop, and the pods that live in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volume = folder / "volume"
        self.pods: dict[str, NamespacedPod] = {}
        self._hosts = folder / "hosts"
        self._numbers = iter(range(1, 250))
        self._lock = threading.Lock()
        self.volume.mkdir()
        self._hosts.write_text("127.0.0.1 localhost\n")
        ip("link set lo up", f"address add {PUBLIC}/32 dev lo", f"address add {API_HOST}/32 dev lo")
        ip("link add between type bridge", "link set between up")

    def start(self, pod_id: str, body: dict[str, Any]) -> "NamespacedPod":
        """Boot a pod; its SSH server may take a moment more."""
        with self._lock:
            pod = NamespacedPod(self, pod_id, next(self._numbers), body)
            self.pods[pod_id] = pod
            with self._hosts.open("a") as hosts:
                hosts.write(f"{pod.private_ip} {pod_id}.runpod.internal {pod_id}\n")
            return pod

    def environment(self, pod_id: str, number: int, body: dict[str, Any], private_ip: str) -> dict[str, str]:
        kept = [sys.prefix, sys.base_prefix]
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            **body["env"],
            "RUNPOD_POD_ID": pod_id,
            "RUNPOD_API_BASE": f"http://{API_HOST}:{API_PORT}/v2",
            "POD_FOLDER": str(self.folder / pod_id),
            "NUMBER": str(number),
            "PRIVATE_IP": private_ip,
            "HOSTS": str(self._hosts),
            "KEPT": " ".join(kept),
            "VOLUME_FOLDER": str(self.volume),
            "VOLUME_PATH": VOLUME,
        }


class NamespacedPod:
    """A pod: its processes, and the public port that leads to its SSH server."""

    def __init__(self, world: World, pod_id: str, number: int, body: dict[str, Any]) -> None:
        self.id = pod_id
        self.private_ip = f"10.65.0.{number + 10}"
        folder = world.folder / pod_id
        folder.mkdir()
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", *NAMESPACES, "bash", "-c", INIT],
                env=world.environment(pod_id, number, body, self.private_ip),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = child_of(self._process.pid)
        ip(
            f"link add out{number} type veth peer name eth0 netns {self.pid}",
            f"address add 172.18.{number}.1/24 dev out{number}",
            f"link set out{number} up",
            f"link add in{number} type veth peer name gn0 netns {self.pid}",
            f"link set in{number} master between up",
        )
        (folder / "wired").touch()
        # what a pod asks to have mapped is what the outside can reach
        self._forwarder = forward((f"172.18.{number}.2", 22)) if "22/tcp" in body["ports"] else None
        self.ssh = (PUBLIC, self._forwarder.server_address[1]) if self._forwarder else (PUBLIC, 0)

    @property
    def root(self) -> Path:
        """The pod's file system as seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def end(self) -> None:
        """Pull the plug."""
        if self._forwarder:
            self._forwarder.shutdown()
            self._forwarder.server_close()
        self._process.kill()
        self._process.wait()


class Forwarder(socketserver.ThreadingTCPServer):
    """A public port that leads somewhere."""

    daemon_threads = True
    target: tuple[str, int]


class Carry(socketserver.BaseRequestHandler):
    """One connection through a forwarder."""

    server: Forwarder

    def handle(self) -> None:
        try:
            inner = socket.create_connection(self.server.target, 5)
        except OSError:
            return
        inner.settimeout(None)
        back = threading.Thread(target=pump, args=(inner, self.request), daemon=True)
        back.start()
        pump(self.request, inner)
        back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while content := source.recv(65536):
            sink.sendall(content)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def forward(target: tuple[str, int]) -> Forwarder:
    """Lead a free public port to `target`."""
    server = Forwarder((PUBLIC, 0), Carry)
    server.target = target
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def child_of(pid: int) -> int:
    """The first process in the new namespaces."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise TimeoutError("a pod did not boot")


def ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, timeout=10)
