"""Processes that outlive their trial: starting Python with torch costs seconds, which the next trial need not pay."""

from collections import defaultdict
from typing import Any

from eigen2.training.runtime import Part, RayPart, RayRuntime, Reference, Share


class Host:
    """A process that plays one part after another. It runs as a Ray actor."""

    def __init__(self) -> None:
        self._target: Any = None
        self._maker: tuple[type, tuple[Any, ...]] | None = None

    def become(self, kind: type, *args: Any) -> None:
        """Take up a new part; it is made on its first call, so that whatever goes wrong is that call's answer."""
        self._target, self._maker = None, (kind, args)

    def call(self, method: str, *args: Any) -> Any:
        """The result of a method of the part."""
        if self._maker:
            kind, given = self._maker
            self._target, self._maker = kind(*given), None
        return getattr(self._target, method)(*args)

    def rest(self) -> None:
        """Let go of the part and its memory."""
        self._target = self._maker = None


class HostedPart(RayPart):
    """A part played by a host."""

    def call(self, method: str, *args: Reference, returns: int = 1) -> Reference:
        return self.handle.call.options(num_returns=returns).remote(method, *args)


class WarmRuntime(RayRuntime):
    """Ray actors that are kept when a run is over, for the parts of the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._busy: list[tuple[Share, HostedPart]] = []
        self._idle: dict[Share, list[HostedPart]] = defaultdict(list)

    def make(self, name: str, kind: type, share: Share, *args: Reference) -> Part:
        idle = self._idle[share]
        handle = idle.pop().handle if idle else self._actor(Host, share)
        part = HostedPart(name, handle)
        self._know(part)
        self._busy.append((share, part))
        handle.become.remote(kind, *args)
        return part

    def end(self, part: Part) -> None:
        super().end(part)
        self._busy = [(share, other) for share, other in self._busy if other is not part]

    def rest(self) -> None:
        """The run is over: everyone waits for the next."""
        for share, part in self._busy:
            part.handle.rest.remote()
            self._idle[share].append(part)
        self._busy.clear()

    @property
    def processes(self) -> list[str]:
        """Ids of the actors that are kept, busy or idle."""
        idle = [part for parts in self._idle.values() for part in parts]
        return sorted(part.handle._actor_id.hex() for part in [*idle, *(p for _, p in self._busy)])
