"""Reading a sweep from W&B with the real client, against a stand-in for its server on loopback."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eigen2.errors import ConfigError
from eigen2.tracking.wandb_runs import read_remote_sweep

ROOT = Path(__file__).parents[2]
STUB = Path(os.environ.get("EIGEN2_SHARED", ROOT.parent / "shared")) / "tools" / "wandb_stub.py"
KEY = "0123456789abcdef0123456789abcdef01234567"
SWEEP = """
method: random
program: program.py
metric: {name: fitness/best_ever, goal: maximize}
parameters:
  tau: {min: 0.001, max: 0.01}
  ddpg: {parameters: {gamma: {values: [0.9, 0.99]}}}
"""
PROGRAM = """
import wandb
run = wandb.init()
for generation in range(6):
    run.log({"generation": generation, "fitness/best_ever": generation * run.config["tau"]})
run.summary["final/win_rate"] = 0.5
run.finish()
"""
READ = """
import dataclasses, json, sys
from eigen2.errors import RunError
from eigen2.tracking.wandb_runs import read_remote_sweep
try:
    print("READ", json.dumps(dataclasses.asdict(read_remote_sweep(sys.argv[1]))))
except RunError as error:
    print("REFUSED", error)
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of someone who uses W&B, at the stand-in's address."""
    port_file = tmp_path / "port"
    command = [sys.executable, str(STUB), "--quiet", "--port", "0", "--port-file", str(port_file), "--run-cap", "2"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (port_file.exists() and port_file.read_text().strip()):
            assert time.monotonic() < deadline, "the stand-in did not start"
            time.sleep(0.05)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        yield kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
            "WANDB_BASE_URL": f"http://127.0.0.1:{port_file.read_text().strip()}",
            "WANDB_API_KEY": KEY,
            "WANDB_ERROR_REPORTING": "false",
        }
    finally:
        server.terminate()
        server.wait(20)


def run(folder: Path, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.skipif(
    not STUB.exists(), reason=f"needs a stand-in for the W&B server, not part of this repository ({STUB})"
)
def test_a_sweep_is_read_whole(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "program.py").write_text(PROGRAM)
    made = run(tmp_path, environment, "-m", "wandb", "sweep", "--project", "p", "sweep.yaml")
    found = re.search(r"wandb agent (\S+)", made)
    assert found, made
    run(tmp_path, environment, "-m", "wandb", "agent", found[1])
    said = run(tmp_path, environment, "-c", READ, found[1])
    assert "READ " in said, said
    sweep = json.loads(said.partition("READ ")[2].splitlines()[0])
    assert (sweep["project"], sweep["config"]["method"]) == ("p", "random")
    assert len(sweep["runs"]) == 2
    for one in sweep["runs"]:
        tau = one["config"]["tau"]
        assert [row["fitness/best_ever"] for row in one["rows"]] == [generation * tau for generation in range(6)]
        assert one["config"]["ddpg"]["gamma"] in (0.9, 0.99)
        assert (one["state"], one["summary"]["final/win_rate"]) == ("finished", 0.5)
    assert "REFUSED W&B does not give sweep" in run(tmp_path, environment, "-c", READ, "stub-user/p/none")


@pytest.mark.parametrize("path", ["", "project/id", "a/b/c/d", "a//c"])
def test_the_address_of_a_sweep_has_three_parts(path: str) -> None:
    with pytest.raises(ConfigError, match="ENTITY/PROJECT/SWEEP"):
        read_remote_sweep(path)
