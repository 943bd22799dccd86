"""Calls that may hang."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


class HungError(TimeoutError):
    """A call gave no answer in its time."""


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """What `call` returns or raises. Raises HungError if it takes longer; it goes on in its thread, unheard.

    The thread is a daemon: it does not keep the process from ending, which that of an executor would.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where `within` was called
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    wait([future], seconds)
    if not future.done():
        raise HungError(f"no answer within {seconds:.0f} s")
    return future.result()
