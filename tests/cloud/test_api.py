"""The client of RunPod's API: retries, deadlines, and what it says of each refusal."""

import socket
import threading
from pathlib import Path

import pytest

from eigen2.cloud.api import RefusedError, RunPod
from eigen2.cloud.pod import LABEL, Pod, label
from tests.cloud.fake_runpod import KEY, FakeRunPod, Fault

GPU = {"id": "NVIDIA L4", "count": 1}
BODY = {"name": "ray-a-head-1", "image": "img", "gpu": GPU, "globalNetworking": True, "ports": ["22/tcp"]}


def refusal(api: RunPod, method: str = "GET") -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        api.pods() if method == "GET" else api.create(BODY)
    assert KEY not in str(caught.value)
    return caught.value


def test_a_pod_is_rented_listed_and_given_back(account: FakeRunPod, api: RunPod) -> None:
    made = api.create({**BODY, "env": {LABEL: label("a", {"ray-node-type": "head"})}})
    assert (made.cluster, made.tags, made.usd_per_hour, made.gpu) == (
        "a",
        {"ray-node-type": "head"},
        0.39,
        "1 x NVIDIA L4",
    )
    assert [made] == api.pods() == [api.pod(made.id)]
    assert made.ready
    api.terminate(made.id)
    assert api.pods() == []
    api.terminate(made.id)  # gone already is fine
    assert account.broken == []


def test_a_pod_that_starts_has_no_ssh_address(account: FakeRunPod, api: RunPod) -> None:
    account.start_delay_s = 60
    made = api.create(BODY)
    assert (made.status, made.ssh, made.live, made.ready) == ("PROVISIONING", None, True, False)


def test_prices_are_those_of_the_cloud(api: RunPod) -> None:
    assert api.prices_usd_per_hour("SECURE")["NVIDIA A40"] == 0.44
    assert api.prices_usd_per_hour("COMMUNITY")["NVIDIA A40"] == 0.22


@pytest.mark.parametrize(
    ("status", "reason", "advice"),
    [
        (400, "rule or capacity", "no such machine free"),
        (401, "key", "RUNPOD_API_KEY is not valid"),
        (402, "balance", "add credit"),
        (403, "permission", "write access"),
        (405, "contract", "does not know"),
        (409, "conflict", "does not allow"),
        (422, "contract", "contract"),
    ],
)
def test_a_refusal_names_what_was_refused_and_is_not_repeated(
    account: FakeRunPod, api: RunPod, status: int, reason: str, advice: str
) -> None:
    account.faults.append(Fault("POST", "/v2/pods", status, "the reason given"))
    found = refusal(api, "POST")
    assert found.reason == reason
    assert str(found).startswith(f"RunPod: POST /pods: {status} the reason given; ")
    assert advice in str(found)
    assert account.count("POST") == 1


def test_what_breaks_the_schema_is_told(api: RunPod) -> None:
    with pytest.raises(RefusedError, match="'gpuTypeId' was unexpected"):
        api.create({**BODY, "gpuTypeId": "NVIDIA L4"})


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_rate_limit_is_waited_for_as_long_as_it_says(
    account: FakeRunPod, api: RunPod, pauses: list[float], method: str
) -> None:
    account.faults.append(Fault(method, "/v2/pods", 429, headers={"Retry-After": "12"}, times=2))
    api.pods() if method == "GET" else api.create(BODY)
    assert pauses == [12, 12]
    assert account.count(method) == 3


def test_a_rate_limit_beyond_the_deadline_is_not_waited_for(
    account: FakeRunPod, api: RunPod, pauses: list[float]
) -> None:
    account.faults.append(Fault("GET", "/v2/pods", 429, headers={"Retry-After": "3600"}))
    assert refusal(api).reason == "rate limit"
    assert pauses == []


def test_trouble_of_the_server_is_tried_again_ever_more_slowly(
    account: FakeRunPod, api: RunPod, pauses: list[float]
) -> None:
    account.faults += [Fault("GET", "/v2/pods", 502, times=5), Fault("GET", "/v2/pods", 0, times=2)]
    assert api.pods() == []
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize("status", [0, 500, 503])
def test_an_answer_that_got_lost_does_not_rent_twice(account: FakeRunPod, api: RunPod, status: int) -> None:
    account.faults.append(Fault("POST", "/v2/pods", status, after=True))
    made = api.create(BODY)
    assert list(account.pods) == [made.id]
    assert account.count("POST") == 1


def test_a_pod_that_was_not_rented_is_asked_for_again(account: FakeRunPod, api: RunPod) -> None:
    account.faults.append(Fault("POST", "/v2/pods", 500, times=2))
    made = api.create(BODY)
    assert list(account.pods) == [made.id]
    assert account.count("POST") == 3


def test_no_call_waits_for_ever(pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        found = refusal(RunPod(KEY, f"http://127.0.0.1:{silent.getsockname()[1]}", deadline_s=0.4))
    assert found.reason == "network"
    assert "ReadTimeout" in str(found)


def test_a_redirect_does_not_take_the_key_along(account: FakeRunPod, api: RunPod) -> None:
    account.faults.append(Fault("GET", "/v2/pods", 302, headers={"Location": "http://127.0.0.1:9/"}))
    assert refusal(api).reason == "contract"
    assert len(account.requests) == 1


def test_a_netrc_does_not_replace_the_key(home: Path, address: str) -> None:
    (home / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    assert RunPod.from_environment().pods() == []


def test_threads_share_a_client(account: FakeRunPod, api: RunPod) -> None:
    made: list[Pod] = []
    threads = [
        threading.Thread(target=lambda name=f"pod-{n}": made.append(api.create({**BODY, "name": name})))  # type: ignore[misc]
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {pod.id for pod in made} == set(account.pods)
    assert len(account.pods) == 8
