"""Where keys and bookkeeping lie in the home folder of a laptop or of a pod."""

import os
import re
import secrets
import socket
import subprocess
import tempfile
from pathlib import Path

from eigen2.errors import ConfigError, RunError

API_KEY = "RUNPOD_API_KEY"
OWN_POD_ID = "RUNPOD_POD_ID"  # set by RunPod in each pod
AUTH_TOKEN = "~/.ray/auth_token"
OWNER = "~/.eigen2/owner"
SECRETS = "~/.eigen2/secrets"  # on the head: one file a secret, readable by its owner alone
KEYGEN_S = 30
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # of a cluster or an owner: it becomes a folder and a pod's name


def api_key() -> str:
    """The API key: the one that was handed to this head, else that of the environment. Raises ConfigError for none.

    RunPod sets a key of its own in each pod, which may do less; so what was handed over comes first.
    """
    handed = Path(SECRETS).expanduser() / API_KEY
    found = handed.read_text(encoding="utf-8") if handed.is_file() else os.environ.get(API_KEY, "")
    if not found.strip():
        raise ConfigError(f"{API_KEY} is not set; make a key in RunPod's console and `export {API_KEY}=...`")
    return found.strip()


def check_name(what: str, name: object) -> str:
    """The name, if it can be part of a path. Raises ConfigError if not."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{what} {name!r}: use 1 to 63 letters, digits, `.`, `_` and `-`, a letter or digit first")
    return name


def owner() -> str:
    """Whose pods are rented from here: a name that is made once for the user of a machine, and kept in a file."""
    path = Path(OWNER).expanduser()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        user, host = os.environ.get("USER", "user"), socket.gethostname().partition(".")[0]
        readable = re.sub(r"[^A-Za-z0-9]+", "-", f"{user}-{host}").strip("-")[:50]
        _write_once(path, f"{readable}-{secrets.token_hex(4)}\n".lstrip("-"))
    return check_name(f"the owner in {path}", path.read_text(encoding="utf-8").strip())


def _write_once(path: Path, content: str) -> None:
    """Write a file unless another process was first; nobody sees it half-written."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent) as aside:
        aside.write(content)
        aside.flush()
        try:
            path.hardlink_to(aside.name)
        except FileExistsError:
            return


def bookkeeping(cluster_name: str, name: str) -> Path:
    """The file `name` with what this machine knows of a cluster; its folder is made."""
    folder = Path("~/.eigen2/cloud").expanduser() / check_name("cluster_name", cluster_name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / name


def cost_file() -> Path:
    """The head's ledger of what its cluster has cost; absent on every other machine."""
    return Path("~/.eigen2/cost.json").expanduser()


def known_file() -> Path:
    """What this machine knows of pods that it has asked for or seen, of whatever cluster."""
    return Path("~/.eigen2/pods.json").expanduser()


def keep_cost_on(volume: Path, pod_id: str) -> None:
    """Let the ledger of the head `pod_id` lie on a network volume: the disk of a pod is emptied when it is stopped."""
    link = cost_file()
    if not link.exists() and not link.is_symlink() and os.access(volume, os.W_OK):
        link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        link.symlink_to(volume / ".eigen2" / "cost" / f"{pod_id}.json")


def public_key(private_key: str) -> str:
    """The public half of an SSH key. Raises RunError if it isn't there."""
    path = Path(f"{private_key}.pub").expanduser()
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise RunError(f"SSH key {path} can't be read: {error.strerror}") from error


def make_ssh_key(private_key: str) -> None:
    """Make a key pair without a passphrase, unless there is one. Raises RunError if ssh-keygen can't."""
    path = Path(private_key).expanduser()
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "eigen2", "-f", str(path)]
    try:
        subprocess.run(command, check=True, timeout=KEYGEN_S, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(f"no SSH key could be made at {path}: {error}") from error


def make_auth_token(path: str = AUTH_TOKEN) -> None:
    """Make the token that all nodes and clients of Ray show each other, unless there is one; private in any case."""
    token = Path(path).expanduser()
    if not token.exists():
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32), encoding="utf-8")
    token.chmod(0o600)  # Ray's own tool leaves it readable by everyone
