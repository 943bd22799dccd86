"""The keeper on the head: a command gets its secrets, and a budget is kept whatever the command does."""

import itertools
import sys
from pathlib import Path

import pytest

from eigen2.cloud import keeper
from eigen2.cloud.api import LISTED_S, RunPod
from eigen2.cloud.cost import Budget, Ledger
from eigen2.cloud.known import KnownPods
from eigen2.cloud.pod import ClusterId
from eigen2.cloud.reservations import Reservations, renting
from eigen2.cloud.teardown import Patience, Teardown
from eigen2.errors import ResourceError
from tests.cloud.conftest import FakeClock
from tests.cloud.fake_runpod import KEY, FakeRunPod, Fault
from tests.cloud.test_provider import HEAD, WORKER, provider, rent

WHOSE = ["--owner", "ann", "--cluster", "demo"]
CLUSTER = ClusterId("ann", "demo")
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def no_budget(home: Path) -> Budget:
    return Budget(Ledger(home / "cost.json"), None, None)


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_ends_as_it_ends(home: Path, code: int) -> None:
    assert keeper.keep(python(f"raise SystemExit({code})"), no_budget(home), poll_s=0.01) == code


def test_a_run_gets_its_secrets_but_not_the_key_that_rents(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    folder = home / ".eigen2/secrets"
    folder.mkdir(parents=True)
    (folder / "RUNPOD_API_KEY").write_text(KEY)
    (folder / "WANDB_API_KEY").write_text("planted")
    look = "import os; assert os.environ['WANDB_API_KEY'] == 'planted'; assert 'RUNPOD_API_KEY' not in os.environ"
    assert keeper.keep(python(look), no_budget(home), poll_s=0.01) == 0


def test_a_run_that_reaches_no_checkpoint_is_ended(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    budget = Budget(Ledger(home / "cost.json"), None, 1e-6)
    assert keeper.keep(SLEEP, budget, poll_s=0.05, grace_s=0.2) == -15
    assert "the run has 0.2 s to reach a checkpoint" in capfd.readouterr().err


Pods = tuple[str, list[str]]


@pytest.fixture
def pods(home: Path, account: FakeRunPod, fake_time: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Pods:
    """A head, on which we are, and its two workers; time passes only while somebody waits for RunPod."""
    made = provider()
    head, workers = rent(made, HEAD), [rent(made, WORKER) for _ in range(2)]
    fake_time.sleep(2 * LISTED_S)
    account.requests.clear()
    monkeypatch.setattr(Reservations, "left_s", lambda _: 0.0)
    monkeypatch.setenv("RUNPOD_POD_ID", head)
    monkeypatch.setattr(keeper, "POLL_S", 0.01)
    monkeypatch.setattr(keeper, "LOOK_S", 0.02)
    return head, workers


def ended(account: FakeRunPod) -> list[str]:
    return [path.rsplit("/", 1)[1] for method, path, _ in account.requests if method == "DELETE"]


@pytest.mark.parametrize("limit", [["--max-hours", "1"], ["--max-cost", "99"]])
def test_with_a_budget_the_cluster_is_taken_down_its_head_last(
    account: FakeRunPod, pods: Pods, limit: list[str]
) -> None:
    head, workers = pods
    assert keeper.main([*WHOSE, *limit, "--", *python("raise SystemExit(3)")]) == 3
    assert ended(account) == [*workers, head]
    assert account.pods == {}


@pytest.mark.parametrize("command", ["no-such-command", "/"])
def test_a_command_that_cannot_be_started_leaves_no_cluster(
    account: FakeRunPod, pods: Pods, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert keeper.main([*WHOSE, "--max-cost", "9", "--", command]) == 127
    assert account.pods == {}
    assert f"eigen2: {command} can't be started: " in capfd.readouterr().err


UNREADABLE = [
    ["--max-cost", "abc", "--", "true"],
    ["--max-cost=abc", "--", "true"],
    ["--max-cost", "--", "true"],
    ["--max-hours", "1", "--grace", "soon", "--", "true"],
    ["--max-hours", "1", "--unknown", "--", "true"],
    ["--max-hours", "1", "--"],
    ["--max-hours", "1"],
]


@pytest.mark.parametrize("words", UNREADABLE, ids=" ".join)
def test_a_budget_whose_words_cannot_be_read_leaves_no_cluster(
    account: FakeRunPod, pods: Pods, words: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        keeper.main([*WHOSE, *words])
    assert caught.value.code == 2
    assert account.pods == {}


@pytest.mark.parametrize(
    "words", [["--grace", "soon", "--", "true"], ["--"], ["--unknown", "--", "x", "--max-cost", "5"]]
)
def test_without_a_budget_words_that_cannot_be_read_leave_the_cluster(
    account: FakeRunPod, pods: Pods, words: list[str]
) -> None:
    with pytest.raises(SystemExit):
        keeper.main([*WHOSE, *words])
    assert len(account.pods) == 3


def test_an_error_that_nobody_thought_of_leaves_no_cluster(
    account: FakeRunPod, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Budget, "spent", fail)
    with pytest.raises(MemoryError):
        keeper.main([*WHOSE, "--max-cost", "9", "--", *SLEEP])
    assert account.pods == {}


def stay(usd: str, usd_per_hour: str = "0", seen: str = "0") -> str:
    return f'{{"a": {{"usd": {usd}, "age_s": 0, "usd_per_hour": {usd_per_hour}, "seen": {seen}, "gone": true}}}}'


NOT_AMOUNTS = [stay("NaN"), stay("-99"), stay("-Infinity"), stay("0", "NaN"), stay("0", "-9"), stay("0", "0", "NaN")]


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', '{"a": {"since": 1}}', "\x00", *NOT_AMOUNTS])
def test_a_damaged_ledger_keeps_no_budget_from_being_kept(
    home: Path, account: FakeRunPod, pods: Pods, content: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the pods cost is asked anew, before the run and while it goes on."""
    path = home / ".eigen2/cost.json"
    path.write_text(content)
    for pod in account.pods.values():
        pod.created -= 3600
    damage = f"import pathlib, time; pathlib.Path({str(path)!r}).write_text({content!r}); time.sleep(600)"
    assert keeper.main([*WHOSE, "--max-cost", "1.1", "--grace", "0", "--", *python(damage)]) == -15
    assert "the cluster has cost $1.21, --max-cost is 1.1" in capfd.readouterr().err
    assert path.with_suffix(".damaged").read_text() == content
    assert account.pods == {}


def test_a_budget_sees_what_is_rented_while_rays_monitor_is_away(home: Path, account: FakeRunPod, pods: Pods) -> None:
    """Nobody but the keeper lists the pods, which age by ten hours after the run has begun."""
    ledger, api, looks = Ledger(home / ".eigen2/cost.json"), RunPod.from_environment(), itertools.count()

    def look() -> None:
        if next(looks) == 3:
            account.pods[pods[0]].created -= 36000
        keeper.look_at_cost(api, CLUSTER, ledger)

    look()
    budget = Budget(ledger, 3.0, None)
    assert keeper.keep(SLEEP, budget, poll_s=0.01, grace_s=0, look=look, look_s=0) == -15
    assert ledger.usd() == pytest.approx(3.9, abs=0.1)


def test_a_refused_end_is_tried_again_and_keeps_no_other_pod(account: FakeRunPod, pods: Pods) -> None:
    head, (first, second) = pods
    account.faults.append(Fault("DELETE", f"/v2/pods/{first}", 409, "locked", times=4))
    assert keeper.main([*WHOSE, "--max-hours", "1", "--", *python("")]) == 0
    assert ended(account) == [first, second, *[first] * 4, head]
    assert account.pods == {}


def test_a_pod_that_cannot_be_ended_is_named_and_the_head_goes_all_the_same(
    account: FakeRunPod, pods: Pods, fake_time: FakeClock, capfd: pytest.CaptureFixture[str]
) -> None:
    head, (first, _) = pods
    account.faults.append(Fault("DELETE", f"/v2/pods/{first}", 409, "locked", times=9999))
    before = fake_time.now
    assert keeper.main([*WHOSE, "--max-hours", "1", "--", *python("")]) == 1
    assert list(account.pods) == [first]
    assert ended(account)[-1] == head
    assert 600 <= fake_time.now - before < 700
    told = capfd.readouterr().err
    assert f"eigen2: pod {first} ({account.pods[first].body['name']}) is left and still paid for: " in told
    assert "409 locked" in told
    assert "end it with `eigen2 cloud sweep-up` or in RunPod's console" in told


def test_an_outage_of_hours_is_outlasted(account: FakeRunPod, pods: Pods, fake_time: FakeClock) -> None:
    account.faults.append(Fault("GET", "/v2/pods", 503, times=2000))
    before = fake_time.now
    assert keeper.main([*WHOSE, "--max-hours", "1", "--", *python("")]) == 0
    assert fake_time.now - before > 3 * 3600
    assert account.pods == {}


def test_a_key_that_may_end_nothing_is_told(account: FakeRunPod, pods: Pods, capfd: pytest.CaptureFixture[str]) -> None:
    account.faults.append(Fault("GET", "/v2/pods", 401, times=9999))
    assert keeper.main([*WHOSE, "--max-hours", "1", "--", *python("")]) == 1
    assert "cluster demo is left and still paid for: RunPod: GET /pods: 401" in capfd.readouterr().err


def without_env(account: FakeRunPod, pods: list[str]) -> None:
    for pod in pods:
        account.pods[pod].shown = {"env": None}
    RunPod.from_environment()._known = KnownPods()


def test_pods_that_this_machine_knows_are_ended_without_their_env(account: FakeRunPod, pods: Pods) -> None:
    head, workers = pods
    without_env(account, [head, *workers])
    assert keeper.main([*WHOSE, "--max-hours", "5", "--", *python("")]) == 0
    assert ended(account) == [*workers, head]
    assert account.pods == {}


def test_pods_whose_owner_is_not_known_are_named_and_left(
    home: Path, account: FakeRunPod, pods: Pods, capfd: pytest.CaptureFixture[str]
) -> None:
    _, workers = pods
    (home / ".eigen2/pods.json").unlink()
    without_env(account, workers)
    assert keeper.main([*WHOSE, "--max-hours", "5", "--", *python("")]) == 1
    assert list(account.pods) == workers
    told = capfd.readouterr().err
    for pod in workers:
        assert f"eigen2: pod {pod} ({account.pods[pod].body['name']}) is left and still paid for: " in told


def test_the_ledger_counts_pods_without_their_env(home: Path, account: FakeRunPod, pods: Pods) -> None:
    head, workers = pods
    without_env(account, [head, *workers])
    for pod in account.pods.values():
        pod.created -= 3600
    ledger = Ledger(home / ".eigen2/cost.json")
    keeper.look_at_cost(RunPod.from_environment(), CLUSTER, ledger)
    assert ledger.usd() == pytest.approx(3 * 0.39, abs=0.1)


def test_what_another_owner_has_rented_is_left_alone(account: FakeRunPod, pods: Pods) -> None:
    bobs = rent(provider(owner="bob"))
    assert keeper.main([*WHOSE, "--max-hours", "1", "--", *python("")]) == 0
    assert list(account.pods) == [bobs]


def test_the_head_outlives_a_request_whose_pod_may_still_appear(
    account: FakeRunPod, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reservations, "left_s", lambda _: LISTED_S)  # asked for just now, and the answer got lost
    account.list_delay_s = LISTED_S / 2
    rent(provider(), WORKER)
    assert keeper.main([*WHOSE, "--max-hours", "1", "--", *python("")]) == 0
    assert account.pods == {}


def test_while_the_cluster_is_taken_down_nobody_rents(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    def try_to_rent(*_: object, **__: object) -> Teardown:
        with pytest.raises(ResourceError, match="another process has been renting for demo"), renting("demo", 0.01):
            pass
        return Teardown(RunPod.from_environment(), Patience())

    monkeypatch.setattr(keeper, "end_cluster", try_to_rent)
    assert keeper.main([*WHOSE, "--max-hours", "1", "--", *python("")]) == 0


def test_a_search_that_does_not_end_keeps_the_cluster_from_nothing(
    account: FakeRunPod, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RENTING_S", 0.01)
    with renting("demo"):
        assert keeper.main([*WHOSE, "--max-hours", "1", "--", *python("")]) == 0
    assert account.pods == {}


def test_a_full_disk_keeps_the_cluster_from_nothing(
    account: FakeRunPod, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", fail)
    assert keeper.main([*WHOSE, "--max-cost", "9", "--", *python("")]) != 0
    assert account.pods == {}


def test_without_a_budget_the_cluster_stays(home: Path, account: FakeRunPod) -> None:
    head = rent(provider())
    assert keeper.main([*WHOSE, "--", *python("pass")]) == 0
    assert list(account.pods) == [head]
    assert [pod.id for pod in RunPod.from_environment().pods()] == [head]
