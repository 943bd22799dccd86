"""A sweep of W&B as a sweep's folder, so that its results are read like those of a sweep of ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from eigen2.config import Config, dump_config
from eigen2.config.loading import SECTION_OF
from eigen2.files import require_own_files
from eigen2.ownership import write_owned
from eigen2.tracking.wandb_runs import RemoteRun, RemoteSweep, read_remote_sweep
from tune.fields import DEFAULTS, SET_BY_THE_SWEEP
from tune.folder import SWEEPS, Settings, SweepFolder
from tune.records import Record, Records, State
from tune.scheduler import default_name
from tune.space import Values, config_of
from tune.sweep_file import SweepFile

# what a config from elsewhere does not decide here: where a run writes and connects, and whether files may run code
NOT_IMPORTED = SET_BY_THE_SWEEP | {"data.allow_pickle"}
FIELDS = tuple(name for field, section in SECTION_OF.items() if (name := f"{section}.{field}") not in NOT_IMPORTED)
STATES: dict[str, State] = {"running": "running", "finished": "finished", "pending": "running", "preempting": "running"}


def import_sweep(path: str) -> SweepFolder:
    """The folder `sweeps/wandb-ID`, made from W&B's API; what it held of that sweep before is replaced.

    Raises ConfigError for a path of another form or a sweep this project can't read, RunError where W&B gives none.
    """
    return folder_of(read_remote_sweep(path))


def folder_of(remote: RemoteSweep) -> SweepFolder:
    """The folder of a sweep that was read from W&B."""
    name = f"wandb-{remote.id}"
    folder = SweepFolder(SWEEPS / name)
    require_own_files(folder.path)
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "sweep.yaml"
        file.write_text(yaml.safe_dump(dict(remote.config), sort_keys=False), encoding="utf-8")
        sweep = SweepFile.read(file)
        varied = {parameter.field for parameter in sweep.space.parameters}
        # a run that died at once may have sent no config
        found = [_record(number, run, sweep) for number, run in enumerate(remote.runs) if varied <= _values(run).keys()]
        base = _base(remote, found)
        settings = Settings(remote.id, 0, default_name(sweep), None, (), ())
        if not folder.settings.is_file():
            SweepFolder.create(name, file, base, settings)
    folder.write_settings(settings)
    write_owned(folder.base, dump_config(base).encode())
    folder.trials.unlink(missing_ok=True)
    records = Records(folder.trials)
    for record in found:
        records.put(record)
    return folder


def _base(remote: RemoteSweep, found: Sequence[Record]) -> Config:
    """The config under the runs' values: that of the newest run, since an agent's own config is not the sweep's."""
    config = config_of(DEFAULTS, found[-1].values) if found else DEFAULTS
    tracking = {"wandb_project": remote.project, "wandb_entity": remote.entity}
    return config.model_copy(update={"tracking": config.tracking.model_copy(update=tracking)})


def _record(number: int, run: RemoteRun, sweep: SweepFile) -> Record:
    """A run as a trial, with all of its config; one that ended before its last generation was stopped early."""
    values = _values(run)
    history = tuple(float(row[sweep.metric.name]) for row in run.rows if _is_number(row.get(sweep.metric.name)))
    generation = int(max((row["generation"] for row in run.rows if _is_number(row.get("generation"))), default=-1)) + 1
    state: State = STATES.get(run.state, "failed")
    if state == "finished" and generation < values.get("run.num_generations", DEFAULTS.run.num_generations):
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


def _values(run: RemoteRun) -> Values:
    """The values of the trainer's fields in a run's config: the sweep's, and all others."""
    return {field: value for field in FIELDS for value in _held(run.config, field)[:1]}


def _held(config: Mapping[str, Any], field: str) -> list[Any]:
    """The values of a field in a run's config: by its plain name, by its dotted one, in its section."""
    section, _, plain = field.partition(".")
    nested = config.get(section)
    return [
        group[name]
        for group, name in ((config, plain), (config, field), (nested, plain))
        if isinstance(group, Mapping) and name in group and not isinstance(group[name], Mapping)
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
