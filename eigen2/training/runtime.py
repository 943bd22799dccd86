"""Where the parts of a run live: as Ray actors, or in this process.

The trainer speaks to parts only through a runtime, so it holds references and never knows where a part is.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from eigen2.errors import Eigen2Error, ResourceError, RunError

Reference = Any  # a Ray object reference, or in this process the value itself
POLL_S = 0.2


@dataclass(frozen=True)
class Share:
    """What a part takes of its node: CPUs and a fraction of a GPU."""

    cpus: float = 0.0
    gpus: float = 0.0
    with_driver: bool = False  # must live on the trainer's own node, where the run folder is


class Part(Protocol):
    """Something that runs somewhere and is called by the name of its method."""

    name: str

    def call(self, method: str, *args: Reference, returns: int = 1) -> Reference:
        """Start `method`; returns a reference to its result, or a list of `returns` references."""
        ...


class Runtime(Protocol):
    """Makes parts and waits for them."""

    def make(self, name: str, kind: type, share: Share, *args: Reference) -> Part:
        """A part of the given class, called `name` in messages."""
        ...

    def put(self, value: object) -> Reference:
        """Store a value once for all parts."""
        ...

    def gather(
        self, calls: Sequence[tuple[Part, Reference]], what: str, done: Callable[[int], None] = lambda _: None
    ) -> list[Any]:
        """The results of calls, in order; `done` hears how many are finished.

        Raises RunError naming the part when one fails, dies, or takes too long.
        """
        ...


class LocalPart:
    """A part in this process: a call runs at once."""

    def __init__(self, name: str, target: object) -> None:
        self.name, self._target = name, target

    def call(self, method: str, *args: Reference, returns: int = 1) -> Reference:
        result = getattr(self._target, method)(*args)
        return list(result) if returns > 1 else result


class LocalRuntime:
    """All parts in this process, one after another."""

    def make(self, name: str, kind: type, share: Share, *args: Reference) -> Part:
        return LocalPart(name, kind(*args))

    def put(self, value: object) -> Reference:
        return value

    def gather(
        self, calls: Sequence[tuple[Part, Reference]], what: str, done: Callable[[int], None] = lambda _: None
    ) -> list[Any]:
        done(len(calls))
        return [reference for _, reference in calls]


class RayPart:
    """A part in a process of its own."""

    def __init__(self, name: str, handle: ActorHandle[Any]) -> None:
        self.name, self._handle = name, handle

    def call(self, method: str, *args: Reference, returns: int = 1) -> Reference:
        return getattr(self._handle, method).options(num_returns=returns).remote(*args)


class RayRuntime:
    """Each part is an actor of the connected Ray cluster."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._names: dict[str, str] = {}  # of the parts, by their actors' ids

    def make(self, name: str, kind: type, share: Share, *args: Reference) -> Part:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options: dict[str, Any] = {"num_cpus": share.cpus, "num_gpus": share.gpus}
        if share.with_driver:
            options["scheduling_strategy"] = here
        actor: Any = ray.remote(kind)
        handle = actor.options(**options).remote(*args)
        self._names[handle._actor_id.hex()] = name
        return RayPart(name, handle)

    def put(self, value: object) -> Reference:
        return ray.put(value)

    def gather(
        self, calls: Sequence[tuple[Part, Reference]], what: str, done: Callable[[int], None] = lambda _: None
    ) -> list[Any]:
        references = [reference for _, reference in calls]
        deadline = time.monotonic() + self._wait_s
        finished: list[Any] = []
        while len(finished) < len(references) and time.monotonic() < deadline:
            finished, _ = ray.wait(references, num_returns=len(references), timeout=POLL_S, fetch_local=False)
            done(len(finished))
        return [self._result(part, reference, what) for part, reference in calls]

    def _result(self, part: Part, reference: Reference, what: str) -> Any:
        try:
            return ray.get(reference, timeout=POLL_S)
        except RayTaskError as error:
            if isinstance(error.cause, Eigen2Error):
                raise error.cause from error
            if isinstance(error.cause, RayActorError):
                # a part failed because another, which was to give it something, died
                raise self._death(error.cause, part, what) from error
            raise RunError(f"{part.name} failed to {what}: {_last_line(error)}") from error
        except RayActorError as error:
            raise self._death(error, part, what) from error
        except GetTimeoutError as error:
            raise ResourceError(
                f"{part.name} did not {what} within {self._wait_s:g} s; raise resources.wait_s or free the machine"
            ) from error

    def _death(self, error: RayActorError, part: Part, what: str) -> RunError:
        name = self._names.get(error.actor_id, part.name)
        return RunError(f"{name} died while it was to {what}: {_last_line(error)}")


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
