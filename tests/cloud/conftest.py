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


@pytest.fixture
def pauses() -> list[float]:
    """What a client slept, in seconds, without sleeping."""
    return []


@pytest.fixture
def api(address: str, pauses: list[float]) -> RunPod:
    return RunPod(KEY, address, sleep=pauses.append)


@pytest.fixture
def home(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laptop with an API key, an SSH key, and nothing else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("RUNPOD_API_BASE", address)
    monkeypatch.delenv("RUNPOD_POD_ID", raising=False)
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA test\n")
    return tmp_path
