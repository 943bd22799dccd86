"""Where the parts of a run live: as Ray actors, or in this process.

The trainer speaks to parts only through a runtime, so it holds references and never knows where a part is.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from eigen2.errors import Eigen2Error, RunError
from eigen2.training.failures import reason_of
from eigen2.training.health import HeadWatch, check_local_ray, head_address
from eigen2.training.host import Host

Reference = Any  # a Ray object reference, or in this process the value itself
Told = Callable[[int], None]  # hears how many of some calls are finished
POLL_S = 0.2


@dataclass(frozen=True)
class Share:
    """What a part takes of its node: CPUs and a fraction of a GPU."""

    cpus: float = 0.0
    gpus: float = 0.0
    together: int = 1  # parts that live in one process and take turns there
    with_driver: bool = False  # must live on the trainer's own node, where the run folder is
    near: str | None = None  # the node to live on if there is room, so that a population stays together

    @property
    def of_process(self) -> "Share":
        """What a process takes in which `together` such parts live."""
        return replace(self, cpus=self.cpus * self.together, gpus=self.gpus * self.together, together=1)


@dataclass(frozen=True)
class Failure:
    """A call that gave no result: whose fault it was, and what happened.

    culprit: name of the part that died, hung or raised; it may be another than the one called, when that one waited
    for something the culprit was to give it. None where an object was lost with its node.
    late: whether it may still come: there was no answer in time.
    """

    culprit: str | None
    message: str
    late: bool = False


class Part(Protocol):
    """Something that runs somewhere and is called by the name of its method."""

    name: str

    def call(self, method: str, *args: Reference, returns: int = 1) -> Reference:
        """Start `method`; returns a reference to its result, or a list of `returns` references."""
        ...


Calls = Sequence[tuple[Part, Reference]]


class Runtime(Protocol):
    """Makes parts, waits for them, and ends them."""

    def make(self, name: str, kind: type, share: Share, *args: Reference) -> Part:
        """A part of the given class, called `name` in messages."""
        ...

    def end(self, part: Part) -> list[str]:
        """End a part, whatever it is doing; the names of all that ended with it, its own among them."""
        ...

    def put(self, value: object) -> Reference:
        """Store a value once for all parts."""
        ...

    def collect(self, calls: Calls, wait_s: float, told: Told = lambda _: None) -> list[Any]:
        """The result of each call, in order, or a Failure in its place; whoever takes longer than `wait_s` has hung.

        Raises what a part raises of our own errors: they are answers, not accidents.
        """
        ...


def gather(runtime: Runtime, calls: Calls, what: str, wait_s: float, told: Told = lambda _: None) -> list[Any]:
    """The results of calls, in order. Raises RunError naming the part when one fails to do `what`."""
    results = runtime.collect(calls, wait_s, told)
    for (part, _), result in zip(calls, results, strict=True):
        if isinstance(result, Failure):
            raise RunError(f"{result.culprit or part.name} failed to {what}: {result.message}")
    return results


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

    def end(self, part: Part) -> list[str]:
        """Nothing to end: the part goes with its last reference."""
        return [part.name]

    def put(self, value: object) -> Reference:
        return value

    def collect(self, calls: Calls, wait_s: float, told: Told = lambda _: None) -> list[Any]:
        told(len(calls))
        return [reference for _, reference in calls]


class RayPart:
    """A part in a process of its own."""

    def __init__(self, name: str, handle: ActorHandle[Any]) -> None:
        self.name, self.handle = name, handle

    def call(self, method: str, *args: Reference, returns: int = 1) -> Reference:
        return getattr(self.handle, method).options(num_returns=returns).remote(*args)


class HostedPart(RayPart):
    """A part that lives with others."""

    def call(self, method: str, *args: Reference, returns: int = 1) -> Reference:
        return self.handle.call.options(num_returns=returns).remote(self.name, method, *args)


class RayRuntime:
    """Each part is an actor of the connected Ray cluster, or `Share.together` of them are one."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}  # of the parts in an actor, by its id
        self._rooms: dict[Share, tuple[ActorHandle[Any], int]] = {}  # the newest host, and how many it still takes
        self._head = HeadWatch(head_address)

    def make(self, name: str, kind: type, share: Share, *args: Reference) -> Part:
        part = self._lodge(name, kind, share, *args) if share.together > 1 else self._alone(name, kind, share, *args)
        self._names.setdefault(part.handle._actor_id.hex(), []).append(name)
        return part

    def end(self, part: Part) -> list[str]:
        assert isinstance(part, RayPart)
        ray.kill(part.handle)
        self._rooms = {share: room for share, room in self._rooms.items() if room[0] != part.handle}
        return self._names[part.handle._actor_id.hex()]

    def put(self, value: object) -> Reference:
        return ray.put(value)

    def collect(self, calls: Calls, wait_s: float, told: Told = lambda _: None) -> list[Any]:
        references = [reference for _, reference in calls]
        deadline = time.monotonic() + wait_s
        finished: list[Any] = []
        while len(finished) < len(references) and time.monotonic() < deadline:
            finished, _ = ray.wait(references, num_returns=len(references), timeout=POLL_S, fetch_local=False)
            told(len(finished))
            check_local_ray()
            self._head.check()
        # what is finished may lie on another node, and be long in coming
        fetch_s = dict.fromkeys(finished, wait_s)
        return [self._result(part, reference, wait_s, fetch_s.get(reference, 0.0)) for part, reference in calls]

    def _alone(self, name: str, kind: type, share: Share, *args: Reference) -> RayPart:
        return RayPart(name, self._actor(kind, share, *args))

    def _lodge(self, name: str, kind: type, share: Share, *args: Reference) -> RayPart:
        handle, places = self._rooms.get(share, (None, 0))
        if handle is None or not places:
            handle, places = self._host(share), share.together
        self._rooms[share] = (handle, places - 1)
        handle.take_in.remote(name, kind, *args)
        return HostedPart(name, handle)

    def _host(self, share: Share) -> ActorHandle[Any]:
        return self._actor(Host, share)

    def _actor(self, kind: type, share: Share, *args: Reference) -> ActorHandle[Any]:
        process = share.of_process
        options: dict[str, Any] = {"num_cpus": process.cpus, "num_gpus": process.gpus}
        if share.with_driver:
            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=False)
        elif share.near:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(share.near, soft=True)
        actor: Any = ray.remote(kind)
        return actor.options(**options).remote(*args)

    def _result(self, part: Part, reference: Reference, wait_s: float, fetch_s: float) -> Any:
        try:
            return ray.get(reference, timeout=fetch_s)
        except GetTimeoutError:
            return Failure(part.name, f"it gave no answer within {wait_s:.0f} s", late=True)
        except RayTaskError as error:
            return self._failure(error.cause, part)
        except RayError as error:
            return self._failure(error, part)

    def _failure(self, cause: BaseException, part: Part) -> Failure:
        match cause:
            case Eigen2Error():
                raise cause
            case RayActorError():
                names = self._names.get(cause.actor_id or "", [part.name])
                return Failure(part.name if part.name in names else names[0], reason_of(cause))
            case ObjectLostError():
                return Failure(None, reason_of(cause))
            case _:
                return Failure(part.name, reason_of(cause))
