"""What each fault costs: `python -m tests.faults.matrix`. Prints the seconds lost by fault and phase.

Each fault strikes once, as a phase begins, on a real Ray with two CPUs, and on a cluster of three nodes of one CPU.
What it cost is the time of the whole run less that of an undisturbed one (the median of three). Ends if a number
differs.
"""

import signal
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from eigen2.config import ResourcesConfig
from eigen2.training.cluster import connect
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import Share
from tests.faults import test_nodes
from tests.faults.test_losses import HASTY, PHASES, SIZE, sabotaged
from tests.training.small import assert_same_run, rows_of, run

UNDISTURBED = 3  # runs of which the median counts
NEVER = "never"  # no phase of this name begins
Run = Callable[[Path, str], RunFolder]

SIGNALS: dict[str, tuple[tuple[int, ...], signal.Signals, dict[str, Any]]] = {
    "kill -9 of a member": ((1,), signal.SIGKILL, {}),
    "kill -9 of two members at once": ((0, 2), signal.SIGKILL, {}),
    "kill -9 of an actor of two members": ((1,), signal.SIGKILL, {"share": Share(cpus=0.5, together=2)}),
    "kill -9 of the replay buffer": ((3,), signal.SIGKILL, {}),
    "SIGSTOP of a member": ((1,), signal.SIGSTOP, HASTY),
    "SIGSTOP of the replay buffer": ((3,), signal.SIGSTOP, HASTY),
}


def seconds_of(folder: RunFolder) -> float:
    """What a run's generations took, with their checkpoints."""
    return sum(float(row["time/generation"]) + float(row["time/checkpoint"]) for row in rows_of(folder))


def usual_of(quiet: Run, place: Path) -> float:
    """What an undisturbed run takes."""
    return statistics.median(seconds_of(quiet(place / str(number), NEVER)) for number in range(UNDISTURBED))


def costs(one: Run, usual: float, expected: RunFolder, place: Path) -> list[str]:
    """Seconds lost to a fault at each phase; raises AssertionError where a number differs from what is expected."""
    found = []
    for phase in PHASES:
        folder = one(place / phase, phase)
        assert_same_run(folder, expected)
        found.append(f"{seconds_of(folder) - usual:.1f}")
    return found


def struck(path: Path, phase: str, victims: tuple[int, ...], how: int, changed: dict[str, Any]) -> RunFolder:
    return sabotaged(path, phase, victims, how, **changed)[0]


def undisturbed(path: Path, phase: str) -> RunFolder:
    return struck(path, phase, (), 0, {})


def without_a_node(path: Path, phase: str, cluster: Cluster) -> RunFolder:
    return test_nodes.sabotaged(path, test_nodes.filled(cluster, test_nodes.NODES), phase)[0]


def main() -> None:
    console = Console()
    console.print("seconds lost, same numbers: yes", *PHASES, sep=" | ")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        expected = run(place / "local", **SIZE)
        connect(ResourcesConfig(num_cpus=2, dashboard=False))
        usual = usual_of(undisturbed, place / "quiet")
        for number, (fault, (victims, how, changed)) in enumerate(SIGNALS.items()):
            one = partial(struck, victims=victims, how=how, changed=changed)
            console.print(fault, *costs(one, usual, expected, place / str(number)), sep=" | ")
        ray.shutdown()
        with test_nodes.nodes(test_nodes.NODES) as cluster:
            one = partial(without_a_node, cluster=cluster)
            usual = usual_of(one, place / "quiet nodes")
            console.print("a node of three is lost", *costs(one, usual, expected, place / "nodes"), sep=" | ")


if __name__ == "__main__":
    main()
