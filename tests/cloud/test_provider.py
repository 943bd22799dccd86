"""The node provider against a fake RunPod: what it rents, what it says, what it gives back."""

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler.node_launch_exception import NodeLaunchException

from eigen2.cloud import fleet
from eigen2.cloud.api import RunPod
from eigen2.cloud.cost import Ledger
from eigen2.cloud.fleet import rented_by_us
from eigen2.cloud.known import KnownPods
from eigen2.cloud.places import owner
from eigen2.cloud.pod import LABEL, ClusterId, Label
from eigen2.cloud.provider import RunPodNodeProvider
from eigen2.cloud.shared_file import SharedFile
from eigen2.cloud.teardown import Patience, end_cluster
from eigen2.errors import ConfigError, ResourceError
from tests.cloud.conftest import FakeClock
from tests.cloud.fake_runpod import FakeRunPod, Fault

HEAD = {
    "ray-node-type": "head",
    "ray-user-node-type": "head",
    "ray-launch-config": "abc",
    "ray-node-name": "ray-demo-head",
}
WORKER = {**HEAD, "ray-node-type": "worker", "ray-user-node-type": "worker", "ray-launch-request": "7"}
NODE = {"image": "img", "gpu_types": ["NVIDIA L4", "NVIDIA A40"], "max_usd_per_hour": 1.0}
SETTINGS = {
    "type": "external",
    "module": "eigen2.cloud.provider.RunPodNodeProvider",
    "max_usd_per_hour": 5.0,
    "ssh_private_key": "~/key",
}


def provider(**settings: Any) -> RunPodNodeProvider:
    return RunPodNodeProvider({**SETTINGS, **settings}, "demo")


def rent(made: RunPodNodeProvider, tags: dict[str, str] = HEAD, **node: Any) -> str:
    return next(iter(made.create_node({**NODE, **node}, tags, 1)))


