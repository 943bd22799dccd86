"""Processes that outlive their trial: starting Python with torch costs seconds, which the next trial need not pay."""

from collections import defaultdict

from ray.actor import ActorHandle

from eigen2.training.host import Host
from eigen2.training.runtime import Part, RayPart, RayRuntime, Reference, Share

Process = ActorHandle[Host]


class WarmRuntime(RayRuntime):
    """Ray actors that are kept when a run is over, for the parts of the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._busy: list[tuple[Share, Process]] = []
        self._idle: dict[Share, list[Process]] = defaultdict(list)

    def end(self, part: Part) -> list[str]:
        assert isinstance(part, RayPart)
        self._busy = [(share, process) for share, process in self._busy if process != part.handle]
        return super().end(part)

    def rest(self) -> None:
        """The run is over: everyone waits for the next."""
        for share, process in self._busy:
            process.rest.remote()
            self._idle[share].append(process)
        self._busy.clear()
        self._rooms.clear()
        self._names.clear()

    @property
    def processes(self) -> list[str]:
        """Ids of the actors that are kept, busy or idle."""
        idle = [process for processes in self._idle.values() for process in processes]
        return sorted(process._actor_id.hex() for process in [*idle, *(process for _, process in self._busy)])

    def _alone(self, name: str, kind: type, share: Share, *args: Reference) -> RayPart:
        return self._lodge(name, kind, share, *args)

    def _host(self, share: Share) -> Process:
        process = self._idle[share].pop() if self._idle[share] else super()._host(share)
        self._busy.append((share, process))
        return process
