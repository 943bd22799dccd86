"""Answers that get lost, lists that lag, and several that rent at once: what is rented, kept, and given back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler.node_launch_exception import NodeLaunchException

from eigen2.cloud import fleet
from eigen2.cloud.api import LISTED_S, RunPod
from eigen2.cloud.fleet import above_ceiling, superseded
from eigen2.cloud.pod import Label, Pod
from eigen2.cloud.reservations import Reservations
from tests.cloud.conftest import FakeClock
from tests.cloud.fake_runpod import FakeRunPod, Fault
from tests.cloud.test_provider import HEAD, WORKER, bodies, provider, rent


@pytest.fixture(autouse=True)
def fetch_for_every_question(monkeypatch: pytest.MonkeyPatch, fake_time: FakeClock, home: Path) -> None:
    monkeypatch.setattr(fleet, "FRESH_S", -1.0)


def lost(late_s: float, status: int = 504, times: int = 1) -> Fault:
    return Fault("POST", "/v2/pods", status, after=True, late_s=late_s, times=times)


@pytest.mark.parametrize("status", [0, 500, 504])
def test_a_pod_that_appears_while_it_is_looked_for_is_the_one(account: FakeRunPod, status: int) -> None:
    account.faults.append(lost(LISTED_S / 2, status))
    pod = rent(provider())
    assert list(account.pods) == [pod]
    assert len(bodies(account)) == 1


@pytest.mark.parametrize("tags", [HEAD, WORKER])
def test_a_pod_that_appears_after_another_was_rented_is_given_back(
    account: FakeRunPod, clock: FakeClock, tags: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    account.faults.append(lost(2 * LISTED_S))
    made = provider()
    kept = rent(made, tags)
    (extra,) = account.pods.keys() - {kept}
    assert [body["name"][-2:] for body in bodies(account)] == ["-1", "-2"], "each attempt has a name of its own"
    assert made.non_terminated_nodes({}) == [kept]
    clock.sleep(2 * LISTED_S)
    assert made.non_terminated_nodes({}) == [kept]
    assert list(account.pods) == [kept]
    assert f"pod {extra} " in caplog.text


def test_a_pod_that_appears_late_is_given_back_by_another_process_too(account: FakeRunPod, clock: FakeClock) -> None:
    """What tells the two apart lies in their labels: the head gives back what the laptop's `ray up` rented twice."""
    account.faults.append(lost(2 * LISTED_S))
    kept = rent(provider())
    clock.sleep(2 * LISTED_S)
    assert provider(owner="ann").non_terminated_nodes({}) == [kept]
    assert list(account.pods) == [kept]


def test_a_pod_that_appears_when_the_search_has_failed_is_taken(account: FakeRunPod) -> None:
    account.faults += [lost(LISTED_S + 5), Fault("POST", "/v2/pods", 402)]
    account.faults[0].late_s = LISTED_S
    pod = rent(provider())
    assert list(account.pods) == [pod]


def test_a_search_that_fails_after_a_lost_answer_names_what_may_still_appear(account: FakeRunPod) -> None:
    account.faults += [lost(9 * LISTED_S), Fault("POST", "/v2/pods", 402)]
    with pytest.raises(NodeLaunchException, match=r"a pod may still appear and be paid for as ray-demo-head-\w+-1: "):
        rent(provider())
    assert len(bodies(account)) == 2


def test_while_the_list_cannot_be_read_nothing_else_is_asked_for(account: FakeRunPod, clock: FakeClock) -> None:
    made = provider()
    made.non_terminated_nodes({})
    account.faults.append(lost(0))

    def break_the_list(body: Any) -> None:
        account.faults.append(Fault("GET", "/v2/pods", 503, times=10_000))

    account.on_create = break_the_list
    with pytest.raises(NodeLaunchException, match=r"whether pod ray-demo-worker-\S+ exists is not known"):
        rent(made, WORKER)
    assert len(bodies(account)) == 1


def test_the_newest_attempt_of_a_request_is_kept() -> None:
    pods = [
        pod("a", "x", 1),
        pod("b", "x", 3),
        pod("c", "x", 2),
        pod("d", "y", 1),
        pod("e", None, 0),
        pod("f", None, 0),
    ]
    assert superseded(pods) == {"a", "c"}


def pod(name: str, request: str | None, attempt: int, usd_per_hour: float | None = 0.5) -> Pod:
    label = Label("demo", HEAD, "ann", request, attempt)
    return Pod(name, name, "RUNNING", usd_per_hour, None, "1 x NVIDIA L4", label=label)


def test_a_ceiling_has_room_for_the_oldest() -> None:
    pods = [pod("a", None, 0), pod("b", None, 0, None), pod("c", None, 0, 0.7), pod("d", None, 0, 0.4)]
    assert above_ceiling(pods, 1.0) == {"c"}
    assert above_ceiling(pods, 0.3) == {"a", "c", "d"}


def test_what_is_asked_for_is_reserved_before_the_list_shows_it(account: FakeRunPod) -> None:
    """Two processes of one machine, the second of which can't see what the first has rented."""
    account.list_delay_s = LISTED_S / 2
    first, second = provider(max_usd_per_hour=0.5), provider(max_usd_per_hour=0.5)
    kept = rent(first, WORKER)
    with pytest.raises(NodeLaunchException, match=r"the cluster's max_usd_per_hour leaves 0\.11"):
        rent(second, WORKER)
    assert list(account.pods) == [kept]


