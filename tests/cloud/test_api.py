"""The client of RunPod's API: retries, deadlines, and what it says of each refusal."""

import socket
import threading
from pathlib import Path

import pytest

from eigen2.cloud.api import LISTED_S, LostAnswerError, RefusedError, RunPod
from eigen2.cloud.pod import LABEL, ClusterId, Label, Pod
from tests.cloud.conftest import FakeClock
from tests.cloud.fake_runpod import KEY, FakeRunPod, Fault

GPU = {"id": "NVIDIA L4", "count": 1}
BODY = {"name": "ray-a-head-1", "image": "img", "gpu": GPU, "globalNetworking": True, "ports": ["22/tcp"]}


def refusal(api: RunPod, method: str = "GET") -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        api.pods() if method == "GET" else api.create(BODY)
    assert KEY not in str(caught.value)
    return caught.value


def test_a_pod_is_rented_listed_and_given_back(account: FakeRunPod, api: RunPod) -> None:
    label = Label("a", {"ray-node-type": "head"}, "ann")
    made = api.create({**BODY, "env": {LABEL: label.encode()}})
    assert (made.cluster, made.label) == (ClusterId("ann", "a"), label)
    assert (made.kind, made.usd_per_hour, made.gpu) == ("head", 0.39, "1 x NVIDIA L4")
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


@pytest.mark.parametrize("status", [0, 408, 500, 504])
def test_a_pod_whose_answer_got_lost_is_looked_for_until_the_list_had_time_to_show_it(
    account: FakeRunPod, api: RunPod, clock: FakeClock, status: int
) -> None:
    account.clock = clock.date
    account.faults.append(Fault("POST", "/v2/pods", status, after=True, late_s=LISTED_S - 1))
    made = api.create(BODY)
    assert list(account.pods) == [made.id]
    assert account.count("POST") == 1


@pytest.mark.parametrize("answer", [None, [], {}, {"id": None}, {"id": "../x"}])
def test_an_answer_that_is_no_pod_is_a_lost_one(
    account: FakeRunPod, api: RunPod, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    right = account._right
    monkeypatch.setattr(
        account, "_right", lambda *asked: (right(*asked)[0], answer) if asked[0] == "POST" else right(*asked)
    )
    made = api.create(BODY)
    assert list(account.pods) == [made.id]


def test_a_pod_that_does_not_appear_is_not_asked_for_again_under_its_name(account: FakeRunPod, api: RunPod) -> None:
    account.faults.append(Fault("POST", "/v2/pods", 500))
    with pytest.raises(LostAnswerError, match="no pod ray-a-head-1 appeared within 60 s") as caught:
        api.create(BODY)
    assert caught.value.looked
    assert (account.count("POST"), account.pods) == (1, {})


def test_a_list_that_cannot_be_read_says_nothing_of_a_pod(account: FakeRunPod, api: RunPod) -> None:
    account.faults += [Fault("POST", "/v2/pods", 504, after=True), Fault("GET", "/v2/pods", 503, times=999)]
    with pytest.raises(LostAnswerError, match="whether pod ray-a-head-1 exists is not known") as caught:
        api.create(BODY)
    assert not caught.value.looked
    assert account.count("POST") == 1


@pytest.mark.parametrize("answer", [None, {}, {"pods": None}, []])
def test_an_answer_without_a_list_does_not_say_that_all_pods_are_gone(
    api: RunPod, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(api, "_call", lambda *_: answer)
    with pytest.raises(RefusedError, match="the answer has no list of pods") as caught:
        api.pods()
    assert caught.value.passing


NULL_FIELDS = ["name", "status", "cost", "createdAt", "startedAt", "gpu", "ssh", "globalNetworking", "env"]


@pytest.mark.parametrize("field", NULL_FIELDS)
@pytest.mark.parametrize("value", [None, {}, "absent"])
def test_a_field_that_is_null_or_absent_hides_no_pod(
    account: FakeRunPod, api: RunPod, field: str, value: object
) -> None:
    made, other = api.create(BODY), api.create({**BODY, "name": "other"})
    shown = account.view(account.pods[made.id]) | {field: value}
    if value == "absent":
        del shown[field]
    assert Pod.from_json(shown) is not None
    account.pods[made.id].shown = {field: None if value == "absent" else value}
    assert [pod.id for pod in api.pods()] == [made.id, other.id]


@pytest.mark.parametrize("pod_id", [None, "", "../x", "a b", "$(id)", "-x"])
def test_an_entry_without_a_usable_id_is_told_of_and_hides_no_other(
    account: FakeRunPod, api: RunPod, pod_id: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    made, other = api.create(BODY), api.create({**BODY, "name": "other"})
    account.pods[made.id].shown = {"id": pod_id}
    assert [pod.id for pod in api.pods()] == [other.id]
    assert "an entry without a usable id" in caplog.text


def test_a_pod_without_a_price_costs_what_the_catalogue_said(account: FakeRunPod, api: RunPod) -> None:
    made = api.create({**BODY, "env": {LABEL: Label("a", {}, usd_per_hour=0.4).encode()}})
    for told, expected in [(None, 0.4), (0, 0.4), (-1, 0.4), (0.35, 0.35)]:
        account.pods[made.id].usd_per_hour = told
        assert api.pod(made.id).usd_per_hour == expected
    account.pods[made.id].status, account.pods[made.id].usd_per_hour = "EXITED", 0
    assert api.pod(made.id).usd_per_hour == 0


@pytest.mark.parametrize("text", ["", "no base64", "ä", "e30=", "W10=", "eyJjbHVzdGVyIjogImEifQ=="])
def test_what_is_no_label_is_none(text: str) -> None:
    assert Label.decode(text) is None


def test_a_price_that_is_null_or_absent_is_no_price(account: FakeRunPod, api: RunPod) -> None:
    account.prices["NVIDIA A40"] = None
    assert set(api.prices_usd_per_hour("SECURE")) == {"NVIDIA L4", "NVIDIA H100 80GB HBM3"}
    assert api.prices_usd_per_hour("OTHER") == {}


def test_the_time_is_that_of_runpod(account: FakeRunPod, api: RunPod, clock: FakeClock) -> None:
    account.clock = clock.date  # years away from this machine's
    api.pods()
    clock.sleep(90)
    assert api.now().timestamp() == clock.date()


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
