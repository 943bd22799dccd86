"""RunPod's REST API, version 2: pods and prices, with deadlines, retries, and errors that say what was refused.

Source: https://docs.runpod.io/api-reference-v2 and the OpenAPI document published with it.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import requests

from eigen2.cloud.places import api_key
from eigen2.cloud.pod import Pod
from eigen2.errors import Eigen2Error

DEFAULT_BASE = "https://api.runpod.io/v2"
BASE_VARIABLE = "RUNPOD_API_BASE"
CALL_S = 20.0  # one try
DEADLINE_S = 90.0  # all tries of a call together; a rate limit of a minute fits in
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
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
    403: ("permission", "RUNPOD_API_KEY may not do this; give the key write access to pods"),
    404: ("absent", "there is no such thing"),
    409: ("conflict", "its state does not allow this now"),
    422: ("contract", "the request breaks the API's contract"),
    429: ("rate limit", "too many requests; other programs share the account's limit"),
}


class RefusedError(Eigen2Error):
    """RunPod did not do what it was asked; `reason` says why, the message what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.reason in ("rate limit", "server", "network")


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
    ) -> None:
        self._auth = _Bearer(key)
        self._base = base.rstrip("/")
        self._deadline_s = deadline_s
        self._sleep = sleep

    @classmethod
    def from_environment(cls) -> "RunPod":
        """A client with the key and, where RUNPOD_API_BASE is set, the address of the environment."""
        return cls(api_key(), os.environ.get(BASE_VARIABLE, DEFAULT_BASE))

    def pods(self) -> list[Pod]:
        """All pods of the account."""
        return [Pod.from_json(found) for found in self._call("GET", "/pods")["pods"]]

    def pod(self, pod_id: str) -> Pod:
        """One pod. Raises RefusedError("absent") if it is gone."""
        return Pod.from_json(self._call("GET", f"/pods/{pod_id}"))

    def create(self, body: Mapping[str, Any]) -> Pod:
        """Rent a pod, whose name must be new; never two of them, even where an answer gets lost."""
        deadline = time.monotonic() + self._deadline_s
        while True:
            try:
                return Pod.from_json(self._call("POST", "/pods", body))
            except RefusedError as refusal:
                if refusal.reason not in ("server", "network"):
                    raise
                # it may be rented all the same: who only repeats the call pays twice
                made = next((pod for pod in self.pods() if pod.name == body["name"]), None)
                if made is not None:
                    return made
                if time.monotonic() > deadline:
                    raise
                self._sleep(FIRST_PAUSE_S)

    def terminate(self, pod_id: str) -> None:
        """End a pod and its payment; one that is gone already is fine."""
        try:
            self._call("DELETE", f"/pods/{pod_id}")
        except RefusedError as refusal:
            if refusal.reason != "absent":
                raise

    def prices_usd_per_hour(self, cloud: str) -> dict[str, float]:
        """The hourly price of one GPU of each type in a cloud, SECURE or COMMUNITY."""
        found = self._call("GET", "/catalog/gpus")["gpus"]
        return {gpu["id"]: float(gpu["price"][cloud.lower()]) for gpu in found}

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a call; repeated while the trouble may pass, a POST only where nothing was done."""
        deadline = time.monotonic() + self._deadline_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self._try(method, path, body, deadline)
            except _Later as later:
                wait_s = pause_s if later.wait_s is None else later.wait_s
                repeatable = method != "POST" or later.refusal.reason == "rate limit"
                if not repeatable or time.monotonic() + wait_s >= deadline:
                    raise later.refusal from later
                self._sleep(wait_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _try(self, method: str, path: str, body: Mapping[str, Any] | None, deadline: float) -> Any:
        what = f"RunPod: {method} {path}"
        timeout_s = max(min(CALL_S, deadline - time.monotonic()), 0.1)
        try:
            response = requests.request(
                method, self._base + path, json=body, auth=self._auth, timeout=timeout_s, allow_redirects=False
            )
            if response.status_code < DONE_BELOW:
                return response.json() if response.content else None
        except requests.RequestException as error:
            # only the kind of error: its text may quote the request
            raise _Later(RefusedError("network", f"{what}: no answer ({type(error).__name__})"), None) from None
        refusal = _refusal(what, response)
        if refusal.passing:
            raise _Later(refusal, _retry_after_s(response))
        raise refusal


class _Later(Exception):  # noqa: N818 - no error yet: the call may still succeed
    """A call failed in a way that may pass after `wait_s` seconds (none: after the usual pause)."""

    def __init__(self, refusal: RefusedError, wait_s: float | None) -> None:
        super().__init__(str(refusal))
        self.refusal, self.wait_s = refusal, wait_s


def _refusal(what: str, response: requests.Response) -> RefusedError:
    status = response.status_code
    reason, advice = REASONS.get(status, ("server", "RunPod has trouble; try again later"))
    if status not in REASONS and status < SERVER_TROUBLE_FROM:
        reason, advice = "contract", "the API does not know this call"
    return RefusedError(reason, f"{what}: {status} {_detail(response)}; {advice}")


def _detail(response: requests.Response) -> str:
    """What an application/problem+json says went wrong."""
    try:
        problem = response.json()
        return "; ".join([str(problem["detail"]), *map(str, problem.get("errors", []))])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.reason or "without a word"


def _retry_after_s(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
