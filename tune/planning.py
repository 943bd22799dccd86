"""From the command line to a plan: the sweep file, the base config under it, and what the user wants otherwise."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rapidfuzz import process

from eigen2.config import Config
from eigen2.config.loading import SECTION_OF, overridden
from eigen2.config.trust import WITHHELD, load_named_config
from eigen2.errors import ConfigError
from eigen2.tracking.expression import check
from eigen2.training.metrics import NUMBERS
from tune.folder import Settings, SweepFolder
from tune.records import read_records
from tune.running import Plan
from tune.scheduler import scheduler_of
from tune.space import config_of
from tune.sweep_file import Metric, SweepFile

SMOKE = {
    "num_generations": "2",
    "population_size": "2",
    "elite_share": "0.5",
    "training_slices": "2",
    "validation_slices": "2",
    "worst_slices": "1",
    "trading_days": "20",
    "context_days": "8",
    "hidden_size": "4",
    "buffer_warmup": "40",
    "gradient_steps_per_generation": "4",
}
SMOKE_TRIALS = 2


def plan_of(sweep: SweepFile, base: Config, settings: Settings) -> Plan:
    """A plan whose every trial can run. Raises ConfigError naming what can't."""
    plan = _plan(sweep, base, settings)
    plan.sweep.space.check(base)
    scheduler_of(plan.scheduler, plan.sweep, plan.objectives, plan.generations, ())
    return plan


def _plan(sweep: SweepFile, base: Config, settings: Settings) -> Plan:
    sweep = _with_constants(sweep, base, settings.overrides)
    objectives = _objectives(settings.objectives) or (sweep.metric,)
    known = [*NUMBERS, "combined_score"]
    for objective in objectives:
        if objective.name not in known:
            nearest = process.extractOne(objective.name, known)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise ConfigError(f"metric {objective.name} is none that a run has{hint}")
    middle = config_of(base, sweep.space.middle())
    check(middle.tracking.combined_score, NUMBERS)
    size = sweep.space.size() if sweep.method == "grid" else None
    asked = sweep.run_cap if settings.samples is None else settings.samples
    limits = [limit for limit in (asked, size) if limit is not None]
    trials = min(limits) if limits else None
    return Plan(sweep, base, settings, objectives, middle.run.num_generations, trials)


def plan_from(folder: SweepFolder, settings: Settings | None = None, trust: bool = False) -> Plan:
    """The plan of a sweep that was begun, without what its base config may not decide unasked, unless `trust`.

    Its space was checked before. Raises RunError or ConfigError if its folder can't be read.
    """
    base, _ = folder.read_base(trust)
    return _plan(SweepFile.read(folder.sweep), base, settings or folder.read_settings())


def require_harmless(folder: SweepFolder, asked: Iterable[str]) -> None:
    """See that a sweep's folder decides nothing that it may not unasked (see `eigen2.config.trust`).

    asked: fields that the command line decides. Raises ConfigError naming a field that the folder sets in its base
    config, its sweep file or the record of a trial.
    """
    space = SweepFile.read(folder.sweep).space
    set_by_trials = {field for record in read_records(folder.trials) for field in record.values}
    varied = {*space.constants, *(parameter.field for parameter in space.parameters), *set_by_trials}
    for field in (*folder.read_base()[1], *sorted(varied & WITHHELD.keys())):
        if field not in set(asked):
            raise ConfigError(
                f"sweep {folder.path} sets {field}, which {WITHHELD[field]}; a folder is not obeyed in this: give "
                "--trust if it is your own"
            )


def base_config(path: Path | None, overrides: Sequence[str], sweep: SweepFile) -> Config:
    """The config under every trial's values, with its market's path made absolute: trials may run anywhere."""
    config = load_named_config(path, overrides)
    if Path(config.data.source).exists():
        data = config.data.model_copy(update={"source": str(Path(config.data.source).resolve())})
        config = config.model_copy(update={"data": data})
    project, entity = sweep.project or config.tracking.wandb_project, sweep.entity or config.tracking.wandb_entity
    tracking = config.tracking.model_copy(update={"wandb_project": project, "wandb_entity": entity})
    return config.model_copy(update={"tracking": tracking})


def smoke_overrides(sweep: SweepFile) -> list[str]:
    """Tiny sizes, where the sweep does not vary them itself."""
    varied = {parameter.field for parameter in sweep.space.parameters}
    return [f"{name}={value}" for name, value in SMOKE.items() if f"{SECTION_OF[name]}.{name}" not in varied]


def _with_constants(sweep: SweepFile, base: Config, overrides: Sequence[str]) -> SweepFile:
    """The command line stands over the file's constants; what the file varies it can't fix."""
    constants = dict(sweep.space.constants)
    varied = {parameter.field for parameter in sweep.space.parameters}
    for field in overridden(overrides):
        if field in varied:
            plain = field.rpartition(".")[2]
            raise ConfigError(f"--set {field}: the sweep file varies {plain}; fix it there with `value:`")
        if field in constants:
            constants[field] = _held(base, field)
    return replace(sweep, space=replace(sweep.space, constants=constants))


def _held(base: Config, field: str) -> Any:
    section, _, name = field.partition(".")
    return base.model_dump(mode="json")[section][name]


def _objectives(texts: Sequence[str]) -> tuple[Metric, ...]:
    return tuple(_objective(text) for text in texts)


def _objective(text: str) -> Metric:
    name, _, goal = text.partition(":")
    match goal:
        case "" | "maximize":
            return Metric(name, "maximize")
        case "minimize":
            return Metric(name, "minimize")
        case _:
            raise ConfigError(f"--objective {text}: the goal is maximize or minimize, not {goal!r}")
