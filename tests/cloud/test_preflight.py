"""`eigen2 doctor --cluster` on a real cluster of two nodes, and what it says of one that is not well."""

import argparse
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from eigen2.cli import doctor
from eigen2.cli.doctor_cluster import (
    check_clocks,
    check_gpus,
    check_object_store,
    check_ports,
    check_token,
    check_versions,
    check_volume,
)
from eigen2.errors import ResourceError
from eigen2.training.preflight import NodeFacts, _address, examine_cluster, listening_beyond_loopback

GOOD = NodeFacts(
    name="head (10.65.0.11)",
    is_driver=True,
    python="3.11.7",
    ray="2.60.0",
    gpus_counted=1,
    gpus_found=1,
    gpu_usable=True,
    object_store=10**9,
    shared_memory=2 * 10**9,
    listening=(("10.65.0.11", 6379),),
    clock_s=0.01,
    clock_error_s=0.02,
    volume_error=None,
)
WORKER = replace(GOOD, name="worker (10.65.0.12)", is_driver=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of two CPUs each."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    made.add_node(num_cpus=2)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def test_the_command_examines_every_node(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = doctor.run(argparse.Namespace(data=None, cluster=cluster.address, runs_dir=str(tmp_path / "runs")))
    shown = capsys.readouterr().out
    names = ("versions", "GPUs", "shared memory", "runs", "clocks", "ports", "token")
    assert [name for name in names if name not in shown] == []
    assert "on 2 nodes" in shown
    assert code == int("FAIL" in shown)


def test_each_node_is_seen_as_it_is(cluster: Cluster, tmp_path: Path) -> None:
    head, worker = examine_cluster(tmp_path)
    assert (head.is_driver, worker.is_driver) == (True, False)
    assert head.ray == worker.ray == ray.__version__
    assert abs(head.clock_s) <= 2
    assert head.volume_error is None
    assert int(cluster.address.split(":")[1]) in {port for _, port in head.listening}
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing"


def test_a_folder_of_runs_that_cannot_be_written_is_named(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="can't be written"):
        examine_cluster(tmp_path / "file" / "runs")


def test_a_cluster_that_is_well() -> None:
    facts = [GOOD, WORKER]
    looks = (check_versions, check_gpus, check_object_store, check_volume, check_clocks, check_ports)
    assert {look(facts).status for look in looks} == {"OK"}
    assert check_token(False).status == "OK"


@pytest.mark.parametrize(
    ("look", "changed", "status", "says"),
    [
        (check_versions, {"ray": "2.59.0"}, "FAIL", "but worker (10.65.0.12) has Ray 2.59.0"),
        (check_gpus, {"gpu_usable": False}, "FAIL", "can't compute on the GPU of worker"),
        (check_gpus, {"gpus_found": 2}, "WARN", "worker (10.65.0.12) has 2, Ray counts 1"),
        (check_object_store, {"shared_memory": 64 * 2**20}, "WARN", "worker (10.65.0.12) has 0.1 GB for 1.0 GB"),
        (check_volume, {"volume_error": "/workspace is not shared with it"}, "WARN", "a volume that all nodes share"),
        (check_clocks, {"clock_s": -7.5}, "WARN", "worker (10.65.0.12) is 7.5 s behind"),
        (check_ports, {"listening": (("0.0.0.0", 8265),)}, "FAIL", "--dashboard-host=127.0.0.1"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(look, changed, status: str, says: str) -> None:  # type: ignore[no-untyped-def]
    check = look([GOOD, replace(WORKER, **changed)])
    assert check.status == status
    assert says in check.message


def test_a_cluster_that_obeys_anyone_fails() -> None:
    assert check_token(True).status == "FAIL"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("0B00410A", "10.65.0.11"),
        ("0" * 32, "::"),
        ("0" * 16 + "FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_addresses_as_the_kernel_prints_them(text: str, address: str) -> None:
    assert str(_address(text)) == address


def test_loopback_is_no_open_port() -> None:

    with socket.create_server(("127.0.0.1", 0)) as hidden, socket.create_server(("0.0.0.0", 0)) as bare:
        ports = {port for _, port in listening_beyond_loopback()}
        assert bare.getsockname()[1] in ports
        assert hidden.getsockname()[1] not in ports
