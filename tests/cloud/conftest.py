"""An account of the fake RunPod, clients of it, and a home folder of one's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eigen2.cloud.api import RunPod
from tests.cloud.fake_runpod import KEY, FakeRunPod, serving


@pytest.fixture
def account() -> FakeRunPod:
    return FakeRunPod()


@pytest.fixture
def address(account: FakeRunPod) -> Iterator[str]:
    with serving(account) as base:
        yield base


class FakeClock:
    """Seconds that pass when somebody sleeps, and at no other time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def date(self) -> float:
        """Seconds since 1970."""
        return 1_800_000_000.0 + self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pauses(clock: FakeClock) -> list[float]:
    """What a client slept, in seconds, without sleeping."""
    return clock.pauses


@pytest.fixture
def api(address: str, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPod:
    monkeypatch.setenv("HOME", str(tmp_path))
    return RunPod(KEY, address, sleep=clock.sleep, clock=clock)


@pytest.fixture
def fake_time(account: FakeRunPod, address: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """RunPod and every client of it that is made from the environment live by one clock."""
    account.clock = clock.date
    made = RunPod(KEY, address, sleep=clock.sleep, clock=clock)
    monkeypatch.setattr(RunPod, "from_environment", lambda *_, **__: made)
    return clock


@pytest.fixture
def home(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laptop with an API key, an SSH key, and nothing else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("RUNPOD_API_BASE", address)
    monkeypatch.delenv("RUNPOD_POD_ID", raising=False)
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA test\n")
    (tmp_path / ".eigen2").mkdir()
    (tmp_path / ".eigen2/owner").write_text("ann\n")
    return tmp_path
