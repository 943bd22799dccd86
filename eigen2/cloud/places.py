"""Where keys and bookkeeping lie in the home folder of a laptop or of a pod."""

import os
import secrets
import subprocess
from pathlib import Path

from eigen2.errors import ConfigError, RunError

API_KEY = "RUNPOD_API_KEY"
OWN_POD_ID = "RUNPOD_POD_ID"  # set by RunPod in each pod
AUTH_TOKEN = "~/.ray/auth_token"
SECRETS = "~/.eigen2/secrets"  # on the head: one file a secret, readable by its owner alone
KEYGEN_S = 30


def api_key() -> str:
    """The API key: the one that was handed to this head, else that of the environment. Raises ConfigError for none.

    RunPod sets a key of its own in each pod, which may do less; so what was handed over comes first.
    """
    handed = Path(SECRETS).expanduser() / API_KEY
    found = handed.read_text(encoding="utf-8") if handed.is_file() else os.environ.get(API_KEY, "")
    if not found.strip():
        raise ConfigError(f"{API_KEY} is not set; make a key in RunPod's console and `export {API_KEY}=...`")
    return found.strip()


def bookkeeping(cluster_name: str, name: str) -> Path:
    """The file `name` with what this machine knows of a cluster; its folder is made."""
    folder = Path("~/.eigen2/cloud").expanduser() / cluster_name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / name


def cost_file() -> Path:
    """The head's ledger of what its cluster has cost; absent on every other machine."""
    return Path("~/.eigen2/cost.json").expanduser()


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
