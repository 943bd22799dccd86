"""What the search proposes, as tasks for trials."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from tune.space import Values

Task = Callable[[str, int, Values], dict[str, Any]]
NUMBER = "number"


class Tasks(Searcher):
    """A searcher that gives Tune what `task` makes of (name, number, values) of each trial of another one."""

    def __init__(self, inner: Searcher, task: Task, enough: Callable[[], bool]) -> None:
        """enough: whether no more trials are wanted."""
        super().__init__()
        self._inner, self._task, self._enough = inner, task, enough

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """The searcher within knows its objectives."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next trial's task; None while there is nothing to propose; FINISHED after the last."""
        if self._enough():
            return Searcher.FINISHED
        proposed: Any = self._inner.suggest(trial_id)
        if not isinstance(proposed, dict):
            return proposed
        number = proposed[NUMBER]
        return self._task(name_of(number), number, {name: value for name, value in proposed.items() if name != NUMBER})

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass on a generation's result."""
        self._inner.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass on how a trial ended."""
        self._inner.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """As the searcher within does; a sweep goes on from its records, not from this."""
        self._inner.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """As the searcher within does."""
        self._inner.restore(checkpoint_path)


def name_of(number: int) -> str:
    """A trial's name, from its number, which counts from 0."""
    return f"trial_{number:04d}"
