"""Why a part of a run failed: one sentence with the cause and, where memory or disk ran out, what to do about it."""

import re

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

from eigen2.errors import tells_of_memory

LESS_MEMORY = "lower evolution.population_size, ddpg.batch_size or replay.buffer_size, or use a larger machine"
LESS_GPU_MEMORY = "raise ddpg.micro_batches, or lower evolution.population_size or resources.members_per_gpu"
MORE_DISK = "free disk space, or let RAY_TMPDIR name a folder on a larger disk"
ENDED = "its process ended unexpectedly: it crashed, or was killed, as the system does where memory runs out"
NODE_LOST = "its node was lost"
BY_KIND: tuple[tuple[type[RayError], str], ...] = (
    (ActorUnavailableError, "its process can't be reached"),
    (NodeDiedError, NODE_LOST),
    (LocalRayletDiedError, NODE_LOST),
    (WorkerCrashedError, ENDED),
    (ObjectStoreFullError, f"Ray's object store and the disk behind it are full; {MORE_DISK}"),
    (OutOfDiskError, f"Ray's object store and the disk behind it are full; {MORE_DISK}"),
    (ObjectLostError, "what it was to be given was lost with the process or node that held it"),
)
BY_TEXT = (("node has died", NODE_LOST), ("worker process has died", ENDED))  # of an actor that died
USED = re.compile(r"[\d.]+GB used / [\d.]+GB")  # in the text of Ray's memory monitor


def reason_of(error: BaseException) -> str:
    """What happened, by what Ray raised for a part or what the part raised itself."""
    if isinstance(error, RayError):
        return _reason_of_ray(error)
    return _with_advice(f"{type(error).__name__}: {error}".strip())


def _reason_of_ray(error: RayError) -> str:
    text = str(error).strip() or type(error).__name__
    used = USED.search(text)
    if used or isinstance(error, OutOfMemoryError):
        return f"Ray ended it because its machine is out of memory{f' ({used[0]})' if used else ''}; {LESS_MEMORY}"
    for kind, reason in BY_KIND:
        if isinstance(error, kind):
            return reason
    for words, reason in BY_TEXT:
        if isinstance(error, RayActorError) and words in text:
            return reason
    return _with_advice(text.splitlines()[-1].strip())


def _with_advice(text: str) -> str:
    """The text of an exception, with what to do where it tells that memory ran out."""
    if "OutOfMemoryError" in text:  # torch's, of a GPU
        return f"its GPU is out of memory ({text.splitlines()[0]}); {LESS_GPU_MEMORY}"
    if tells_of_memory(text):
        return f"its machine is out of memory ({text.splitlines()[0]}); {LESS_MEMORY}"
    return text
