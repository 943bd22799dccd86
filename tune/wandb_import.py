"""A sweep of W&B as a sweep's folder, so that its results are read like those of a sweep of ours."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from eigen2.config import Config
from eigen2.files import require_own_files
from eigen2.tracking.wandb_runs import RemoteRun, RemoteSweep, read_remote_sweep
from tune.folder import Settings, SweepFolder
from tune.records import Record, Records, State
from tune.space import Values, config_of
from tune.sweep_file import SweepFile

STATES: dict[str, State] = {"running": "running", "finished": "finished", "pending": "running", "preempting": "running"}


def import_sweep(path: str) -> SweepFolder:
    """The folder `sweeps/wandb-ID`, made from W&B's API; what it held of that sweep before is replaced.

    Raises ConfigError for a path of another form or a sweep this project can't read, RunError where W&B gives none.
    """
    return folder_of(read_remote_sweep(path))


def folder_of(remote: RemoteSweep) -> SweepFolder:
    """The folder of a sweep that was read from W&B."""
    name = f"wandb-{remote.id}"
    folder = SweepFolder(Path("sweeps") / name)
    require_own_files(folder.path)
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "sweep.yaml"
        file.write_text(yaml.safe_dump(dict(remote.config), sort_keys=False), encoding="utf-8")
        sweep = SweepFile.read(file)
        if not folder.settings.is_file():
            SweepFolder.create(name, file, Config(), Settings(remote.id, 0, "wandb", None, (), ()))
    folder.trials.unlink(missing_ok=True)
    records = Records(folder.trials)
    fields = {parameter.field for parameter in sweep.space.parameters}
    for number, run in enumerate(remote.runs):
        if fields <= _values(run.config, sweep).keys():  # a run that died at once may have sent none
            records.put(_record(number, run, sweep))
    return folder


def _record(number: int, run: RemoteRun, sweep: SweepFile) -> Record:
    """A run as a trial; one that ended before its last generation was stopped early."""
    values = _values(run.config, sweep)
    history = tuple(float(row[sweep.metric.name]) for row in run.rows if _is_number(row.get(sweep.metric.name)))
    generation = int(max((row["generation"] for row in run.rows if _is_number(row.get("generation"))), default=-1)) + 1
    state: State = STATES.get(run.state, "failed")
    if state == "finished" and generation < config_of(Config(), values).run.num_generations:
        state = "stopped"
    last = run.summary.get(sweep.metric.name)
    return Record(
        trial=run.name,
        number=number,
        state=state,
        values=values,
        metrics={key: value for key, value in run.summary.items() if _is_number(value)},
        history=history,
        best=float(last) if last is not None and _is_number(last) else next(iter(history[::-1]), None),
        generation=generation,
        seconds=float(run.summary.get("_runtime", 0.0)),
        reason=run.state if state == "failed" else None,
        run=None,
    )


def _values(config: Mapping[str, Any], sweep: SweepFile) -> Values:
    """The values of the sweep's parameters and constants; a run's config holds all other fields of the trainer too."""
    fields = [*(parameter.field for parameter in sweep.space.parameters), *sweep.space.constants]
    return {field: value for field in fields for value in _held(config, field)[:1]}


def _held(config: Mapping[str, Any], field: str) -> list[Any]:
    """What a run's config says of a field, by its plain name, its dotted one, or in its section."""
    section, _, plain = field.partition(".")
    nested = config.get(section)
    return [
        group[name]
        for group, name in ((config, plain), (config, field), (nested, plain))
        if isinstance(group, Mapping) and name in group
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
