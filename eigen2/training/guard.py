"""Who may speak to Ray: whoever does can run code on each of its nodes.

A local Ray listens on loopback alone, and each port that takes commands asks for a token that only the user can read.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
from ray._common.utils import get_ray_address_file
from ray._private import ray_constants
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.services import canonicalize_bootstrap_address_or_die

from eigen2.errors import ResourceError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
ADDRESS = "RAY_ADDRESS"
PROCESSES = Path("/proc")
HARMLESS_CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"
ASK_S = 5.0

logger = logging.getLogger("eigen2")


@contextmanager
def on_loopback() -> Iterator[None]:
    """A Ray that is started within listens on loopback only, with all of its processes.

    Ray turns a loopback address that it is given into the machine's own, except where clusters are switched off, as
    they are by default on macOS and Windows. The switch has no public name, and is read long after the environment.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def make_token() -> None:
    """See that a local Ray has a token, and that no one else can read it; Ray's own file is readable by everyone."""
    if os.environ.get(MODE, "token").lower() != "token" or os.environ.get(TOKEN) or os.environ.get(TOKEN_PATH):
        return
    path = Path("~/.ray/auth_token").expanduser()
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32), encoding="utf-8")
        except OSError:  # a home that can't be written: the token lives as long as this process
            os.environ[TOKEN] = secrets.token_hex(32)
            return
    with suppress(PermissionError):  # another's file is theirs to close
        path.chmod(0o600)


def meet(address: str) -> None:
    """Show the token to a cluster's head, at host:port, that asks for one; say so where it answers anyone.

    A cluster that asks for none is not shown one: it would cancel every actor. RAY_AUTH_MODE, where it is set, decides.
    """
    if os.environ.get(MODE):
        return
    if asks_for_token(address):
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    else:
        logger.warning(
            "the cluster at %s takes commands from anyone who reaches its ports; start it with RAY_AUTH_MODE=token, or "
            "set RAY_AUTH_MODE=disabled if that is meant",
            address,
        )


def find_own_cluster() -> str:
    """host:port of the head that Ray finds from this machine, for `auto`.

    Ray takes it from the command line of any raylet, or from a file that every user may write; whoever is joined gets
    the token. Raises OSError if none is found, ResourceError if another user started it.
    """
    with on_loopback():  # where a local Ray listens; else Ray gives the machine's own address in its place
        address = str(canonicalize_bootstrap_address_or_die("auto"))
    if not os.environ.get(ADDRESS) and not named_by_us(address, Path(get_ray_address_file(None))):
        raise ResourceError(
            f"resources.address: auto finds the Ray at {address}, which another user of this machine started; name "
            "your own as host:port"
        )
    return address


def named_by_us(address: str, file: Path) -> bool:
    """Whether a process of this user or of root names a head's address in its command line, or their file holds it."""
    ours = {0, os.geteuid()}
    if file.is_file() and file.stat().st_uid in ours and file.read_text().strip() == address:
        return True
    if not PROCESSES.is_dir():
        return True  # not Linux: it can't be seen
    for process in PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            words = (process / "cmdline").read_bytes().split(b"\0")
            if f"--gcs-address={address}".encode() in words and process.stat().st_uid in ours:
                return True
    return False


def asks_for_token(address: str) -> bool:
    """Whether a cluster's head, at host:port, refuses who shows no token."""
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(HARMLESS_CALL)(b"", timeout=ASK_S)
        except grpc.RpcError as error:
            return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
        return False
