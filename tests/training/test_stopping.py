"""A request to stop that comes while C code keeps Python from hearing of it."""

import signal
import subprocess
import sys

import pytest

from eigen2.training import stopping

# blocked in C as a library is that looks after signals itself: its call goes on after one
BLOCKED = """
import ctypes, signal, sys
from eigen2.training import stopping
stopping.GRACE_S = 0.2
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)
    signal.siginterrupt(number, False)
with stopping.answering_signals():
    print("blocked", flush=True)
    ctypes.CDLL(None).read(0, ctypes.create_string_buffer(1), 1)
print("went on")
"""
SLOW = """
import time
from eigen2.training import stopping
stopping.SLOW_S = 0.1
with stopping.answering_signals():
    time.sleep(1)
"""
AFTER = """
import signal, sys
from eigen2.training.stopping import answering_signals
signal.signal(signal.SIGTERM, lambda *_: print("mine", flush=True))
with answering_signals():
    pass
print("blocked", flush=True)
sys.stdin.read()
"""


def signalled(script: str, how: signal.Signals) -> tuple[int, str, str]:
    """Signal a script that waits for its input: its exit code, what it printed, and on stderr."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "blocked\n"
        process.send_signal(how)
        if script == AFTER:
            assert process.stdout.readline() == "mine\n"
            out, err = process.communicate(timeout=60)
        else:
            process.wait(timeout=60)
            out, err = process.stdout.read(), process.stderr.read() if process.stderr else ""
        return process.returncode, out, err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_it_is_answered_and_ends_the_process_all_the_same(how: signal.Signals) -> None:
    code, out, err = signalled(BLOCKED, how)
    assert (code, out) == (1, "")
    assert err == f"{stopping.SAID}\n"


def test_a_ray_that_is_slow_to_start_is_told_once() -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, check=True)
    assert done.stderr == f"{stopping.SLOW}\n"


def test_afterwards_signals_are_the_callers_again() -> None:
    assert signalled(AFTER, signal.SIGTERM) == (0, "", "")
