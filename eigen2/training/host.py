"""A process that several parts share: they take turns, and start Python and torch once."""

from typing import Any


class Host:
    """A process in which parts live, for a while or for good. It runs as a Ray actor."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}
        self._makers: dict[str, tuple[type, tuple[Any, ...]]] = {}

    def take_in(self, name: str, kind: type, *args: Any) -> None:
        """Take up a part; it is made on its first call, so that whatever goes wrong is that call's answer."""
        self._parts.pop(name, None)
        self._makers[name] = (kind, args)

    def call(self, name: str, method: str, *args: Any) -> Any:
        """The result of a method of a part."""
        if name in self._makers:
            kind, given = self._makers[name]
            self._parts[name] = kind(*given)
            del self._makers[name]
        return getattr(self._parts[name], method)(*args)

    def rest(self) -> None:
        """Let go of all parts and their memory."""
        self._parts.clear()
        self._makers.clear()
