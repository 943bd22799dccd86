"""`eigen2 doctor --cluster`: whether the nodes of a cluster fit together, and what to do where they don't."""

from collections.abc import Sequence
from pathlib import Path

from eigen2.cli.verdict import Check, gb
from eigen2.config import ResourcesConfig, RunConfig
from eigen2.training.cluster import connect
from eigen2.training.preflight import NodeFacts, examine_cluster, open_to_all

MOST_CLOCK_S = 2.0  # tokens and logs bear more, but a clock so wrong is not kept
DASHBOARD_PORT = 8265


def cluster_checks(address: str, runs_dir: str | None) -> list[Check]:
    """All checks of the cluster at `address`, `auto` for this one. Raises ResourceError if it can't be joined."""
    connect(ResourcesConfig(address=address))
    facts = examine_cluster(Path(runs_dir or RunConfig().runs_dir).absolute())
    return [
        check_versions(facts),
        check_gpus(facts),
        check_object_store(facts),
        check_volume(facts),
        check_clocks(facts),
        check_ports(facts),
        check_token(open_to_all()),
    ]


def check_versions(facts: Sequence[NodeFacts]) -> Check:
    """Whether all nodes run the driver's Ray and Python."""
    wanted = (facts[0].ray, facts[0].python)
    others = [
        f"{node.name} has Ray {node.ray}, Python {node.python}" for node in facts if (node.ray, node.python) != wanted
    ]
    here = f"Ray {wanted[0]}, Python {wanted[1]}"
    if others:
        return Check("versions", "FAIL", f"the driver has {here}, but {'; '.join(others)}; run `ray up` again")
    return Check("versions", "OK", f"{here} on {_nodes(len(facts))}")


def check_gpus(facts: Sequence[NodeFacts]) -> Check:
    """Whether each GPU that a node has is handed out, and a fraction of it can be computed on."""
    counted = sum(node.gpus_counted for node in facts)
    unused = [
        f"{node.name} has {node.gpus_found}, Ray counts {node.gpus_counted:g}"
        for node in facts
        if node.gpus_found > node.gpus_counted
    ]
    unusable = [node.name for node in facts if node.gpus_counted and not node.gpu_usable]
    if unusable:
        return Check("GPUs", "FAIL", f"torch can't compute on the GPU of {', '.join(unusable)}; update driver or torch")
    if unused:
        return Check(
            "GPUs", "WARN", f"{'; '.join(unused)}; correct `resources` of its node type and run `ray up` again"
        )
    if not counted:
        return Check("GPUs", "OK", "none: members train on the CPU")
    return Check("GPUs", "OK", f"{counted:g}, and a tenth of one computes on each node that has some")


def check_object_store(facts: Sequence[NodeFacts]) -> Check:
    """Whether each node's object store fits in its shared memory."""
    small = [
        f"{node.name} has {gb(node.shared_memory)} for {gb(node.object_store)}"
        for node in facts
        if node.shared_memory < node.object_store
    ]
    if small:
        advice = "start Ray with --object-store-memory below it, or the store goes to the slower disk"
        return Check("shared memory", "WARN", f"/dev/shm of {'; '.join(small)}; {advice}")
    least = min(node.shared_memory for node in facts)
    return Check("shared memory", "OK", f"at least {gb(least)}, enough for each object store")


def check_volume(facts: Sequence[NodeFacts]) -> Check:
    """Whether every node can write into the folder of runs, and sees what others wrote."""
    broken = [f"{node.name}: {node.volume_error}" for node in facts if node.volume_error]
    if broken:
        # a run's files are written on the driver's node; sweeps write on all
        return Check("runs", "WARN", f"{'; '.join(broken)}; a sweep needs a volume that all nodes share")
    return Check("runs", "OK", f"can be written from {_nodes(len(facts))}")


def check_clocks(facts: Sequence[NodeFacts]) -> Check:
    """Whether all clocks agree with the driver's."""
    wrong = [
        f"{node.name} is {abs(node.clock_s):.1f} s {'ahead' if node.clock_s > 0 else 'behind'}"
        for node in facts
        if abs(node.clock_s) - node.clock_error_s > MOST_CLOCK_S
    ]
    if wrong:
        return Check("clocks", "WARN", f"{'; '.join(wrong)}; times in logs and metrics can't be compared")
    return Check("clocks", "OK", f"within {MOST_CLOCK_S:g} s")


def check_ports(facts: Sequence[NodeFacts]) -> Check:
    """What others could reach on the nodes: never the dashboard."""
    bare = [node.name for node in facts if any(port == DASHBOARD_PORT for _, port in node.listening)]
    if bare:
        advice = "start the head with --dashboard-host=127.0.0.1"
        return Check("ports", "FAIL", f"the dashboard of {', '.join(bare)} can be reached from outside; {advice}")
    open_ports = {port for node in facts for _, port in node.listening}
    message = f"{len(open_ports)} listen beyond loopback, for the nodes; let the outside reach 22 alone"
    return Check("ports", "OK", message)


def check_token(is_open: bool) -> Check:
    """Whether the cluster asks for a token."""
    if is_open:
        return Check("token", "FAIL", "the cluster obeys anyone; start every node with RAY_AUTH_MODE=token")
    return Check("token", "OK", "the cluster answers nobody without it")


def _nodes(count: int) -> str:
    return f"{count} node{'s' if count != 1 else ''}"
