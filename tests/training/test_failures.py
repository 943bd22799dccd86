"""What a run says of a part that failed: one sentence, with what to do where memory or disk ran out."""

import numpy as np
import pytest
import torch
from ray.exceptions import (
    ActorUnavailableError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)

from eigen2.training.failures import ENDED, LESS_GPU_MEMORY, LESS_MEMORY, MORE_DISK, NODE_LOST, reason_of

# as Ray 2.60 said them
MONITOR = """2 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 127.0.0.1) was \
2.56GB used / 23.54GB limit (0.108704)
OOM kill reason: Memory usage 2741731328B exceeded threshold of 505530016B (2.0% of 25276502016B limit)
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io/en/latest/"""
DIED = """The actor died unexpectedly before finishing this task.
	class_name: Member
	actor_id: 684e16fb406f4124a2d0a54c01000000
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file."""
NODE_DIED = """The actor died unexpectedly before finishing this task.
The actor died because its node has died. Node Id: 8c0f\n\tthe actor's node was terminated unexpectedly"""
CREATION = """The actor died because of an error raised in its creation task, ray::Member.__init__() (pid=3547)
  File "member.py", line 9, in __init__
"""


CUDA = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
KILLED = "The actor is dead because it was killed by `ray.kill`."
ENDED_FOR_MEMORY = f"Ray ended it because its machine is out of memory (2.56GB used / 23.54GB); {LESS_MEMORY}"
FULL = f"Ray's object store and the disk behind it are full; {MORE_DISK}"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OutOfMemoryError(MONITOR), ENDED_FOR_MEMORY),
        (RayActorError("a", MONITOR), ENDED_FOR_MEMORY),
        (OutOfMemoryError("in other words"), f"Ray ended it because its machine is out of memory; {LESS_MEMORY}"),
        (RayActorError("a", DIED), ENDED),
        (WorkerCrashedError(), ENDED),
        (RayActorError("a", NODE_DIED), NODE_LOST),
        (NodeDiedError("any"), NODE_LOST),
        (LocalRayletDiedError(), NODE_LOST),
        (ActorUnavailableError("RpcError: Socket closed", None), "its process can't be reached"),
        (ObjectStoreFullError("any"), FULL),
        (OutOfDiskError("any"), FULL),
        (ObjectLostError("ff", None, ""), "what it was to be given was lost with the process or node that held it"),
        (RayActorError("a", KILLED), KILLED),
        (RayActorError("a", f"{CREATION}KeyError: 'x'", actor_init_failed=True), "KeyError: 'x'"),
        (
            RayActorError("a", f"{CREATION}MemoryError: no", actor_init_failed=True),
            f"its machine is out of memory (MemoryError: no); {LESS_MEMORY}",
        ),
        (RayError(), "RayError"),
        (KeyError("lost"), "KeyError: 'lost'"),
        (ValueError(), "ValueError:"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee docs"),
            f"its GPU is out of memory ({CUDA}); {LESS_GPU_MEMORY}",
        ),
    ],
)
def test_a_sentence_for_each(error: BaseException, told: str) -> None:
    assert reason_of(error) == told
    assert "\n" not in told


def test_allocations_that_really_fail() -> None:
    for allocate in (lambda: np.zeros(10**15), lambda: torch.zeros(10**14)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        assert reason_of(caught.value).startswith("its machine is out of memory (")
        assert reason_of(caught.value).endswith(LESS_MEMORY)
