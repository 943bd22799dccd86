"""Ray's ports: which of them listen where, and whom they answer."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import ray

from eigen2.config import ResourcesConfig
from eigen2.training.cluster import connect
from eigen2.training.guard import ADDRESS, HARMLESS_CALL, TOKEN, make_token, named_by_us

ROOT = Path(__file__).parents[2]
LIMIT_S = 480
LISTENING = "0A"
FAMILIES = {"/proc/net/tcp": socket.AF_INET, "/proc/net/tcp6": socket.AF_INET6}
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
MANY = 9  # gcs, raylet and object manager, three agents, monitor, dashboard, driver; workers come on top

CLUSTER = """
import os, subprocess, sys
from ray.cluster_utils import Cluster
driver, mode = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
os.environ.pop("RAY_AUTH_MODE")
os.environ.update({"RAY_AUTH_MODE": mode} if mode else {})
code = subprocess.run([sys.executable, "-c", driver, cluster.address]).returncode
cluster.shutdown()
sys.exit(code)
"""
DRIVER = """
import logging, sys
from eigen2.config import ResourcesConfig
from eigen2.training.cluster import connect
from eigen2.training.runtime import RayRuntime, Share
logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
connect(ResourcesConfig(address=sys.argv[1]))
class Worker:
    def work(self):
        return 1
runtime = RayRuntime()
part = runtime.make("a worker", Worker, Share())
assert runtime.collect([(part, part.call("work"))], 60) == [1]
"""

INTRUDER = """
import os, socket, sys
from pathlib import Path
session, user = Path(sys.argv[1]), int(sys.argv[2])
os.setgroups([])
os.setgid(user)
os.setuid(user)
def connect():
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(session / "sockets" / "raylet"))
tries = {
    "list": lambda: os.listdir(session / "sockets"),
    "connect": connect,
    "replace": lambda: (session / "sockets" / "raylet").rename(session / "sockets" / "mine"),
    "write": lambda: (session / "planted").write_text("mine"),
    "read": lambda: next((session / "logs").glob("gcs_server.*")).read_text(),
}
for name, attempt in tries.items():
    try:
        attempt()
        print(name)
    except (PermissionError, StopIteration):
        pass
"""
NOBODY = 65534


@pytest.fixture(scope="module")
def _local() -> Iterator[None]:
    connect(ResourcesConfig(num_cpus=2))
    yield
    ray.shutdown()


def sockets_listening() -> dict[str, str]:
    """Inode of each listening TCP socket of the machine -> its address."""
    found = {}
    for table, family in FAMILIES.items():
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENING:
                words = bytes.fromhex(local.split(":")[0])
                address = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
                found[inode] = socket.inet_ntop(family, address)
    return found


def children_of(process: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    family = [process]
    for parent in family:
        family += [child for child, its_parent in parents.items() if its_parent == parent]
    return family


def addresses_of(process: int) -> list[str]:
    """The addresses on which a process listens."""
    listening, found = sockets_listening(), []
    for handle in Path(f"/proc/{process}/fd").iterdir():
        try:
            inode = str(handle.readlink()).removeprefix("socket:[").removesuffix("]")
        except OSError:
            continue
        if inode in listening:
            found.append(listening[inode])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("_local")
def test_every_port_of_a_local_ray_listens_on_loopback() -> None:
    ray.get(ray.remote(lambda: None).remote())  # workers have ports as well
    addresses = [address for process in children_of(os.getpid()) for address in addresses_of(process)]
    assert len(addresses) >= MANY
    assert set(addresses) <= LOOPBACK


def test_the_search_sees_a_port_on_all_interfaces() -> None:
    with socket.create_server(("0.0.0.0", 0)):
        assert "0.0.0.0" in addresses_of(os.getpid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.usefixtures("_local")
def test_another_user_reaches_nothing_of_a_local_rays_folder() -> None:
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    assert (session / "sockets" / "raylet").is_socket()
    command = [sys.executable, "-c", INTRUDER, str(session), str(NOBODY)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "", "what another user could do"


@pytest.mark.usefixtures("_local")
def test_a_local_ray_answers_no_one_without_its_token() -> None:
    with grpc.insecure_channel(ray.get_runtime_context().gcs_address) as channel, pytest.raises(grpc.RpcError) as told:
        channel.unary_unary(HARMLESS_CALL)(b"", timeout=LIMIT_S)
    assert told.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("cluster", "driver", "warned"), [("disabled", "", True), ("token", "", False), ("disabled", "disabled", False)]
)
def test_a_cluster_that_answers_anyone_is_told(cluster: str, driver: str, warned: bool) -> None:
    """A driver without RAY_AUTH_MODE shows the token that it has where it is asked for, and can work either way."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": cluster, TOKEN: "recognisable" * 4}
    command = [sys.executable, "-c", CLUSTER, DRIVER, driver]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("takes commands from anyone" in done.stdout) == warned
    assert "recognisable" not in done.stdout + done.stderr


NAMES_A_HEAD = """
import os, sys
if os.geteuid() == 0:
    os.setuid(int(sys.argv[1]))
print("running", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="reads /proc; only root can act as others")
@pytest.mark.parametrize("user", [0, NOBODY])
def test_auto_joins_only_a_ray_that_this_user_or_root_started(tmp_path: Path, user: int) -> None:
    address, file = "127.0.0.1:1", tmp_path / "ray_current_cluster"
    assert not named_by_us(address, file)
    file.write_text(f"{address}\n")
    os.chown(file, user, user)
    assert named_by_us(address, file) == (user == 0)
    file.unlink()
    command = [sys.executable, "-c", NAMES_A_HEAD, str(user), f"--gcs-address={address}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        assert named_by_us(address, file) == (user == 0)
        assert not named_by_us("127.0.0.1:2", file)
        process.communicate()


@pytest.mark.usefixtures("_local")
def test_auto_finds_a_local_ray_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, ray.get_runtime_context().gcs_address)  # other Rays may run here, too
    command = [sys.executable, "-c", DRIVER, "auto"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the token of a home without one will lie."""
    for name in list(os.environ):
        if name.startswith("RAY_AUTH"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ray" / "auth_token"


def test_the_token_is_the_users_alone(token: Path) -> None:
    make_token()
    made = token.read_text()
    assert len(made) == 64
    token.chmod(0o644)
    make_token()
    assert token.read_text() == made
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


def test_a_home_that_takes_no_token_is_no_hindrance(token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "")
    token.parent.write_text("a file where the folder should be")
    make_token()
    assert len(os.environ[TOKEN]) == 64