def test_a_refused_request_reserves_nothing(account: FakeRunPod) -> None:
    account.sold_out = {"NVIDIA L4"}
    rent(provider(max_usd_per_hour=0.5), WORKER)
    assert len(bodies(account)) == 2
    assert Reservations.of("demo").usd_per_hour(()) == pytest.approx(0.44)
    assert Reservations.of("demo").usd_per_hour([bodies(account)[-1]["name"]]) == 0


def test_a_reservation_ends_when_the_list_must_show_the_pod(tmp_path: Path) -> None:
    now = [5000.0]
    reservations = Reservations(tmp_path / "r.json", clock=lambda: now[0])
    reservations.add("a", 0.5)
    now[0] += 10
    assert (reservations.usd_per_hour(()), reservations.left_s()) == (0.5, LISTED_S - 10)
    for later in (LISTED_S, -1000.0):  # also where the clock was set back
        now[0] = 5000 + later
        assert (reservations.usd_per_hour(()), reservations.left_s()) == (0, 0)


@pytest.mark.parametrize("amount", ["NaN", "-5"])
def test_a_reserved_price_that_is_no_amount_makes_no_room(tmp_path: Path, amount: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(f'{{"a": {{"usd_per_hour": {amount}, "since": 5000}}}}')
    assert Reservations(path, clock=lambda: 5001.0).usd_per_hour(()) == 0


@contextmanager
def another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    home = tmp_path / "another"
    home.mkdir(exist_ok=True)
    with monkeypatch.context() as moved:
        moved.setenv("HOME", str(home))
        yield


ELSEWHERE: dict[str, Any] = {"owner": "ann", "ssh_public_key": "ssh-ed25519 AAAA test", "max_usd_per_hour": 0.5}


@pytest.mark.parametrize("who_looks", ["here", "there"])
def test_two_machines_that_rent_at_once_keep_the_ceiling_once_the_list_shows_both(
    account: FakeRunPod, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, who_looks: str
) -> None:
    account.list_delay_s = 10
    here = provider(max_usd_per_hour=0.5)
    first = rent(here, WORKER)
    clock.sleep(1)
    with another_machine(monkeypatch, tmp_path):
        there = provider(**ELSEWHERE)
        second = rent(there, WORKER)
    assert set(account.pods) == {first, second}, "neither can see the other's"
    clock.sleep(10)
    assert {"here": here, "there": there}[who_looks].non_terminated_nodes({}) == [first]
    assert list(account.pods) == [first]


def test_a_pod_for_which_another_machine_left_no_room_is_given_back_at_once(
    account: FakeRunPod, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The other's pod appears between the look at what is rented and the creation."""
    others: list[str] = []

    def be_slower(body: Any) -> None:
        account.on_create = lambda _: None
        with another_machine(monkeypatch, tmp_path):
            others.append(rent(provider(**ELSEWHERE), WORKER))
        clock.sleep(1)

    account.on_create = be_slower
    with pytest.raises(NodeLaunchException, match=r"was given back: the cluster's max_usd_per_hour is 0\.5"):
        rent(provider(max_usd_per_hour=0.5), WORKER)
    assert list(account.pods) == others


def test_a_ceiling_that_is_lowered_ends_no_pod_that_works(account: FakeRunPod, clock: FakeClock) -> None:
    pods = [rent(provider(), WORKER) for _ in range(3)]
    clock.sleep(2 * LISTED_S)
    assert provider(max_usd_per_hour=0.5).non_terminated_nodes({}) == pods


def test_a_cluster_gets_no_second_head(account: FakeRunPod) -> None:
    head = rent(provider())
    with pytest.raises(NodeLaunchException, match=f"demo has a head by now, pod {head}"):
        rent(provider())
    assert list(account.pods) == [head]


def test_the_head_gives_back_another_head(
    account: FakeRunPod, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ray up` failed after a lost answer and was typed again; the pod of the first time appears an hour later."""
    account.faults += [lost(3600), Fault("POST", "/v2/pods", 402)]
    with pytest.raises(NodeLaunchException):
        rent(provider())
    head, worker = rent(provider()), rent(provider(), WORKER)
    clock.sleep(3600)
    monkeypatch.setenv("RUNPOD_POD_ID", head)
    assert set(provider(owner="ann").non_terminated_nodes({})) == {head, worker}
    assert set(account.pods) == {head, worker}


def test_who_is_no_head_of_the_cluster_gives_no_head_back(account: FakeRunPod, monkeypatch: pytest.MonkeyPatch) -> None:
    head = rent(provider())
    monkeypatch.setenv("RUNPOD_POD_ID", "elsewhere")
    assert provider(owner="ann").non_terminated_nodes({}) == [head]
    assert list(account.pods) == [head]


def test_a_client_of_the_api_asks_once(account: FakeRunPod) -> None:
    account.faults.append(Fault("POST", "/v2/pods", 500, times=2))
    pod = rent(provider(), gpu_types=["NVIDIA L4", "NVIDIA A40"])
    assert [body["gpu"]["id"] for body in bodies(account)] == ["NVIDIA L4", "NVIDIA L4", "NVIDIA A40"]
    assert len({body["name"] for body in bodies(account)}) == 3
    assert [found.id for found in RunPod.from_environment().pods()] == [pod]
