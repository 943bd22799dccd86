"""The proxy command: SSH's bytes to a pod found by its id, both ways, as a real process."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eigen2.cloud.api import RunPod
from tests.cloud.fake_runpod import FakeRunPod, Nowhere

BODY = {"name": "n", "image": "i", "gpu": {"id": "NVIDIA L4"}, "globalNetworking": True}


@pytest.fixture
def port() -> Iterator[int]:
    """A server that greets, gives back what it gets in capitals, and hangs up when the other side is done."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-pod\n")
                while received := connection.recv(65536):
                    connection.sendall(received.upper())

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def proxy(pod: str, said: bytes) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "eigen2.cloud.sshproxy", pod]
    return subprocess.run(command, input=said, capture_output=True, timeout=60, check=False, env=dict(os.environ))


def test_bytes_go_both_ways(home: Path, account: FakeRunPod, port: int) -> None:
    account._start = lambda *_: Nowhere(ssh=("127.0.0.1", port))
    pod = RunPod.from_environment().create(BODY)
    said = b"hello" * 100_000
    done = proxy(pod.id, said)
    assert done.stdout == b"SSH-2.0-pod\n" + said.upper()
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_pod_without_an_address_is_told(home: Path, account: FakeRunPod) -> None:
    account.start_delay_s = 60
    pod = RunPod.from_environment().create(BODY)
    done = proxy(pod.id, b"")
    assert done.returncode == 1
    assert done.stderr.decode() == f"pod {pod.id}: no SSH address yet, it is PROVISIONING\n"


def test_a_pod_that_is_gone_is_told_without_a_traceback(home: Path) -> None:
    done = proxy("abc", b"")
    assert done.returncode == 1
    assert done.stderr.startswith(b"pod abc: RunPod: GET /pods/abc: 404")
    assert done.stderr.count(b"\n") == 1