def bodies(account: FakeRunPod) -> list[dict[str, Any]]:
    return [body for method, _, body in account.requests if method == "POST"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that fetches its list for every question."""
    monkeypatch.setattr(fleet, "FRESH_S", -1.0)


def test_a_head_is_rented_as_configured(home: Path, account: FakeRunPod) -> None:
    made = provider(volume_id="vol1", volume_path="/workspace")
    pod_id = rent(made, data_centers=["EU-RO-1"], gpu_count=2, disk_gb=60, min_cuda="12.8", env={"A": "b"})
    (body,) = bodies(account)
    tags = body["env"].pop(LABEL)
    assert body.pop("name").startswith("ray-demo-head-")
    assert body == {
        "image": "img",
        "gpu": {"id": "NVIDIA L4", "count": 2, "minCudaVersion": "12.8"},
        "cloud": "SECURE",
        "dataCenterIds": ["EU-RO-1"],
        "disk": 60,
        "ports": ["22/tcp"],
        "globalNetworking": True,
        "mounts": {"network": [{"volumeId": "vol1", "path": "/workspace"}]},
        "env": {"A": "b", "PUBLIC_KEY": "ssh-ed25519 AAAA test"},
    }
    label = Label.decode(tags)
    assert label is not None
    assert (label.owner, label.cluster, label.tags) == ("ann", "demo", HEAD)
    assert (label.usd_per_hour, label.attempt) == (0.78, 1)
    assert account.broken == []
    assert made.is_running(pod_id)
    assert made.external_ip(pod_id) == "127.0.0.1"
    assert made.internal_ip(pod_id) == "10.65.0.9"


def test_nodes_are_found_by_their_tags(home: Path) -> None:
    made = provider()
    head, worker = rent(made), rent(made, WORKER)
    assert set(made.non_terminated_nodes({})) == {head, worker}
    assert made.non_terminated_nodes({"ray-node-type": "head"}) == [head]
    assert made.non_terminated_nodes({"ray-node-type": "worker", "ray-launch-request": "8"}) == []


def test_a_second_process_sees_all_tags(home: Path) -> None:
    first = provider()
    head = rent(first)
    first.set_node_tags(head, {"ray-node-status": "setting-up"})
    first.set_node_tags(head, {"ray-node-status": "up-to-date", "ray-runtime-config": "h"})
    second = provider()
    assert second.node_tags(head) == {**HEAD, "ray-node-status": "up-to-date", "ray-runtime-config": "h"}
    assert second.non_terminated_nodes({"ray-node-status": "up-to-date"}) == [head]
    second.terminate_node(head)
    assert json.loads((home / ".eigen2/cloud/demo/tags.json").read_text()) == {}


def test_pods_of_others_are_not_ours(home: Path, account: FakeRunPod) -> None:
    api = RunPod.from_environment()
    stranger = api.create({"name": "mine", "image": "i", "gpu": {"id": "NVIDIA L4"}, "globalNetworking": False})
    other = RunPodNodeProvider(SETTINGS, "other")
    theirs = rent(other)
    made = provider()
    head = rent(made)
    assert made.non_terminated_nodes({}) == [head]
    assert [pod.id for pod in rented_by_us(api)] == [theirs, head]
    assert list(end_cluster(api, ClusterId("ann", "demo"), Patience()).ended) == [head]
    assert set(account.pods) == {stranger.id, theirs}


def test_one_list_answers_every_question(home: Path, account: FakeRunPod) -> None:
    made = provider()
    pods = [rent(made, WORKER) for _ in range(5)]
    before = account.count("GET")
    for pod in pods * 20:
        assert pod in made.non_terminated_nodes({})
        assert made.is_running(pod)
        assert not made.is_terminated(pod)
        assert made.node_tags(pod)
        assert made.internal_ip(pod)
    assert account.count("GET") - before <= 1


def test_gpu_types_and_data_centres_are_tried_in_order_and_each_refusal_is_told(
    home: Path, account: FakeRunPod, caplog: pytest.LogCaptureFixture
) -> None:
    account.sold_out = {"NVIDIA L4"}
    pod = rent(provider(), data_centers=["EU-RO-1", "US-KS-2"])
    tried = [(body["gpu"]["id"], body["dataCenterIds"]) for body in bodies(account)]
    assert tried == [("NVIDIA L4", ["EU-RO-1"]), ("NVIDIA L4", ["US-KS-2"]), ("NVIDIA A40", ["EU-RO-1"])]
    told = [record.message for record in caplog.records]
    assert "1 x NVIDIA L4 in EU-RO-1" in told[0]
    assert "no instances currently available" in told[0]
    assert "1 x NVIDIA L4 in US-KS-2" in told[1]
    assert told[2] == f"rented pod {pod} ({account.pods[pod].body['name']}): 1 x NVIDIA A40 at $0.44 an hour"


def test_where_nothing_is_to_be_had_all_refusals_are_in_the_error(home: Path, account: FakeRunPod) -> None:
    account.sold_out = {"NVIDIA L4"}
    with pytest.raises(NodeLaunchException) as caught:
        rent(provider(), gpu_types=["NVIDIA L4", "NVIDIA H100 80GB HBM3", "NVIDIA Typo"])
    message = str(caught.value)
    assert "NVIDIA L4 in any data centre: RunPod: POST /pods: 400" in message
    assert "costs $2.69 an hour, above max_usd_per_hour 1.00 of a pod" in message
    assert "NVIDIA Typo in any data centre: RunPod's catalogue has no such GPU type" in message
    assert "add GPU types or data centres" in message
    assert len(bodies(account)) == 1


@pytest.mark.parametrize(("status", "category"), [(402, "balance"), (401, "key"), (422, "contract")])
def test_what_no_other_place_would_mend_ends_the_search(
    home: Path, account: FakeRunPod, status: int, category: str
) -> None:
    account.faults.append(Fault("POST", "/v2/pods", status))
    with pytest.raises(NodeLaunchException) as caught:
        rent(provider())
    assert caught.value.category == category
    assert len(bodies(account)) == 1


def test_a_pool_that_the_account_may_not_use_is_passed_over(home: Path, account: FakeRunPod) -> None:
    account.faults.append(Fault("POST", "/v2/pods", 403, "access denied"))
    assert account.pods[rent(provider())].body["gpu"]["id"] == "NVIDIA A40"


def test_where_no_place_may_be_used_there_are_no_rights(home: Path, account: FakeRunPod) -> None:
    account.faults.append(Fault("POST", "/v2/pods", 403, "access denied", times=9))
    with pytest.raises(NodeLaunchException, match="there are no rights to rent a pod for demo") as caught:
        rent(provider())
    assert caught.value.category == "permission"
    assert len(bodies(account)) == 2
    assert "give RUNPOD_API_KEY write access to pods" in str(caught.value)
    assert "NVIDIA L4 in any data centre" in str(caught.value)
    assert "NVIDIA A40 in any data centre" in str(caught.value)


def test_rights_for_some_places_and_no_room_in_others_is_no_matter_of_rights(home: Path, account: FakeRunPod) -> None:
    account.faults.append(Fault("POST", "/v2/pods", 403, "access denied"))
    account.sold_out = {"NVIDIA A40"}
    with pytest.raises(NodeLaunchException, match="no pod could be rented for demo"):
        rent(provider())


def test_a_key_without_any_rights_ends_the_search_at_the_catalogue(home: Path, account: FakeRunPod) -> None:
    account.faults.append(Fault("GET", "/v2/catalog/gpus", 403, "access denied"))
    with pytest.raises(NodeLaunchException, match="403 access denied"):
        rent(provider())
    assert bodies(account) == []


def test_a_gpu_type_without_a_price_is_passed_over(home: Path, account: FakeRunPod) -> None:
    account.prices["NVIDIA L4"] = None
    assert account.pods[rent(provider())].body["gpu"]["id"] == "NVIDIA A40"
    account.prices["NVIDIA A40"] = None
    with pytest.raises(NodeLaunchException, match="names no price of it in SECURE"):
        rent(provider(), WORKER)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -0.39])
def test_a_catalogue_price_that_is_no_amount_is_none(home: Path, account: FakeRunPod, price: float) -> None:
    account.prices["NVIDIA L4"] = price
    with pytest.raises(NodeLaunchException, match="names no price of it in SECURE"):
        rent(provider(), gpu_types=["NVIDIA L4"])
    assert bodies(account) == []


@pytest.mark.parametrize("field", ["cost", "createdAt", "gpu", "ssh", "globalNetworking", "name"])
def test_a_pod_with_a_null_is_listed_counted_and_ended(
    home: Path, account: FakeRunPod, impatient: None, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setenv("RUNPOD_POD_ID", "me")
    made = provider(max_usd_per_hour=0.5, owner="ann")
    pod = rent(made, WORKER)
    account.pods[pod].shown = {field: None}
    assert made.non_terminated_nodes({}) == [pod]
    assert Ledger(home / ".eigen2/cost.json").usd() is not None
    with pytest.raises(NodeLaunchException, match="max_usd_per_hour leaves 0"):
        rent(made, WORKER)
    made.terminate_nodes(made.nodes_for_teardown({}))
    assert account.pods == {}


@pytest.mark.parametrize("status", [404, 405, 409, 410, 418, 451])
def test_a_refusal_in_one_place_is_tried_elsewhere(home: Path, account: FakeRunPod, status: int) -> None:
    account.faults.append(Fault("POST", "/v2/pods", status))
    assert account.pods[rent(provider())].body["gpu"]["id"] == "NVIDIA A40"


def test_the_price_that_is_charged_counts(home: Path, account: FakeRunPod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that turns out dearer than the catalogue said is given back at once."""
    monkeypatch.setattr(RunPod, "prices_usd_per_hour", lambda self, cloud: {"NVIDIA L4": 0.1, "NVIDIA A40": 0.1})
    with pytest.raises(NodeLaunchException, match=r"costs \$0\.39 an hour.*given back.*costs \$0\.44"):
        rent(provider(), max_usd_per_hour=0.2)
    assert account.pods == {}


def test_the_cluster_has_a_ceiling_of_its_own(home: Path, account: FakeRunPod) -> None:
    made = provider(max_usd_per_hour=1.0)
    rent(made)
    rent(made, WORKER)
    with pytest.raises(NodeLaunchException, match=r"the cluster's max_usd_per_hour leaves 0\.22"):
        rent(made, WORKER)
    assert len(account.pods) == 2


def test_the_ceiling_holds_where_many_rent_at_once(home: Path, account: FakeRunPod) -> None:
    made = provider(max_usd_per_hour=1.0)

    def try_to_rent() -> None:
        try:
            rent(made, WORKER)
        except NodeLaunchException:
            return

    threads = [threading.Thread(target=try_to_rent) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(pod.usd_per_hour for pod in account.pods.values()) <= 1.0
    assert len(account.pods) == 2
    assert set(made.non_terminated_nodes({})) == set(account.pods)


def test_a_pod_that_never_gets_ready_is_given_back_and_named(
    home: Path, account: FakeRunPod, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    account.start_delay_s = 9999
    made = provider(ready_minutes=10)
    pod = rent(made)
    assert not made.is_terminated(pod)
    assert not made.is_running(pod)
    assert made.external_ip(pod) is None
    account.pods[pod].created = time.time() - 601
    assert made.is_terminated(pod)
    assert account.pods == {}
    assert f"pod {pod}" in caplog.text
    assert "not ready after 10 minutes" in caplog.text


@pytest.mark.parametrize("off_by_s", [-86400.0, 3600.0, 86400.0])
@pytest.mark.parametrize("told", [True, False], ids=["Date", "no Date"])
def test_a_wrong_clock_of_this_machine_ends_no_pod_that_boots(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None, off_by_s: float, told: bool
) -> None:
    account.clock = lambda: time.time() + off_by_s + fake_time.now
    account.start_delay_s = 9999
    account.tells_time = told
    made = provider(ready_minutes=10)
    pod = rent(made)
    fake_time.sleep(590)
    assert made.non_terminated_nodes({}) == [pod]
    fake_time.sleep(20)
    assert made.non_terminated_nodes({}) == []
    assert account.pods == {}


def test_a_pod_that_boots_while_ray_starts_anew_is_given_its_time(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None
) -> None:
    account.start_delay_s = 9999
    pod = rent(provider(ready_minutes=10))
    fake_time.sleep(590)
    assert provider(ready_minutes=10).non_terminated_nodes({}) == [pod]
    fake_time.sleep(20)
    made = provider(ready_minutes=10)
    looks = [made.non_terminated_nodes({}) for _ in range(fleet.LOOKS)]
    assert looks == [[pod], [pod], []]


ODD = [
    {"ssh": None},
    {"ssh": {"direct": None}},
    {"ssh": None, "status": "RESTARTING"},
    {"ssh": None, "status": None},
    {"ssh": None, "status": "PROVISIONING"},
]


@pytest.mark.parametrize("shown", ODD, ids=str)
@pytest.mark.parametrize("tags", [HEAD, WORKER], ids=["head", "worker"])
def test_a_pod_that_was_ready_is_kept_by_a_process_that_never_saw_it_ready(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None, tags: dict[str, str], shown: dict[str, Any]
) -> None:
    pod = rent(provider(), tags)
    fake_time.sleep(3600)
    account.pods[pod].shown = shown
    forget_memory()
    made = provider()
    for _ in range(5):
        assert made.non_terminated_nodes({}) == [pod]
        fake_time.sleep(600)
    assert list(account.pods) == [pod]


@pytest.mark.parametrize("shown", ODD, ids=str)
def test_an_odd_answer_ends_no_head_from_a_machine_that_knows_nothing_of_it(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None, shown: dict[str, Any]
) -> None:
    head = rent(provider())
    fake_time.sleep(3600)
    account.pods[head].shown = shown
    (home / ".eigen2/pods.json").unlink()
    forget_memory()
    made = provider()
    assert made.non_terminated_nodes({}) == [head]
    account.pods[head].shown = {}
    assert made.non_terminated_nodes({}) == [head]


def test_a_pod_that_runs_without_an_address_is_given_back_when_it_was_watched_for_long(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None
) -> None:
    account.start_delay_s = 9999
    made = provider(ready_minutes=10)
    pod = rent(made)
    account.pods[pod].shown = {"status": "RUNNING", "ssh": None}
    for seconds in (0, 300, 290):
        fake_time.sleep(seconds)
        assert made.non_terminated_nodes({}) == [pod]
    fake_time.sleep(20)
    assert made.non_terminated_nodes({}) == []


def test_a_pod_that_was_seen_ready_is_known_without_a_disk(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    made = provider()
    pod = rent(made)
    (home / ".eigen2/pods.json").unlink()
    forget_memory()
    monkeypatch.setattr(SharedFile, "_write", fail)
    made = provider()
    assert made.non_terminated_nodes({}) == [pod]
    account.pods[pod].shown = {"ssh": None, "env": None}
    fake_time.sleep(3600)
    assert [made.non_terminated_nodes({}) for _ in range(5)] == [[pod]] * 5


@pytest.mark.parametrize("shown", [{"env": None}, {"env": {}}, {"env": None, "name": None, "cost": None}], ids=str)
def test_a_pod_whose_env_is_missing_is_known_by_its_id(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None, shown: dict[str, Any]
) -> None:
    pod = rent(provider(), WORKER)
    account.pods[pod].shown = shown
    forget_memory()
    made = provider()
    assert made.non_terminated_nodes({"ray-node-type": "worker"}) == [pod]
    (found,) = rented_by_us(RunPod.from_environment(), "ann", "demo")
    assert (found.id, found.usd_per_hour) == (pod, 0.39)
    made.terminate_nodes(made.nodes_for_teardown({}))
    assert account.pods == {}


def test_a_pod_whose_answer_got_lost_is_known_by_its_name(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None
) -> None:
    account.faults += [Fault("POST", "/v2/pods", 504, after=True, late_s=3600), Fault("POST", "/v2/pods", 402)]
    with pytest.raises(NodeLaunchException):
        rent(provider(), WORKER)
    (pod,) = account.pods
    account.pods[pod].shown = {"env": None}
    fake_time.sleep(3600)
    forget_memory()
    assert provider().nodes_for_teardown({}) == [pod]


def test_a_pod_of_the_clusters_name_and_an_unknown_owner_is_named_and_left(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    pod = rent(provider(), WORKER)
    account.pods[pod].shown = {"env": None}
    (home / ".eigen2/pods.json").unlink()
    forget_memory()
    made = provider()
    assert [made.nodes_for_teardown({}) for _ in range(2)] == [[], []]
    assert caplog.text.count(f"pod {pod} ({account.pods[pod].body['name']}) is left and still paid for") == 1
    assert [found.id for found in rented_by_us(RunPod.from_environment())] == [pod]
    assert rented_by_us(RunPod.from_environment(), "ann") == []
    assert list(account.pods) == [pod]


def forget_memory() -> None:  # with `fake_time` all clients are one
    """Go on as a process that has just begun would."""
    RunPod.from_environment()._known = KnownPods()


def test_a_pod_that_was_ready_is_not_given_back_for_a_restart(home: Path, account: FakeRunPod, impatient: None) -> None:
    made = provider(ready_minutes=10)
    pod = rent(made)
    assert made.is_running(pod)
    account.pods[pod].created = time.time() - 86400
    account.pods[pod].status = "STARTING"
    assert not made.is_terminated(pod)


@pytest.mark.parametrize("status", ["EXITED", "ERROR"])
def test_a_pod_that_stops_by_itself_is_given_back(
    home: Path, account: FakeRunPod, impatient: None, caplog: pytest.LogCaptureFixture, status: str
) -> None:
    made = provider()
    pod = rent(made)
    account.pods[pod].status = status
    assert made.is_terminated(pod)
    assert account.pods == {}, "a stopped pod still pays for its disk"
    assert f"it stopped by itself ({status})" in caplog.text


def test_a_pod_that_vanishes_is_noticed(home: Path, account: FakeRunPod, impatient: None) -> None:
    made = provider()
    pod = rent(made)
    assert made.non_terminated_nodes({}) == [pod]
    account.pods.clear()
    assert made.is_terminated(pod)
    assert made.non_terminated_nodes({}) == []


def test_a_list_that_lags_behind_misleads_nobody(
    home: Path, account: FakeRunPod, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = provider()
    with monkeypatch.context() as lagging:
        lagging.setattr(RunPod, "pods", lambda self: [])
        pod = rent(made)
        assert made.non_terminated_nodes({}) == [pod], "rented, though not on the list yet"
    listed = RunPod.from_environment().pods()
    monkeypatch.setattr(RunPod, "pods", lambda self: listed)
    made.terminate_node(pod)
    assert made.non_terminated_nodes({}) == [], "ended, though still on the list"


def test_an_outage_of_the_api_loses_no_pod(
    home: Path, account: FakeRunPod, impatient: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = provider()
    monkeypatch.setattr(made._api, "_deadline_s", 0.1)
    pod = rent(made)
    assert made.non_terminated_nodes({}) == [pod]
    account.faults.append(Fault("GET", "/v2/pods", 503, times=3))
    assert made.non_terminated_nodes({}) == [pod]
    assert "going on with what was known" in caplog.text


def test_the_head_keeps_a_ledger_of_the_cost(
    home: Path, account: FakeRunPod, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_POD_ID", "me")
    made = provider()
    head, worker = rent(made), rent(made, WORKER)
    for pod in (head, worker):
        account.pods[pod].created = time.time() - 3600
    made.non_terminated_nodes({})
    ledger = Ledger(home / ".eigen2/cost.json")
    assert ledger.usd() == pytest.approx(0.78, abs=0.01)
    made.terminate_node(worker)
    account.pods[head].created = time.time() - 7200
    made.non_terminated_nodes({})
    assert ledger.usd() == pytest.approx(0.39 + 2 * 0.39, abs=0.01), "a pod that is gone is still paid for"


def test_one_refusal_keeps_no_other_pod_from_being_ended(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None
) -> None:
    made = provider()
    stuck, *others = [rent(made, WORKER) for _ in range(3)]
    account.faults.append(Fault("DELETE", f"/v2/pods/{stuck}", 409, "locked", times=2))
    made.terminate_nodes([stuck, *others])
    assert account.pods == {}, "tried again"


def test_a_pod_that_cannot_be_ended_is_named(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None
) -> None:
    made = provider()
    stuck, other = rent(made, WORKER), rent(made, WORKER)
    account.faults.append(Fault("DELETE", f"/v2/pods/{stuck}", 409, "locked", times=99))
    with pytest.raises(ResourceError, match=rf"pod {stuck} .*is left and still paid for: .*409 locked; .*end it with"):
        made.terminate_nodes([stuck, other])
    assert list(account.pods) == [stuck]
    assert made.nodes_for_teardown({}) == [stuck]


def test_a_pod_whose_giving_back_was_refused_is_not_overlooked(
    fake_time: FakeClock, home: Path, account: FakeRunPod, impatient: None
) -> None:
    made = provider(max_usd_per_hour=0.5)
    pod = rent(made, WORKER)
    account.pods[pod].status = "ERROR"
    account.faults.append(Fault("DELETE", f"/v2/pods/{pod}", 409, "locked", times=3))
    assert made.non_terminated_nodes({}) == []
    assert made.nodes_for_teardown({}) == [pod]
    with pytest.raises(NodeLaunchException, match="leaves 0"):
        rent(made, WORKER)
    made.terminate_nodes([pod])
    assert account.pods == {}


@pytest.mark.parametrize("name", ["../../x", "/etc", "a/b", "..", "", "a b", "-x", "a\n", None])
def test_a_name_that_is_no_name_makes_no_path(home: Path, name: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(home.rglob("*"))
    with pytest.raises(SystemExit, match=r"cluster_name .*: use 1 to 63 letters, digits"):
        RunPodNodeProvider.bootstrap_config({**cluster_config(home), "cluster_name": name})
    with pytest.raises(ConfigError, match=r"cluster_name .*: use 1 to 63 letters, digits"):
        RunPodNodeProvider(SETTINGS, name)
    assert sorted(home.rglob("*")) == before


def test_a_damaged_file_of_tags_is_begun_anew(home: Path, account: FakeRunPod, impatient: None) -> None:
    made = provider()
    pod = rent(made)
    path = home / ".eigen2/cloud/demo/tags.json"
    for content in (b"{", b"[]", b'{"a": 5}', b"\xff\x00"):
        path.write_bytes(content)
        assert made.non_terminated_nodes({}) == [pod]
        made.set_node_tags(pod, {"a": "b"})
        assert path.with_suffix(".damaged").read_bytes() == content
        assert made.node_tags(pod)["a"] == "b"
    path.write_bytes(b"{")
    made.terminate_node(pod)
    assert account.pods == {}


def test_two_people_with_a_cluster_of_one_name_see_and_end_their_own(
    home: Path, account: FakeRunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    anns, bobs = provider(), provider(owner="bob")
    hers, his = rent(anns), rent(bobs)
    assert anns.non_terminated_nodes({}) == anns.nodes_for_teardown({}) == [hers]
    assert bobs.non_terminated_nodes({}) == bobs.nodes_for_teardown({}) == [his]
    end_cluster(RunPod.from_environment(), ClusterId("bob", "demo"), Patience())
    assert list(account.pods) == [hers]


def test_an_owner_is_named_once_for_a_user_of_a_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".eigen2/owner").unlink()
    monkeypatch.setenv("USER", "Ännchen O'x")
    names = {owner() for _ in range(3)}
    assert len(names) == 1
    assert re.fullmatch(r"nnchen-O-x-[A-Za-z0-9-]+-[0-9a-f]{8}", *names)
    (home / ".eigen2/owner").write_text("../x")
    with pytest.raises(ConfigError, match=r"the owner in .*: use 1 to 63 letters"):
        provider()


def test_the_head_works_for_the_owner_of_the_laptop(home: Path) -> None:
    remote = provider().prepare_for_head_node({**cluster_config(home), "provider": dict(SETTINGS)})
    assert remote["provider"]["owner"] == "ann"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"provider": {"max_usd_per_hr": 1}}, "provider.max_usd_per_hr: Extra inputs are not permitted"),
        ({"provider": {"secrets": ["../x"]}}, "provider.secrets.0"),
        ({"provider": {"owner": "../x"}}, "provider.owner"),
        ({"provider": {"max_usd_per_hour": float("inf")}}, "provider.max_usd_per_hour"),
        ({"node": {"gpu_types": []}}, "available_node_types.head.node_config.gpu_types"),
        ({"node": {"max_usd_per_hour": 0}}, "available_node_types.head.node_config.max_usd_per_hour"),
        ({"node": {"min_cuda": "12"}}, "available_node_types.head.node_config.min_cuda"),
    ],
)
def test_a_mistake_in_the_settings_is_named_before_anything_is_rented(
    home: Path, changed: dict[str, Any], message: str
) -> None:
    config = cluster_config(home)
    config["provider"] |= changed.get("provider", {})
    config["available_node_types"]["head"]["node_config"] |= changed.get("node", {})
    with pytest.raises(SystemExit) as caught:
        RunPodNodeProvider.bootstrap_config(config)
    assert message in str(caught.value)


def cluster_config(home: Path) -> dict[str, Any]:
    return {
        "cluster_name": "demo",
        "provider": {key: value for key, value in SETTINGS.items() if key != "ssh_private_key"},
        "auth": {"ssh_user": "root", "ssh_private_key": str(home / "made/key")},
        "available_node_types": {"head": {"node_config": dict(NODE), "resources": {}}},
        "file_mounts": {"~/.ray/auth_token": "~/.ray/auth_token"},
    }


def test_key_and_token_are_made_once_and_private(home: Path) -> None:
    config = RunPodNodeProvider.bootstrap_config(cluster_config(home))
    files = [home / "made/key", home / ".ray/auth_token"]
    made = [file.read_bytes() for file in files]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    assert RunPodNodeProvider.bootstrap_config(cluster_config(home)) == config
    assert [file.read_bytes() for file in files] == made


def test_without_an_api_key_nothing_begins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    with pytest.raises(SystemExit, match="RUNPOD_API_KEY is not set"):
        RunPodNodeProvider.bootstrap_config(cluster_config(home))


def test_the_head_gets_the_public_key_and_no_path_of_the_laptop(home: Path) -> None:
    config = {**cluster_config(home), "provider": {**SETTINGS, "_config_cache_path": "/tmp/x"}}
    remote = provider().prepare_for_head_node(config)
    assert remote["provider"]["ssh_public_key"] == "ssh-ed25519 AAAA test"
    assert {"ssh_private_key", "_config_cache_path"}.isdisjoint(remote["provider"])
