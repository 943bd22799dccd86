"""`python3 -m eigen2.cloud.sshproxy POD`: connects SSH to a pod by its id, wherever its port is by now.

For OpenSSH's ProxyCommand: bytes from standard input go to the pod's SSH server, its answers to standard output.
"""

import os
import socket
import sys
import threading
from collections.abc import Sequence

from eigen2.cloud.api import RunPod
from eigen2.errors import Eigen2Error, ResourceError

CONNECT_S = 15.0
CHUNK = 65536


def main(argv: Sequence[str]) -> int:
    """Connect to the pod `argv[0]`; returns 1 with a sentence on standard error if it can't be done."""
    try:
        connection = connect(RunPod.from_environment(), argv[0])
    except (Eigen2Error, OSError) as error:
        sys.stderr.write(f"pod {argv[0]}: {error}\n")
        return 1
    with connection:
        pipe(connection, sys.stdin.fileno(), sys.stdout.fileno())
    return 0


def connect(api: RunPod, pod_id: str) -> socket.socket:
    """A connection to a pod's SSH server. Raises RefusedError, ResourceError or OSError where there is none yet."""
    pod = api.pod(pod_id)
    if pod.ssh is None:
        raise ResourceError(f"no SSH address yet, it is {pod.status}")
    connection = socket.create_connection(pod.ssh, CONNECT_S)
    connection.settimeout(None)  # a login may be silent for hours
    return connection


def pipe(connection: socket.socket, source: int, sink: int) -> None:
    """Carry bytes both ways between a connection and two file descriptors, until the connection's other end closes."""
    threading.Thread(target=_send, args=(source, connection), daemon=True).start()
    while received := connection.recv(CHUNK):
        while received:
            received = received[os.write(sink, received) :]


def _send(source: int, connection: socket.socket) -> None:
    try:
        while sent := os.read(source, CHUNK):
            connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the pod hung up: the other direction says so


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
