"""API keys in the environment of a run turn up nowhere: not in its folder, not in what it prints."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.training.small import SMALL

KEYS = {
    "WANDB_API_KEY": "wandbplanted" + "0a" * 14,  # 40 characters, as W&B demands
    "RUNPOD_API_KEY": "rpa_runpodplanted5e1f",
    "AWS_SECRET_ACCESS_KEY": "awsplanted/7Q+secret",
}
CHANGED = {
    "population_size": 2,
    "num_generations": 1,
    "wandb_mode": "offline",
    "name": "secret",
    "source": "market.csv",
    "context": [],
}
LIMIT_S = 480


def write_market(path: Path) -> None:
    """Random closes of three stocks on 260 weekdays."""
    rng = np.random.default_rng(0)
    closes = 100 * np.exp(rng.normal(0, 0.02, (260, 3)).cumsum(axis=0))
    days = np.busday_offset("2020-01-01", np.arange(260), roll="forward")
    rows = [f"{day},{','.join(f'{close:.4f}' for close in row)}" for day, row in zip(days, closes, strict=True)]
    path.write_text("\n".join(["Date,AAA,BBB,CCC", *rows]) + "\n")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """(run folder, all it printed) of a real run with keys in its environment."""
    root = tmp_path_factory.mktemp("secrets")
    write_market(root / "market.csv")
    (root / "config.yaml").write_text(yaml.safe_dump(SMALL | CHANGED))
    command = [sys.executable, "-m", "eigen2", "train", "config.yaml"]
    environment = {**os.environ, **KEYS, "HOME": str(root)}
    done = subprocess.run(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()
    return root / "runs" / "secret", done.stdout


def files_with(folder: Path, key: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_nowhere_in_the_run(trained: tuple[Path, bytes], name: str) -> None:
    folder, printed = trained
    assert files_with(folder, KEYS[name]) == []
    assert KEYS[name].encode() not in printed


def test_the_search_sees_what_is_there(trained: tuple[Path, bytes]) -> None:
    """W&B's own files are searched too, and a key would be found."""
    folder, _ = trained
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    (folder / "planted.txt").write_text(KEYS["WANDB_API_KEY"])
    assert files_with(folder, KEYS["WANDB_API_KEY"]) == [str(folder / "planted.txt")]
    (folder / "planted.txt").unlink()
