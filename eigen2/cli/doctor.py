"""`eigen2 doctor`: whether this machine can run a training, and what to do where it can't."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eigen2.cli.verdict import Check, Status, gb
from eigen2.config import Config, TrackingConfig, config_from_dict
from eigen2.errors import ConfigError, Eigen2Error
from eigen2.tracking.credentials import credentials_source
from eigen2.tracking.wandb_sink import choose_mode

OLDEST_PYTHON = (3, 11)
LITTLE_DISK, TOO_LITTLE_DISK = 5 * 10**9, 10**9  # bytes
OBJECT_STORE_SHARE = 0.3  # of the memory: what Ray takes for its object store by default
MOST_OBJECT_STORE = 200 * 10**9  # bytes: Ray takes no more by default
SHARED_MEMORY = Path("/dev/shm")
MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
STYLES = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}


def checks(data_source: str | None, runs_dir: str | None = None) -> list[Check]:
    """All checks, with the market `data_source` and the folder `runs_dir`; none: the defaults of a config."""
    data = {} if data_source is None else {"data": {"source": data_source}}
    config = config_from_dict(data, "--data")
    looks: tuple[Callable[[], Check], ...] = (
        check_python,
        check_torch,
        check_ray,
        lambda: check_disk(Path(runs_dir or config.run.runs_dir)),
        lambda: check_shared_memory(SHARED_MEMORY, total_memory()),
        lambda: check_wandb(credentials_source(), config.tracking),
        lambda: check_data(config),
    )
    return [look() for look in looks]


def run(args: argparse.Namespace) -> int:
    """Show all checks: of the cluster `args.cluster`, else of this machine with the market `args.data` (none: the
    embedded one). Returns 1 if a check failed, else 0."""
    if args.cluster:
        from eigen2.cli.doctor_cluster import cluster_checks  # not above: it brings Ray, which may be missing

        found = cluster_checks(args.cluster, args.runs_dir)
    else:
        found = checks(args.data, args.runs_dir)
    show(found, Console())
    return int(any(check.status == "FAIL" for check in found))


def show(found: list[Check], console: Console) -> None:
    """Print a line a check."""
    table = Table.grid(padding=(0, 2))
    for check in found:
        table.add_row(Text(check.status, style=STYLES[check.status]), Text(check.name), Text(check.message))
    console.print(table)


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """Whether the interpreter is new enough."""
    text = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        return Check("Python", "FAIL", f"{text} is too old; make a virtual environment with {needed} or newer")
    return Check("Python", "OK", text)


def check_torch() -> Check:
    """Whether torch is there, and which GPUs it can use."""
    try:
        import torch  # not above: it takes seconds, and its absence is a finding
    except ImportError as error:
        return Check("torch", "FAIL", f"can't be imported ({error}); install eigen2 with its dependencies")
    version = torch.__version__
    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        gpus = ", ".join(f"{gpu.name} with {gb(gpu.total_memory)}" for gpu in found)
        return Check("torch", "OK", f"{version}, {len(found)} GPU(s): {gpus}")
    if shutil.which("nvidia-smi"):
        advice = "install the CUDA build of torch" if torch.version.cuda is None else "update the NVIDIA driver"
        return Check("torch", "WARN", f"{version} can't use this machine's GPU; {advice}, or train on the CPU")
    return Check("torch", "OK", f"{version}, no GPU: members train on the CPU")


def check_ray() -> Check:
    """Which Ray is installed."""
    try:
        return Check("Ray", "OK", metadata.version("ray"))
    except metadata.PackageNotFoundError:
        return Check("Ray", "FAIL", "is not installed; install eigen2 with its dependencies")


def check_disk(runs_dir: Path) -> Check:
    """Whether runs can be written, and how much room there is for them."""
    folder = runs_dir.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("disk", "FAIL", f"{existing} can't be written; choose another run.runs_dir")
    free = shutil.disk_usage(existing).free
    message = f"{gb(free)} free for {runs_dir}"
    if free < LITTLE_DISK:
        status: Status = "FAIL" if free < TOO_LITTLE_DISK else "WARN"
        return Check("disk", status, f"{message}; make room, choose another run.runs_dir, or lower checkpoint.keep")
    return Check("disk", "OK", message)


def check_shared_memory(folder: Path, memory: int) -> Check:
    """Whether Ray's object store, by default 30 % of the `memory` in bytes, fits in shared memory."""
    if not folder.is_dir():
        return Check("shared memory", "OK", f"Ray doesn't use {folder} on this system")
    size = shutil.disk_usage(folder).total
    needed = min(int(OBJECT_STORE_SHARE * memory), MOST_OBJECT_STORE)
    if size < needed:
        return Check(
            "shared memory",
            "WARN",
            f"{folder} has {gb(size)}, Ray's object store wants {gb(needed)} and will use the slower disk; "
            f"start the container with --shm-size={needed // 10**9 + 1}g",
        )
    return Check("shared memory", "OK", f"{folder} has {gb(size)}, Ray's object store wants {gb(needed)}")


def check_wandb(source: str | None, tracking: TrackingConfig) -> Check:
    """Whether W&B has credentials, and whether runs go online; only where the credentials lie is ever shown."""
    try:
        mode = choose_mode(tracking)
    except ConfigError as error:
        return Check("W&B key", "FAIL", str(error))
    if mode == "disabled":
        return Check("W&B key", "OK", "not needed: W&B is disabled (WANDB_MODE, WANDB_DISABLED or `wandb disabled`)")
    if source is None:
        return Check(
            "W&B key", "WARN", "none: runs are logged offline; set WANDB_API_KEY or run `wandb login` to log online"
        )
    if mode == "offline":
        said = "runs are logged offline all the same (WANDB_MODE or `wandb offline`)"
        return Check("W&B key", "OK", f"taken from {source}, but {said}")
    return Check("W&B key", "OK", f"taken from {source}")


def check_data(config: Config) -> Check:
    """Whether the market can be read and holds enough days for the default slices."""
    from eigen2.market.build import build_market  # not above: it brings pandas, which takes a second

    try:
        market, report = build_market(
            config.data, config.features, config.splits, config.agent.context_days, config.slice_days
        )
    except Eigen2Error as error:
        return Check("data", "FAIL", f"{error}; correct the file or name another with --data")
    found = f"{config.data.source}: {report.days} {report.bar_unit} of {len(market.columns)} columns"
    return Check("data", "OK", f"{found}, {report.first_date} to {report.last_date}")


def total_memory() -> int:
    """Bytes of memory this process may use: the machine's, or less in a container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in MEMORY_LIMITS:
        text = path.read_text().strip() if path.exists() else ""
        if text.isdigit():
            limits.append(int(text))
    return min(limits)
