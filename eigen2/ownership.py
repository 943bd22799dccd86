"""Whether a file is this user's own work on this machine, or came from elsewhere with its folder.

A mark beside the file tells: the HMAC of its content, by a key that lies in the user's home and nowhere else.
"""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from eigen2.files import read_regular, write_atomically

KEY_BYTES = 32


def write_owned(path: Path, content: bytes) -> None:
    """Write a file as `write_atomically` does, and mark it as this user's. Without a home there is no mark."""
    write_atomically(path, content)
    if (key := _key()) is not None:
        write_atomically(_mark(path), _digest(key, content).encode())


def is_owned(path: Path) -> bool:
    """Whether a file is as `write_owned` left it, by this user on this machine."""
    try:
        content, found = read_regular(path), read_regular(_mark(path))
    except OSError:
        return False
    key = _key()
    return key is not None and hmac.compare_digest(found, _digest(key, content).encode())


def _mark(path: Path) -> Path:
    return path.with_name(f".{path.name}.mark")


def _digest(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _key() -> bytes | None:
    """The user's key, made where there is none; None where the home can't be written."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        path = Path(state).expanduser() / "eigen2" / "key"
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), open(path, "xb", opener=_private) as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        key = path.read_bytes()
    except (OSError, RuntimeError):  # the latter where no home is known
        return None
    return key if len(key) == KEY_BYTES else None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
