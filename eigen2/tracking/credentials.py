"""Where W&B's credentials lie. Never what they are."""

import logging
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_SERVER = "https://api.wandb.ai"
VARIABLES = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")

logger = logging.getLogger("eigen2")


def credentials_source() -> str | None:
    """The environment variable or the netrc file that holds W&B's credentials, or None if nothing does.

    The server is WANDB_BASE_URL, as for W&B itself. A netrc file that can't be read is told as a warning.
    """
    for name in VARIABLES:
        if os.environ.get(name):
            return name
    path = _netrc_path()
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or DEFAULT_SERVER).netloc
    try:
        return str(path) if netrc.netrc(path).authenticators(host) else None
    except FileNotFoundError:
        return None
    except (netrc.NetrcParseError, OSError) as error:
        # the message of a parse error can quote the file, and so the key
        logger.warning("%s can't be read (%s): no W&B key is taken from it", path, type(error).__name__)
        return None


def _netrc_path() -> Path:
    return Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
