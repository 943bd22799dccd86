"""The runs of a sweep on W&B, read through its API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eigen2.errors import ConfigError, RunError

MOST_ROWS = 100_000  # of one run


@dataclass(frozen=True)
class RemoteRun:
    """A run: its state in W&B's words, its config, its rows of metrics in order, the last value of each metric."""

    id: str
    name: str
    state: str
    config: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class RemoteSweep:
    """A sweep: the file it was made from, and its runs in the order they began."""

    entity: str
    project: str
    id: str
    config: Mapping[str, Any]
    runs: tuple[RemoteRun, ...]


def read_remote_sweep(path: str) -> RemoteSweep:
    """The sweep ENTITY/PROJECT/ID. Raises ConfigError for another form, RunError where W&B doesn't give it."""
    import wandb  # not above: it takes a second, which a command without W&B need not wait

    if len(path.split("/")) != 3 or not all(path.split("/")):
        raise ConfigError(f"--wandb {path}: write ENTITY/PROJECT/SWEEP, the end of the sweep's address")
    entity, project, sweep_id = path.split("/")
    try:
        sweep = wandb.Api().sweep(path)
        runs = sorted(sweep.runs, key=lambda run: run.created_at)
        return RemoteSweep(entity, project, sweep_id, sweep.config, tuple(_read(run) for run in runs))
    except (wandb.Error, ValueError) as error:
        raise RunError(f"W&B does not give sweep {path}: {' '.join(str(error).split())}") from error


def _read(run: Any) -> RemoteRun:
    rows = tuple(run.history(samples=MOST_ROWS, pandas=False))
    # nested values of a summary are objects of the client, with its connection behind them
    summary = {name: value for name, value in run.summary.items() if isinstance(value, int | float | str)}
    return RemoteRun(run.id, run.name, run.state, dict(run.config), rows, summary)
