"""A request to stop, by SIGTERM or Ctrl-C, that comes while a library's C code keeps Python from hearing of it."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

GRACE_S = 5.0
SLOW_S = 20.0
SAID = "stopping: Ray is still starting, nothing was trained yet"
SLOW = "Ray is not ready yet: this machine is busy, or short of memory or disk; waiting for it"
STOPPING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@contextmanager
def answering_signals() -> Iterator[None]:
    """Within, a request to stop is answered in a line at once, and ends the process after GRACE_S at the latest.

    After SLOW_S a line says what may be the reason.
    Python's own handlers, which may end it sooner, wait until C code comes back to Python: up to 30 s while Ray starts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives signals to the main thread alone
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer, args=(receiver,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sender.close()
        thread.join()


def _answer(receiver: socket.socket) -> None:
    with receiver:
        receiver.settimeout(SLOW_S)
        try:
            stop = _asked_to_stop(receiver)
        except TimeoutError:
            sys.stderr.write(f"{SLOW}\n")
            receiver.settimeout(None)
            stop = _asked_to_stop(receiver)
        if stop:
            sys.stderr.write(f"{SAID}\n")
            _end_late(receiver)


def _asked_to_stop(receiver: socket.socket) -> bool:
    """Wait for the number of a signal that asks to stop; False at the end of what can be read."""
    while number := receiver.recv(1):
        if number[0] in STOPPING:
            return True
    return False


def _end_late(receiver: socket.socket) -> None:
    receiver.settimeout(GRACE_S)
    try:
        while receiver.recv(1):
            pass
    except TimeoutError:
        os._exit(1)  # Ray's processes end with the thread that started them
