"""What this machine knows of the pods that it has asked for or seen: an answer of RunPod's may leave it out."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eigen2.cloud.places import known_file
from eigen2.cloud.pod import Label, Pod
from eigen2.cloud.shared_file import SharedFile

MOST = 2000  # entries of the file; the oldest go first
logger = logging.getLogger("eigen2")


@dataclass(frozen=True)
class Known:
    """The label of a pod, and whether anybody could log in to it at some time."""

    label: Label
    was_ready: bool = False


class KnownPods:
    """Labels of pods by id, and of requests by the pod's name. Safe between threads and processes.

    A file that can't be read or written is logged; what this process has seen goes on to serve.
    """

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._lock = threading.Lock()

    def expect(self, name: str, label: Label) -> None:
        """Remember a pod before it is asked for, by the name that no other request has."""
        with self._lock:
            self._remember({name: Known(label)})

    def complete(self, pods: Sequence[Pod]) -> list[Pod]:
        """The pods, completed by earlier answers where this one leaves fields out; new fields are remembered."""
        with self._lock:
            if any(pod.label is None or not self._was_ready(pod) for pod in pods):
                self._read()
            completed = [self._completed(pod) for pod in pods]
            self._remember({pod.id: Known(pod.label, pod.was_ready) for pod in completed if pod.label})
        return completed

    def _completed(self, pod: Pod) -> Pod:
        known = self._known.get(pod.id) or self._known.get(pod.name)
        label = pod.label or (known.label if known else None)
        usd_per_hour = label.usd_per_hour if label and pod.usd_per_hour is None else pod.usd_per_hour
        return replace(pod, label=label, usd_per_hour=usd_per_hour, was_ready=pod.ready or self._was_ready(pod))

    def _was_ready(self, pod: Pod) -> bool:
        known = self._known.get(pod.id)
        return known is not None and known.was_ready

    def _remember(self, entries: Mapping[str, Known]) -> None:
        new = {key: known for key, known in entries.items() if self._known.get(key) != known}
        if not new:
            return
        self._known |= new
        try:
            with _file().change() as found:
                found |= new
                for key in list(found)[:-MOST]:
                    del found[key]
        except OSError as error:
            logger.warning("the record of known pods can't be written: %s", error)

    def _read(self) -> None:
        try:
            self._known |= _file().read()
        except OSError as error:
            logger.warning("the record of known pods can't be read: %s", error)


def _file() -> SharedFile[Known]:
    return SharedFile(known_file(), Known)
