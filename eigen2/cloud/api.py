"""RunPod's REST API, version 2: pods and prices, with deadlines, retries, and errors that say what was refused.

Source: https://docs.runpod.io/api-reference-v2 and the OpenAPI document published with it.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote

import requests

from eigen2.cloud.known import KnownPods
from eigen2.cloud.places import api_key
from eigen2.cloud.pod import LABEL, Label, Pod, is_price
from eigen2.errors import Eigen2Error

DEFAULT_BASE = "https://api.runpod.io/v2"
BASE_VARIABLE = "RUNPOD_API_BASE"
CALL_S = 20.0  # one try
DEADLINE_S = 90.0  # all tries of a call together; a rate limit of a minute fits in
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
LISTED_S = 60.0  # a new pod is taken to be on RunPod's list by then, and an ended one off it
DONE_BELOW, SERVER_TROUBLE_FROM = 300, 500  # HTTP status

Reason = Literal[
    "rule or capacity",
    "key",
    "balance",
    "permission",
    "absent",
    "conflict",
    "contract",
    "rate limit",
    "server",
    "network",
]
REASONS: Mapping[int, tuple[Reason, str]] = {
    400: ("rule or capacity", "RunPod has no such machine free, or a rule forbids it"),
    401: ("key", "RUNPOD_API_KEY is not valid; make a new one in RunPod's console"),
    402: ("balance", "the account's balance is too low; add credit in RunPod's console"),
    403: ("permission", "the account may not use this, or RUNPOD_API_KEY has no write access to pods"),
    404: ("absent", "there is no such thing"),
    408: ("server", "RunPod gave up waiting; try again later"),
    409: ("conflict", "its state does not allow this now"),
    422: ("contract", "the request breaks the API's contract"),
    451: ("rule or capacity", "a law forbids this here"),
    429: ("rate limit", "too many requests; other programs share the account's limit"),
}

logger = logging.getLogger("eigen2")


class RefusedError(Eigen2Error):
    """RunPod did not do what it was asked; `reason` says why, the message what to do. status: of its answer, if any."""

    def __init__(self, reason: Reason, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.reason, self.status = reason, status

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.reason in ("rate limit", "server", "network")


class LostAnswerError(RefusedError):
    """The answer to a request for a pod got lost, so the pod `name` may still appear and be paid for.

    looked: the list was read until the end of the search for it, and it was not on it.
    """

    def __init__(self, refusal: RefusedError, name: str, looked: bool) -> None:
        seen = f"no pod {name} appeared within {LISTED_S:g} s" if looked else f"whether pod {name} exists is not known"
        super().__init__(refusal.reason, f"{refusal}; {seen}")
        self.name, self.looked = name, looked


class _Bearer(requests.auth.AuthBase):
    """Puts the key into a request, so that no ~/.netrc takes its place, and nothing shows it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class RunPod:
    """A client of the API. Safe to share between threads."""

    def __init__(
        self,
        key: str,
        base: str = DEFAULT_BASE,
        deadline_s: float = DEADLINE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._auth = _Bearer(key)
        self._base = base.rstrip("/")
        self._deadline_s = deadline_s
        self.sleep, self.clock = sleep, clock
        self._known = KnownPods()
        self._dated: tuple[datetime, float] | None = None  # RunPod's time, and ours when we heard it

    @classmethod
    def from_environment(cls, deadline_s: float = DEADLINE_S) -> "RunPod":
        """A client with the key and, where RUNPOD_API_BASE is set, the address of the environment."""
        return cls(api_key(), os.environ.get(BASE_VARIABLE, DEFAULT_BASE), deadline_s)

    def now(self) -> datetime:
        """The time by RunPod's clock; by this machine's, which may be wrong, where RunPod never told."""
        return self.server_time() or datetime.now(UTC)

    def server_time(self) -> datetime | None:
        """The time by RunPod's clock, from the Date of its last answer; None where it never told."""
        if self._dated is None:
            return None
        date, heard = self._dated
        return date + timedelta(seconds=self.clock() - heard)

    def pods(self) -> list[Pod]:
        """All pods of the account, with what this machine knows of them where the answer leaves it out.

        An entry that can't be a pod is told of and left out.
        """
        listed = self._list("/pods", "pods")
        read = [(found, Pod.from_json(found)) for found in listed]
        for found, pod in read:
            if pod is None:
                logger.warning("RunPod's list of pods has an entry without a usable id: %.200r", found)
        return self._known.complete([pod for _, pod in read if pod is not None])

    def pod(self, pod_id: str) -> Pod:
        """One pod. Raises RefusedError("absent") if it is gone."""
        path = f"/pods/{quote(pod_id, safe='')}"
        return self._known.complete([_pod_in(self._call("GET", path), f"GET {path}")])[0]

    def create(self, body: Mapping[str, Any]) -> Pod:
        """Rent a pod, whose name no other request has had.

        The request is sent once. Where its answer gets lost, the pod is looked for by its name for LISTED_S. Raises
        LostAnswerError if it is not found: it may be rented all the same.
        """
        if label := Label.decode(str(body.get("env", {}).get(LABEL) or "")):
            self._known.expect(str(body["name"]), label)
        try:
            return self._known.complete([_pod_in(self._call("POST", "/pods", body), "POST /pods")])[0]
        except RefusedError as refusal:
            if refusal.reason not in ("server", "network"):
                raise
            return self._look_for(str(body["name"]), refusal)

    def terminate(self, pod_id: str) -> None:
        """End a pod and its payment; one that is gone already is fine."""
        try:
            self._call("DELETE", f"/pods/{quote(pod_id, safe='')}")
        except RefusedError as refusal:
            if refusal.reason != "absent":
                raise

    def prices_usd_per_hour(self, cloud: str) -> dict[str, float]:
        """The hourly price of one GPU of each type that has one in a cloud, SECURE or COMMUNITY."""
        prices = {
            gpu.get("id"): (gpu.get("price") or {}).get(cloud.lower()) for gpu in self._list("/catalog/gpus", "gpus")
        }
        return {gpu: float(price) for gpu, price in prices.items() if gpu and is_price(price) and price > 0}

    def _look_for(self, name: str, refusal: RefusedError) -> Pod:
        """The pod of a request whose answer got lost; the list may take a while to show it."""
        deadline, pause_s = self.clock() + LISTED_S, FIRST_PAUSE_S
        while True:
            try:
                found, looked = next((pod for pod in self.pods() if pod.name == name), None), True
            except RefusedError:
                found, looked = None, False
            if found is not None:
                return found
            left_s = deadline - self.clock()
            if left_s <= 0:
                raise LostAnswerError(refusal, name, looked)
            self.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _list(self, path: str, name: str) -> list[dict[str, Any]]:
        """A list in an answer. Raises RefusedError where it is missing: an empty list would mean that all is gone."""
        answer = self._call("GET", path)
        found = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise RefusedError("server", f"RunPod: GET {path}: the answer has no list of {name}; try again later")
        return [entry for entry in found if isinstance(entry, dict)]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a call; repeated while the trouble may pass, a POST only where nothing was done."""
        deadline = self.clock() + self._deadline_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self._try(method, path, body, deadline)
            except _Later as later:
                wait_s = pause_s if later.wait_s is None else later.wait_s
                repeatable = method != "POST" or later.refusal.reason == "rate limit"
                if not repeatable or self.clock() + wait_s >= deadline:
                    raise later.refusal from later
                self.sleep(wait_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _try(self, method: str, path: str, body: Mapping[str, Any] | None, deadline: float) -> Any:
        what = f"RunPod: {method} {path}"
        timeout_s = max(min(CALL_S, deadline - self.clock()), 0.1)
        try:
            response = requests.request(
                method, self._base + path, json=body, auth=self._auth, timeout=timeout_s, allow_redirects=False
            )
            self._note_time(response)
            if response.status_code < DONE_BELOW:
                return response.json() if response.content else None
        except requests.RequestException as error:
            # only the kind of error: its text may quote the request
            raise _Later(RefusedError("network", f"{what}: no answer ({type(error).__name__})"), None) from None
        refusal = _refusal(what, response)
        if refusal.passing:
            raise _Later(refusal, _retry_after_s(response))
        raise refusal

    def _note_time(self, response: requests.Response) -> None:
        try:
            date = parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            return
        self._dated = (date if date.tzinfo else date.replace(tzinfo=UTC), self.clock())


class _Later(Exception):  # noqa: N818 - no error yet: the call may still succeed
    """A call failed in a way that may pass after `wait_s` seconds (none: after the usual pause)."""

    def __init__(self, refusal: RefusedError, wait_s: float | None) -> None:
        super().__init__(str(refusal))
        self.refusal, self.wait_s = refusal, wait_s


def _pod_in(found: Any, what: str) -> Pod:
    pod = Pod.from_json(found)
    if pod is None:
        raise RefusedError("server", f"RunPod: {what}: the answer is no pod with an id; try again later")
    return pod


def _refusal(what: str, response: requests.Response) -> RefusedError:
    status = response.status_code
    reason, advice = REASONS.get(status, ("server", "RunPod has trouble; try again later"))
    if status not in REASONS and status < SERVER_TROUBLE_FROM:
        reason, advice = "contract", "the API does not know this call"
    return RefusedError(reason, f"{what}: {status} {_detail(response)}; {advice}", status)


def _detail(response: requests.Response) -> str:
    """What an application/problem+json says went wrong."""
    try:
        problem = response.json()
        told = [problem.get("detail") or problem.get("title"), *(problem.get("errors") or [])]
        return "; ".join(str(part) for part in told if part)
    except (ValueError, TypeError, AttributeError):
        return response.reason or "without a word"


def _retry_after_s(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
