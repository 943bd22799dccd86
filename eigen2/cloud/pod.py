"""A pod as RunPod tells of it, and what we wrote into it when it was rented."""

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeGuard

from pydantic import TypeAdapter

LABEL = "EIGEN2_POD"  # base64 of JSON: RunPod's start script quotes naively
ENDED = ("EXITED", "ERROR", "TERMINATED")
KIND = "ray-node-type"
NO_OWNER = "unknown"  # of a pod that was rented before pods had owners
NAMED = re.compile(r"ray-(?P<cluster>.+)-[a-z]+-[0-9a-f]{8}-[0-9]+")  # as eigen2.cloud.hunt names pods
POD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")  # it becomes part of addresses and of SSH's commands


class ClusterId(NamedTuple):
    """A cluster of an account: two people may give theirs the same name."""

    owner: str
    name: str


@dataclass(frozen=True)
class Label:
    """What a pod of ours carries in its environment.

    request, attempt: a pod that was asked for, and which try for it this one is. usd_per_hour: by the catalogue.
    """

    cluster: str
    tags: Mapping[str, str]
    owner: str = NO_OWNER
    request: str | None = None
    attempt: int = 0
    usd_per_hour: float | None = None

    @property
    def kind(self) -> str | None:
        """Whether it is the head of its cluster or a worker."""
        return self.tags.get(KIND)

    def encode(self) -> str:
        """As the value of an environment variable."""
        return base64.b64encode(LABELS.dump_json(self)).decode()

    @classmethod
    def decode(cls, text: str) -> "Label | None":
        """From such a value; None of anything else."""
        try:
            return LABELS.validate_json(base64.b64decode(text, validate=True))
        except ValueError:  # no base64, or no label in it
            return None


LABELS = TypeAdapter(Label)


@dataclass(frozen=True)
class Pod:
    """A rented machine.

    usd_per_hour: price now; None if the API gives none. created: None where RunPod does not say. ssh: public (host,
    port) of its SSH server; it changes with every restart. private_ip: its address among the account's pods. label:
    None on pods of others. was_ready: whether this machine knows that one could log in at some time.
    """

    id: str
    name: str
    status: str
    usd_per_hour: float | None
    created: datetime | None
    gpu: str
    ssh: tuple[str, int] | None = None
    private_ip: str | None = None
    label: Label | None = None
    was_ready: bool = False

    @classmethod
    def from_json(cls, found: Any) -> "Pod | None":
        """From the API's Pod, any field of which but the id may be missing or null; None without a usable id."""
        if not isinstance(found, dict) or not POD_ID.fullmatch(str(found.get("id") or "")):
            return None
        direct, gpu = _part(_part(found, "ssh"), "direct"), _part(found, "gpu")
        label = Label.decode(str(_part(found, "env").get(LABEL) or ""))
        status = str(found.get("status") or "UNKNOWN")
        return cls(
            id=str(found["id"]),
            name=str(found.get("name") or ""),
            status=status,
            usd_per_hour=_price(found.get("cost"), status, label),
            created=_time(found.get("createdAt") or found.get("startedAt")),
            gpu=f"{gpu.get('count') or 1} x {gpu.get('id') or '?'}" if gpu else "CPU",
            ssh=(direct["host"], direct["port"]) if direct.get("host") and direct.get("port") else None,
            private_ip=_part(found, "globalNetworking").get("ip"),
            label=label,
        )

    @property
    def cluster(self) -> ClusterId | None:
        """The cluster it was rented for; None for pods of others."""
        return ClusterId(self.label.owner, self.label.cluster) if self.label else None

    @property
    def ownerless_cluster(self) -> str | None:
        """The cluster that it must belong to by its name, where nobody knows the owner; None for all other pods."""
        named = NAMED.fullmatch(self.name)
        return named["cluster"] if named and self.label is None and self.status != "TERMINATED" else None

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags it was rented with."""
        return self.label.tags if self.label else {}

    @property
    def kind(self) -> str | None:
        """Whether it is the head of its cluster or a worker; None for pods of others."""
        return self.label.kind if self.label else None

    @property
    def attempt(self) -> int:
        """Which attempt to answer its request it is."""
        return self.label.attempt if self.label else 0

    @property
    def live(self) -> bool:
        """Whether it runs or is about to; so does a pod with a status that we don't know: it is paid for."""
        return self.status not in ENDED

    @property
    def ready(self) -> bool:
        """Whether one can log in."""
        return self.status == "RUNNING" and self.ssh is not None

    def age_s(self, now: datetime) -> float | None:
        """Seconds since it was rented; None where RunPod does not say when that was."""
        return None if self.created is None else max((now - self.created).total_seconds(), 0.0)

    def usd(self, now: datetime) -> float | None:
        """Its cost so far by its hourly price; None if the price or the age is unknown."""
        age_s = self.age_s(now)
        return None if age_s is None or self.usd_per_hour is None else self.usd_per_hour * age_s / 3600


def _part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _price(cost: Any, status: str, label: Label | None) -> float | None:
    """What RunPod says; where it names no price for a pod that is there, the catalogue's price when it was rented."""
    told = float(cost) if is_price(cost) else None
    if told is not None and (told > 0 or status in ENDED):
        return told
    return label.usd_per_hour if label else None


def is_price(found: Any) -> TypeGuard[float]:
    """Whether an amount of USD can be counted with; nan would make every comparison with a ceiling or budget false."""
    return isinstance(found, int | float) and math.isfinite(found) and found >= 0


def _time(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
