"""Ray itself fails: it starts too slowly, its processes end, its memory monitor strikes, or it is told to stop."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eigen2.training.failures import LESS_MEMORY

LIMIT_S = 240

START = """
import signal, sys
from eigen2.config import ResourcesConfig
from eigen2.errors import Eigen2Error
from eigen2.training.cluster import connect
from eigen2.training.runtime import RayRuntime, Share
signal.signal(signal.SIGTERM, signal.default_int_handler)
class Sleeper:
    def sleep(self, seconds):
        __import__("time").sleep(seconds)
try:
    connect(ResourcesConfig(num_cpus=1, dashboard=False))
    runtime = RayRuntime()
    part = runtime.make("a part", Sleeper, Share())
    print("started", flush=True)
    print(runtime.collect([(part, part.call("sleep", 200))], 200)[0].message)
except Eigen2Error as error:
    sys.exit(str(error))
except KeyboardInterrupt:
    sys.exit("stopped")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the Rays of a test keep their folders; pytest's own have paths too long for a socket."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "RAY_TMPDIR": str(folder), **environment}
    return subprocess.Popen([sys.executable, "-c", START], env=environment, **pipes)


def wait_for(folder: Path, pattern: str) -> Path:
    """The first path to appear in a folder."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := next(folder.glob(pattern), None)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def child_of(process: int, name: str) -> int:
    """The process id of a child, by the name of its program."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        text = path.read_text()
        if int(text.rpartition(")")[2].split()[1]) == process and f"({name})" in text:
            return int(path.parent.name)
    raise AssertionError(f"no child called {name}")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_end_of_rays_own_process_is_told_at_once(folder: Path) -> None:
    process = start(folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    os.kill(child_of(process.pid, "gcs_server"), signal.SIGKILL)
    out, err = process.communicate(timeout=LIMIT_S)
    logs = next(folder.glob("eigen2-*/*/session_2*")) / "logs"
    assert err.splitlines()[0] == (
        "Ray's gcs_server ended unexpectedly, as when the machine runs out of memory; "
        f"Ray's log is {logs}/gcs_server.out"
    )
    assert (logs / "gcs_server.out").exists()
    assert (process.returncode, out) == (1, "")


def test_a_part_that_the_memory_monitor_ends_is_told_with_a_remedy(folder: Path) -> None:
    process = start(folder, RAY_memory_usage_threshold="0.001", RAY_memory_monitor_refresh_ms="100")
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert out.startswith("started\nRay ended it because its machine is out of memory (")
    assert out.endswith(f"; {LESS_MEMORY}\n")


def test_a_request_to_stop_while_ray_starts_is_answered(folder: Path) -> None:
    process = start(folder)
    wait_for(folder, "eigen2-*/*/session_2*/sockets")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=LIMIT_S)
    # Python may tell before it that the request came in the middle of a fork, where it ignores it
    assert "stopping: Ray is still starting, nothing was trained yet" in err.splitlines()
    assert (process.returncode, out) == (1, "")


def test_a_ray_that_starts_too_slowly_is_told_with_a_remedy(folder: Path) -> None:
    process = start(folder, RAY_gcs_server_port_wait_time_s="0")
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert err.startswith("Ray did not start on this machine: Timed out waiting for file ")
    assert "it may be too busy, or its memory or disk full: free some and try again (Ray's logs: " in err
