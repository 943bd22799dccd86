"""The crew: the members and the replay buffer, each of which may die at any time and comes back as it was.

A part changes only in phases, and what it was before a phase lies in the vault. A part that dies, hangs or raises is
made anew, anywhere in the cluster, takes up that state and repeats the phase: the numbers are the same.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eigen2.config import ResourcesConfig
from eigen2.errors import ResourceError, RunError
from eigen2.training.runtime import Failure, Part, Reference, Runtime, Share, Told, gather

ATTEMPTS = 3  # a part that fails a phase as often is poisoned
RETRY_S = 1.0
LOOK_S = 2.0  # between looks whether the cluster still has room for parts that are starting
FIT_S = 30.0  # parts that do not stand after as long, or after twice the longest start, are made anew
REPLAY = "replay"

Make = Callable[[Share], Part]
Arguments = Callable[[int], tuple[Reference, ...]]
# what a call leaves in the vault: the part's state after it, the second of the two things it returns, or nothing
Leaves = Literal["state", "rows", "judgement", "nothing"]


@dataclass
class Post:
    """A place in the crew: the name of its state, how its part is made, and the part that holds it now."""

    name: str
    make: Make
    part: Part


class Crew:
    """N members and the replay buffer, looked after."""

    def __init__(
        self,
        runtime: Runtime,
        vault: Part,
        resources: ResourcesConfig,
        makers: Sequence[tuple[str, Make]],
        fit: Callable[[], Share],
        warn: Callable[[str], None],
    ) -> None:
        """makers: (name of the state, how to make the part), members first, the replay buffer last.

        fit: the share of a member on the cluster as it is; raises ResourceError where nothing fits.
        warn: hears in a sentence of each part that is lost.
        """
        self._runtime, self._vault, self._resources = runtime, vault, resources
        self._fit, self._warn = fit, warn
        self._share = fit()
        self._posts = [Post(name, make, make(self._share)) for name, make in makers]
        self._longest_s: dict[str, float] = {}
        self._begun = False  # whether the vault holds a state of everyone
        self.members = range(len(makers) - 1)
        self.replay = len(makers) - 1

    @property
    def names(self) -> list[str]:
        """The names of the states, members first, the replay buffer last."""
        return [post.name for post in self._posts]

    def start(self, told: Told) -> None:
        """Wait until everyone stands, and hold what they begin with."""
        self.each("start", range(len(self._posts)), "ready", lambda _: (), told, leaves="state")
        self._begun = True

    def restore(self, told: Told) -> None:
        """Let everyone take up what the vault holds."""
        everyone = range(len(self._posts))
        calls = [(self._posts[number].part, self._load(number)) for number in everyone]
        gather(self._runtime, calls, "take up its state", self._patience_s("restore"), told)

    def each(
        self,
        phase: str,
        numbers: Sequence[int],
        method: str,
        arguments: Arguments,
        told: Told = lambda _: None,
        leaves: Leaves = "nothing",
    ) -> list[Any]:
        """Call `method` of the parts with these numbers; results in their order.

        Who fails is made anew and called again, with arguments made anew. Raises RunError when one part fails ATTEMPTS
        times, ResourceError when nothing can run it any more.
        """
        results: dict[int, Any] = {}
        failures: dict[str, Failure] = {}
        failed: Counter[str] = Counter()
        while True:
            for number in self._recover(phase, failures) if failures else ():
                results.pop(number, None)
            due = [number for number in numbers if number not in results]
            failures = self._try(phase, due, method, arguments, told, leaves, results)
            if not failures:
                if leaves != "nothing":
                    self._ask_vault("commit")
                return [results[number] for number in numbers]
            failed.update(failures.keys())
            name, times = failed.most_common(1)[0]
            if times == ATTEMPTS:
                raise RunError(f"{name} failed {ATTEMPTS} times to {phase}: {failures[name].message}")
            if len(due) == len(numbers):
                self._longest_s.pop(phase, None)  # a new process is slower at first than one that is warm

    def call_replay(self, method: str, *args: Reference) -> Reference:
        """Start a method of the replay buffer whose result only other parts will see."""
        return self._posts[self.replay].part.call(method, *args)

    def _try(
        self,
        phase: str,
        due: Sequence[int],
        method: str,
        arguments: Arguments,
        told: Told,
        leaves: Leaves,
        results: dict[int, Any],
    ) -> dict[str, Failure]:
        """One attempt: fills `results`, returns the failures by the name of the part to blame."""
        returns = 1 if leaves in ("state", "nothing") else 2
        given = [self._posts[n].part.call(method, *arguments(n), returns=returns) for n in due]
        answers = {n: reference[0] if returns > 1 else reference for n, reference in zip(due, given, strict=True)}
        done, failures = self._collect(phase, answers, told)
        if leaves != "nothing":
            # only now: the vault takes one thing at a time, and must not wait for a part that hangs
            left = {n: reference[-1] for n, reference in zip(due, given, strict=True) if n in done and returns > 1}
            _, lost = self._collect("lay down", {n: self._stage(n, leaves, left.get(n)) for n in done})
            failures |= lost
        lost_parts = set(failures)
        results.update({n: result for n, result in done.items() if self._posts[n].part.name not in lost_parts})
        return failures

    def _collect(
        self, phase: str, calls: dict[int, Reference], told: Told = lambda _: None
    ) -> tuple[dict[int, Any], dict[str, Failure]]:
        """The results of calls by number, and the failures by the name of the part to blame."""
        started = time.monotonic()
        pairs = [(self._posts[number].part, reference) for number, reference in calls.items()]
        done: dict[int, Any] = {}
        failures: dict[str, Failure] = {}
        outcomes = self._runtime.collect(pairs, self._patience_s(phase), told)
        for number, outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, Failure):
                failures.setdefault(outcome.culprit or self._posts[number].part.name, outcome)
            else:
                done[number] = outcome
        if not failures:
            self._longest_s[phase] = max(self._longest_s.get(phase, 0.0), time.monotonic() - started)
        return done, failures

    def _stage(self, number: int, leaves: Leaves, second: Reference | None) -> Reference:
        """Start laying down what a call left: the second thing it returned, or else the part's state."""
        post = self._posts[number]
        if second is not None:
            return self._vault.call("stage", left_name(post.name, leaves), second)
        return self._vault.call("stage", post.name, post.part.call("state"))

    def _patience_s(self, phase: str) -> float:
        """How long a phase may take: a multiple of its longest time so far; before that, as long as any wait."""
        known = phase in self._longest_s
        measured = self._resources.patience * self._longest_s[phase] if known else self._resources.wait_s
        return max(self._resources.min_patience_s, measured)

    def _recover(self, phase: str, failures: dict[str, Failure]) -> list[int]:
        """Make the failed parts anew, and who lived with them: the numbers of those for whom the phase begins again."""
        by_part = {post.part.name: number for number, post in enumerate(self._posts)}
        for name, failure in failures.items():
            if name not in by_part:
                raise RunError(f"{name} was lost in phase {phase}: {failure.message}")
            self._warn(f"{name} was lost in phase {phase}: {failure.message}; it is made anew and repeats the phase")
        lost = self._end([by_part[name] for name in failures])
        return self._remake(lost + self._hung_above(phase, lost))

    def _hung_above(self, phase: str, lost: Sequence[int]) -> list[int]:
        """The replay buffer, if it gives no answer: who waited for it seemed to hang.

        Raises RunError if the vault gives none: without it nobody comes back.
        """
        asked = [self._vault] if self.replay in lost else [self._vault, self._posts[self.replay].part]
        calls = [(part, part.call("ready")) for part in asked]
        vault, *replay = self._runtime.collect(calls, self._resources.min_patience_s)
        if isinstance(vault, Failure):
            raise RunError(f"{self._vault.name} was lost in phase {phase}: {vault.message}")
        if not any(isinstance(outcome, Failure) for outcome in replay):
            return []
        self._warn(f"{asked[-1].name} was lost in phase {phase}: {replay[0].message}; it is made anew")
        return [self.replay]

    def _remake(self, lost: list[int]) -> list[int]:
        """Make parts anew with the state the vault holds; the numbers of all that were."""
        deadline = time.monotonic() + self._resources.wait_s
        made: set[int] = set()
        while True:
            share = self._await_fit(deadline)
            if smaller(share, self._share):
                self._warn(f"the cluster is smaller: a member now takes {share.cpus:g} CPUs and {share.gpus:g} GPUs")
                lost = list(range(len(self._posts)))
            self._share = share
            lost = self._end(lost)
            made.update(lost)
            for number in lost:
                self._posts[number].part = self._posts[number].make(share)
            lost = self._not_standing(lost)
            if not lost:
                return sorted(made)
            if time.monotonic() > deadline:
                names = ", ".join(self._posts[number].part.name for number in lost)
                raise ResourceError(f"nothing could run {names} within resources.wait_s {self._resources.wait_s:g} s")

    def _end(self, numbers: Sequence[int]) -> list[int]:
        """End parts; the numbers of all that ended, since some live together."""
        gone = {name for number in numbers for name in self._runtime.end(self._posts[number].part)}
        return [number for number, post in enumerate(self._posts) if post.part.name in gone]

    def _not_standing(self, numbers: list[int]) -> list[int]:
        """Let new parts take up their state, if they had one; the numbers of those that could not."""
        calls = [(self._posts[number].part, self._load(number)) for number in numbers]
        until = time.monotonic() + max(FIT_S, 2 * self._longest_s.get("start", 0.0))
        while True:
            outcomes = self._runtime.collect(calls, LOOK_S)
            failed = [n for n, outcome in zip(numbers, outcomes, strict=True) if isinstance(outcome, Failure)]
            starting = all(outcome.late for outcome in outcomes if isinstance(outcome, Failure))
            if not (failed and starting and self._still_fits()) or time.monotonic() > until:
                return failed

    def _still_fits(self) -> bool:
        """Whether the cluster still has room for everyone at the present share."""
        try:
            share = self._fit()
        except ResourceError:
            return False
        return not smaller(share, self._share)

    def _await_fit(self, deadline: float) -> Share:
        """The share of a member, once the cluster can run all of them."""
        told = False
        while True:
            try:
                return self._fit()
            except ResourceError as error:
                if time.monotonic() > deadline:
                    raise
                if not told:
                    self._warn(f"waiting up to {self._resources.wait_s:g} s for room: {error}")
                    told = True
                time.sleep(RETRY_S)

    def _load(self, number: int) -> Reference:
        """Start letting a part take up its state; as everyone starts there is none yet."""
        post = self._posts[number]
        if not self._begun:
            return post.part.call("ready")
        return post.part.call("load_state", self._vault.call("held", post.name))

    def _ask_vault(self, method: str) -> Any:
        return gather(self._runtime, [(self._vault, self._vault.call(method))], method, self._resources.wait_s)[0]


def smaller(share: Share, other: Share) -> bool:
    """Whether a share has less of something than another."""
    return share.cpus < other.cpus or share.gpus < other.gpus


def member_name(number: int) -> str:
    """The name of a member's state, in the vault and in a checkpoint."""
    return f"member_{number:04d}"


def left_name(name: str, leaves: Leaves) -> str:
    """The name, in the vault, of what a member left beside its state: the transitions it played last, its judgement."""
    return f"{name} {leaves}"
