"""The doctor: each finding with its verdict and what to do."""

import argparse
import os
import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from eigen2.cli import doctor
from eigen2.cli.doctor import (
    Check,
    check_disk,
    check_python,
    check_ray,
    check_shared_memory,
    check_torch,
    checks,
    run,
    total_memory,
)
from eigen2.config import TrackingConfig

KEY = "0123456789abcdef0123456789abcdef01234567"
GB = 10**9
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A disk of a size that a test sets."""
    size = {"total": 0, "free": 0}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(size["total"], 0, size["free"]))
    return size


@pytest.fixture(scope="module")
def on_this_machine() -> dict[str, Check]:
    return {check.name: check for check in checks(None)}


def test_this_machine_can_train(on_this_machine: dict[str, Check]) -> None:
    assert list(on_this_machine) == ["Python", "torch", "Ray", "disk", "shared memory", "W&B key", "data"]
    assert [check for check in on_this_machine.values() if check.status == "FAIL"] == []


def test_the_embedded_market_is_described(on_this_machine: dict[str, Check]) -> None:
    assert on_this_machine["data"] == Check("data", "OK", "sp20: 4781 days of 21 columns, 2004-01-02 to 2022-12-28")


def test_data_that_cannot_be_read_fails_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argparse.Namespace(data="no-such-file.csv", cluster=None, runs_dir=None)) == 1
    shown = capsys.readouterr().out
    assert "FAIL" in shown
    assert "no-such-file.csv" in shown
    assert "--data" in shown


def test_the_command_succeeds_and_never_shows_a_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert run(argparse.Namespace(data=None, cluster=None, runs_dir=None)) == 0
    shown = capsys.readouterr().out
    assert "WANDB_API_KEY" in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("source", "mode", "status", "said"),
    [
        (None, "", "WARN", "runs are logged offline"),
        ("WANDB_API_KEY", "", "OK", "taken from WANDB_API_KEY"),
        ("WANDB_API_KEY", "dryrun", "OK", "logged offline all the same"),
        ("WANDB_API_KEY", "disabled", "OK", "W&B is disabled"),
        ("WANDB_API_KEY", "ofline", "FAIL", "WANDB_MODE is ofline"),
    ],
)
def test_the_doctor_says_whether_runs_go_online(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | None, mode: str, status: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_API_KEY", KEY if source else "")
    monkeypatch.setenv("WANDB_MODE", mode)
    check = doctor.check_wandb(source, TrackingConfig())
    assert check.status == status
    assert said in check.message
    assert KEY not in check.message


@pytest.mark.parametrize(("version", "status"), [((3, 10, 14), "FAIL"), ((3, 11, 0), "OK"), ((3, 14, 1), "OK")])
def test_python(version: tuple[int, ...], status: str) -> None:
    assert check_python(version).status == status


def test_gpus_are_named_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(name="NVIDIA H100", total_memory=80 * GB)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: gpu)
    check = check_torch()
    assert check.status == "OK"
    assert check.message.endswith("2 GPU(s): NVIDIA H100 with 80.0 GB, NVIDIA H100 with 80.0 GB")


@pytest.mark.parametrize(("built_for", "advice"), [(None, "CUDA build"), ("13.0", "driver")])
def test_a_gpu_that_torch_cannot_use_is_told(
    monkeypatch: pytest.MonkeyPatch, built_for: str | None, advice: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    check = check_torch()
    assert check.status == "WARN"
    assert advice in check.message


def test_a_missing_ray_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert check_ray().status == "FAIL"


@pytest.mark.parametrize(("free", "status"), [(GB // 2, "FAIL"), (3 * GB, "WARN"), (50 * GB, "OK")])
def test_disk_space(disk: dict[str, int], tmp_path: Path, free: int, status: str) -> None:
    disk["free"] = free
    check = check_disk(tmp_path / "runs" / "deep")
    assert check.status == status
    assert not (tmp_path / "runs").exists(), "looking makes nothing"


def test_a_runs_folder_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert check_disk(tmp_path / "file" / "runs").status == "FAIL"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    check = check_disk(tmp_path / "runs")
    assert check.status == "FAIL"
    assert str(tmp_path) in check.message


def test_shared_memory_must_hold_rays_object_store(disk: dict[str, int], tmp_path: Path) -> None:
    disk["total"] = 64 * 1024**2
    check = check_shared_memory(tmp_path, 100 * GB)
    assert check.status == "WARN"
    assert "--shm-size=31g" in check.message
    disk["total"] = 31 * GB
    assert check_shared_memory(tmp_path, 100 * GB).status == "OK"
    disk["total"] = 201 * GB
    assert check_shared_memory(tmp_path, 2000 * GB).status == "OK", "Ray takes 200 GB at most"


def test_a_system_without_shared_memory_is_fine(tmp_path: Path) -> None:
    assert check_shared_memory(tmp_path / "shm", 100 * GB).status == "OK"


def test_a_container_has_the_memory_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(doctor, "MEMORY_LIMITS", (limit,))
    machine = total_memory()
    assert machine > GB
    limit.write_text("max\n")
    assert total_memory() == machine
    limit.write_text(f"{GB}\n")
    assert total_memory() == GB
