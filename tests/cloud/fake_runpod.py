"""A RunPod of our own on loopback: the pods of REST v2 with their documented errors, and faults on demand."""

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import jsonschema

from tests.cloud.schema import CREATE_POD, POD_REQUIRED

KEY = "rpa_fake5e1fkey"
PRICES = {"NVIDIA L4": 0.39, "NVIDIA A40": 0.44, "NVIDIA H100 80GB HBM3": 2.69}
PATH = re.compile(r"^/v2/(pods|catalog/gpus)(?:/([a-z0-9]+))?$")


class Machine(Protocol):
    """What stands behind a pod: its public SSH address and its private one."""

    ssh: tuple[str, int]
    private_ip: str

    def end(self) -> None: ...


@dataclass
class Nowhere:
    """A machine that nobody can log in to."""

    ssh: tuple[str, int] = ("127.0.0.1", 9)
    private_ip: str = "10.65.0.9"

    def end(self) -> None: ...


@dataclass
class FakePod:
    """A rented pod."""

    id: str
    body: dict[str, Any]
    machine: Machine
    usd_per_hour: float | None
    created: float
    status: str | None = None  # none: by its age
    listed_from: float = 0.0  # the list shows it from this time on
    shown: dict[str, Any] = field(default_factory=dict)  # fields of the API's Pod that are shown otherwise


@dataclass
class Fault:
    """An answer in place of the right one, `times` times. `after`: what was asked is done all the same.

    late_s: what was rented so is on the list only so much later.
    """

    method: str
    path: str
    status: int
    detail: str = "no"
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: bool = False
    late_s: float = 0.0


class FakeRunPod:
    """The account: its pods, what was asked, and the faults that are still to come. Status 0 hangs up."""

    def __init__(self, start: Callable[[str, dict[str, Any]], Machine] = lambda *_: Nowhere()) -> None:
        self.pods: dict[str, FakePod] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.broken: list[str] = []  # requests that break the published schema
        self.faults: list[Fault] = []
        self.sold_out: set[str] = set()
        self.prices: dict[str, float | None] = dict(PRICES)
        self.start_delay_s = 0.0
        self.list_delay_s = 0.0
        self.clock: Callable[[], float] = time.time
        self.tells_time = True
        self.on_create: Callable[[dict[str, Any]], None] = lambda _: None
        self.asked_at: list[float] = []
        self.lock = threading.RLock()
        self._start = start

    def most_calls_in_a_minute(self) -> int:
        """By anyone: the account has one limit for all its clients."""
        return max((sum(start <= at < start + 60 for at in self.asked_at) for start in self.asked_at), default=0)

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _, _ in self.requests)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON) of a request with a valid key."""
        with self.lock:
            self.requests.append((method, path, body))
            self.asked_at.append(time.monotonic())
            fault = next((f for f in self.faults if f.method == method and re.fullmatch(f.path, path)), None)
            if fault:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                if not fault.after:
                    return fault.status, fault.headers, problem(fault.status, fault.detail)
        status, found = self._right(method, path, body, fault.late_s if fault else 0.0)
        if fault:
            return fault.status, fault.headers, problem(fault.status, fault.detail)
        return status, {}, found

    def _right(self, method: str, path: str, body: Any, late_s: float) -> tuple[int, Any]:
        match = PATH.match(path)
        if not match:
            return 404, problem(404, path)
        kind, pod_id = match.groups()
        if kind != "pods":
            gpus = [
                {"id": gpu, "price": {"secure": usd, "community": usd and usd / 2}} for gpu, usd in self.prices.items()
            ]
            return 200, {"gpus": gpus}
        if method == "POST":
            return self._create(body, late_s)
        with self.lock:
            if pod_id is None:
                listed = [pod for pod in self.pods.values() if pod.listed_from <= self.clock()]
                return 200, {"pods": [self.view(pod) for pod in listed]}
            if pod_id not in self.pods:
                return 404, problem(404, "pod not found")
            if method == "GET":
                return 200, self.view(self.pods[pod_id])
            doomed = self.pods.pop(pod_id)
        doomed.machine.end()
        return 204, None

    def _create(self, body: Any, late_s: float) -> tuple[int, Any]:
        try:
            jsonschema.validate(body, CREATE_POD)
        except jsonschema.ValidationError as error:
            self.broken.append(error.message)
            return 422, problem(422, "Request validation failed.", error.message)
        gpu = body["gpu"]
        if gpu["id"] in self.sold_out:
            return 400, problem(400, "There are no instances currently available")
        self.on_create(body)
        pod_id = uuid.uuid4().hex[:14]
        machine = self._start(pod_id, body)
        now, usd = self.clock(), self.prices[gpu["id"]]
        pod = FakePod(pod_id, body, machine, usd and usd * gpu.get("count", 1), now)
        pod.listed_from = now + max(late_s, self.list_delay_s)
        with self.lock:
            self.pods[pod_id] = pod
        return 201, self.view(pod)

    def view(self, pod: FakePod) -> dict[str, Any]:
        """A pod as the API shows it."""
        status = pod.status or ("RUNNING" if self.clock() - pod.created >= self.start_delay_s else "PROVISIONING")
        host, port = pod.machine.ssh
        direct = {"host": host, "port": port, "username": "root", "command": f"ssh root@{host} -p {port}"}
        shown: dict[str, Any] = dict.fromkeys(POD_REQUIRED)
        shown |= {key: value for key, value in pod.body.items() if key not in ("gpu", "startSsh")}
        shown |= {"id": pod.id, "status": status, "cost": pod.usd_per_hour, "gpu": pod.body["gpu"]}
        shown |= {"createdAt": datetime.fromtimestamp(pod.created, UTC).isoformat().replace("+00:00", "Z")}
        shown["ssh"] = {"proxy": None, "direct": direct if status == "RUNNING" else None}
        shown["globalNetworking"] = {
            "enabled": pod.body["globalNetworking"],
            "ip": pod.machine.private_ip,
            "internalDns": f"{pod.id}.runpod.internal",
        }
        return shown | pod.shown


def problem(status: int, detail: str, *errors: str) -> dict[str, Any]:
    """An application/problem+json."""
    return {"title": "refused", "status": status, "detail": detail, **({"errors": list(errors)} if errors else {})}


def handler_of(account: FakeRunPod) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def date_time_string(self, timestamp: float | None = None) -> str:
            if timestamp is None and not account.tells_time:
                return "some day"
            return super().date_time_string(account.clock() if timestamp is None else timestamp)

        def respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                status, headers, found = 401, {}, problem(401, "missing bearer token")
            else:
                status, headers, found = account.answer(self.command, self.path, body)
            if status == 0:
                self.close_connection = True
                return
            content = b"" if found is None else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = respond  # noqa: N815 - the library's names

    return Handler


@contextmanager
def serving(account: FakeRunPod, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Answer on loopback; yields the base address."""
    server = ThreadingHTTPServer((host, port), handler_of(account))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v2"
    server.shutdown()
    server.server_close()
    thread.join()
