"""A population that shares a GPU: the same numbers every time, whatever dies, and its checkpoints go on without it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch

from eigen2.config import ResourcesConfig
from eigen2.training.cluster import connect, nodes, share_of_member
from eigen2.training.member import Member
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import RayRuntime, Share, gather
from tests.faults.test_losses import SIZE, sabotaged
from tests.training.small import MARKET, assert_same_run, rows_of, run, small_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SHARE = Share(cpus=0.5, gpus=0.3333)
MEMBER = 1


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    connect(ResourcesConfig(num_cpus=2, dashboard=False))
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(tmp_path_factory.mktemp("undisturbed"), runtime=RayRuntime(), share=SHARE, **SIZE)


def test_members_share_the_gpu_by_default() -> None:
    config = small_config(**SIZE)
    share = share_of_member(config.evolution.population_size, config.resources, nodes())
    assert (share.gpus, share.together) == (0.3333, 1)


def test_the_same_seed_gives_the_same_run(tmp_path: Path, undisturbed: RunFolder) -> None:
    assert_same_run(run(tmp_path, runtime=RayRuntime(), share=SHARE, **SIZE), undisturbed)


@pytest.mark.parametrize("phase", ["play", "train"])
def test_a_member_killed_on_the_gpu_changes_no_number(tmp_path: Path, undisturbed: RunFolder, phase: str) -> None:
    folder, saboteur = sabotaged(tmp_path, phase, (MEMBER,), signal.SIGKILL, share=SHARE)
    assert_same_run(folder, undisturbed)
    assert f"member {MEMBER}" in {message.split(" was lost")[0] for message in saboteur.warnings}


def test_a_run_goes_on_without_the_gpu(tmp_path: Path, undisturbed: RunFolder) -> None:
    begun = run(tmp_path, runtime=RayRuntime(), share=SHARE, **{**SIZE, "num_generations": 2})
    went_on = run(begun.path, generation=2, runtime=RayRuntime(), share=Share(cpus=0.5), **SIZE)
    rows, expected = rows_of(went_on), rows_of(undisturbed)
    assert [row["generation"] for row in rows] == [row["generation"] for row in expected]
    assert [row["fitness/mean"] for row in rows[:2]] == [row["fitness/mean"] for row in expected[:2]]


class Greedy(Member):
    """A member that wants memory of its GPU."""

    def take(self, share: float) -> bool:
        total = torch.cuda.get_device_properties(0).total_memory
        try:
            torch.empty(int(share * total), dtype=torch.uint8, device="cuda")
        except torch.OutOfMemoryError:
            return False
        return True


def test_a_member_cant_take_the_others_memory() -> None:
    runtime = RayRuntime()
    greedy = runtime.make("greedy", Greedy, SHARE, 0, small_config(), MARKET, SHARE.gpus)
    assert [gather(runtime, [(greedy, greedy.call("take", share))], "take", 240) for share in (0.1, 0.5)] == [
        [True],
        [False],
    ]
