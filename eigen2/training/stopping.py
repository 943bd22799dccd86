"""A request to stop, by SIGTERM or Ctrl-C, that comes while a library's C code keeps Python from hearing of it."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

GRACE_S = 5.0
STOPPING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@contextmanager
def answering_signals(said: str = "stopping: Ray is still starting, nothing was trained yet") -> Iterator[None]:
    """Within, a request to stop is answered in a line at once, and ends the process after GRACE_S at the latest.

    Python's own handlers, which may end it sooner, wait until C code comes back to Python: up to 30 s while Ray starts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives signals to the main thread alone
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer, args=(receiver, said), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sender.close()
        thread.join()


def _answer(receiver: socket.socket, said: str) -> None:
    """Wait for a signal's number; the end of what can be read means that there will be none."""
    with receiver:
        while number := receiver.recv(1):
            if number[0] in STOPPING:
                sys.stderr.write(f"{said}\n")
                _end_late(receiver)
                return


def _end_late(receiver: socket.socket) -> None:
    receiver.settimeout(GRACE_S)
    try:
        while receiver.recv(1):
            pass
    except TimeoutError:
        os._exit(1)  # Ray's processes end with the thread that started them
