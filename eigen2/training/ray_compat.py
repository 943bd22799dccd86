"""What Ray has no public name for: its handler of SIGTERM, its printing, and whether its own processes live."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import utils, worker

ESSENTIAL = ("gcs_server", "raylet")  # a local Ray does not outlive them

logger = logging.getLogger("eigen2.ray")


@contextmanager
def caller_handles_sigterm() -> Iterator[None]:
    """`ray.init` within leaves SIGTERM to its caller, whose handler is there again after it.

    Ray's handler in Python would end the process without a word, its other one, in C++, with a page about a crash.
    """
    setter, handler = utils.set_sigterm_handler, signal.getsignal(signal.SIGTERM)
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = setter
        if handler is not None and threading.current_thread() is threading.main_thread():  # the only one that may
            signal.signal(signal.SIGTERM, handler)


def keep_ray_off_the_terminal() -> None:
    """Ray prints pages about processes that end, whatever `log_to_driver` says; a run tells of them in a sentence."""
    worker.print_to_stdstream = _log


def _log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    for line in data["lines"]:
        logger.debug("%s", line)


def ended_processes() -> list[str]:
    """Processes without which the Ray that this process started can't go on, and that have ended."""
    node = worker._global_node
    if node is None or not node.is_head():
        return []
    return [kind for kind, _ in node.dead_processes() if kind in ESSENTIAL]


def logs_folder() -> str:
    """The folder of the connected Ray's logs on this machine."""
    node = worker._global_node
    return "" if node is None else str(node.get_logs_dir_path())
