"""Where W&B's credentials and settings lie. Never what the credentials are."""

import configparser
import logging
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT_SERVER = "https://api.wandb.ai"
VARIABLES = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")
SECTION = "default"  # the only one in W&B's settings files

logger = logging.getLogger("eigen2")


def credentials_source() -> str | None:
    """The environment variable or the netrc file that holds W&B's credentials, or None if nothing does.

    The server is WANDB_BASE_URL, else that of W&B's settings files. An unreadable netrc file causes a warning.
    """
    for name in VARIABLES:
        if os.environ.get(name):
            return name
    path = _netrc_path()
    if path is None:
        return None
    server = os.environ.get("WANDB_BASE_URL") or settings_in_files().get("base_url") or DEFAULT_SERVER
    try:
        return str(path) if netrc.netrc(path).authenticators(urlsplit(server).netloc) else None
    except FileNotFoundError:
        return None
    except (netrc.NetrcParseError, OSError) as error:
        # the message of a parse error can quote the file, and so the key
        logger.warning("%s can't be read (%s): no W&B key is taken from it", path, type(error).__name__)
        return None


def settings_in_files() -> Mapping[str, str]:
    """W&B's settings files: the user's own, and over it that of the working folder, which `wandb offline` writes."""
    found: dict[str, str] = {}
    for path in _settings_paths():
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError) as error:
            logger.warning("W&B's settings in %s can't be read (%s)", path, type(error).__name__)
        found |= dict(parser.items(SECTION)) if parser.has_section(SECTION) else {}
    return found


def _settings_paths() -> list[Path]:
    """In the order in which W&B reads them: the later one counts."""
    own = _expanded(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb")
    here = Path(os.environ.get("WANDB_DIR") or ".")
    workspace = here / (".wandb" if (here / ".wandb").is_dir() else "wandb")
    return [folder / "settings" for folder in (own, workspace) if folder is not None]


def _netrc_path() -> Path | None:
    return _expanded(os.environ.get("NETRC") or "~/.netrc")


def _expanded(path: str) -> Path | None:
    """A path with `~` resolved; None where the user has no home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return None
