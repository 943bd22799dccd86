"""cluster.yaml and its variants: what Ray's launcher and our provider make of them."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from eigen2.cloud.provider import RunPodNodeProvider
from eigen2.cloud.settings import NodeSettings, ProviderSettings, read

ROOT = Path(__file__).parents[2]
RENTED = [Path("cluster.yaml"), Path("configs/cluster/one_gpu.yaml"), Path("configs/cluster/workers.yaml")]
ALL = [*RENTED, Path("configs/cluster/own_machines.yaml")]
# what `ray up` reads of an external provider's config without a default
NEEDED = [
    "file_mounts",
    "cluster_synced_files",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "max_workers",
]


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("path", ALL, ids=str)
def test_rays_schema_accepts_it(path: Path, home: Path) -> None:
    config = load(path)
    assert [key for key in NEEDED if key not in config] == []
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)


@pytest.mark.parametrize("path", RENTED, ids=str)
def test_our_provider_accepts_it(path: Path, home: Path) -> None:
    config = RunPodNodeProvider.bootstrap_config(prepare_config(load(path)))
    provider = read(ProviderSettings, config["provider"], "provider")
    kinds = config["available_node_types"].values()
    nodes = [read(NodeSettings, kind["node_config"], "node_config") for kind in kinds]
    dearest = [node.max_usd_per_hour * kind.get("max_workers", 1) for node, kind in zip(nodes, kinds, strict=True)]
    assert provider.max_usd_per_hour <= sum(dearest) + nodes[0].max_usd_per_hour, "a ceiling that bounds nothing"
    assert (home / ".ssh/eigen2_runpod.pub").exists()


@pytest.mark.parametrize("path", ALL, ids=str)
def test_every_node_shows_the_token_and_hides_the_dashboard(path: Path) -> None:
    config = load(path)
    starts = [
        command
        for group in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in config[group]
        if "ray start" in command
    ]
    assert starts
    assert all("export RAY_AUTH_MODE=token;" in command and "--node-ip-address=" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "~/.ray/auth_token" in config["file_mounts"]


@pytest.mark.parametrize("path", ALL, ids=str)
def test_the_working_tree_is_pushed_with_all_an_install_needs(path: Path) -> None:
    mounts = load(path)["file_mounts"]
    pushed = {local for remote, local in mounts.items() if remote.startswith("~/eigen2/")}
    assert [name for name in pushed if not (ROOT / name).exists()] == []
    assert {"eigen2", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE"} <= pushed


@pytest.mark.parametrize("path", ALL, ids=str)
def test_the_commands_are_shell(path: Path) -> None:
    config = load(path)
    for group in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        for command in config[group]:
            subprocess.run(["bash", "-n", "-c", command], check=True, timeout=10)
