"""What the trials of a sweep tell: their order, which parameters mattered, the config of the best."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from scipy import stats

from eigen2.config import Config, config_from_dict
from eigen2.config.trust import load_named_config
from eigen2.errors import ConfigError, RunError, brief, printable
from tune.fields import checked
from tune.folder import SweepFolder
from tune.pareto import in_order
from tune.planning import plan_from
from tune.records import Record, read_records
from tune.running import Plan, told_of
from tune.search import study_of
from tune.space import Parameter, Values, config_of

LEAST_TRIALS = 4  # for importance
LEAST_TRIALS_OF_THE_TOP = 5  # PED-ANOVA compares the best tenth; fewer than this say nothing
# what makes a run long rather than different: taken from the config of full runs
SIZES = (
    "run.num_generations",
    "agent.context_days",
    "agent.hidden_size",
    "replay.buffer_size",
    "replay.buffer_warmup",
    "evolution.population_size",
)


@dataclass(frozen=True)
class Findings:
    """A sweep, finished or not: its plan and the last record of each trial, by number."""

    folder: SweepFolder
    plan: Plan
    records: tuple[Record, ...]

    @classmethod
    def of(cls, folder: SweepFolder) -> "Findings":
        """The findings of a sweep's folder. Raises RunError or ConfigError if it can't be read."""
        findings = cls(folder, plan_from(folder), tuple(read_records(folder.trials)))
        for record in findings.records:
            for parameter in findings.parameters:
                _require_value(record, parameter, str(folder.trials))
        return findings

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the sweep varied."""
        return self.plan.sweep.space.parameters

    @property
    def ranked(self) -> tuple[Record, ...]:
        """Finished and stopped trials, the best first; of several objectives, those on the Pareto front."""
        rated = [one for one in self.records if one.best is not None and one.state in ("finished", "stopped")]
        return tuple(in_order(rated, self.plan.objectives))

    @property
    def trials_compared(self) -> int:
        """The number of trials that the best one was chosen among, those of an earlier phase included."""
        return self.plan.earlier_trials + len(self.ranked)

    @property
    def best(self) -> Record:
        """The best trial. Raises RunError where none has a value."""
        if not self.ranked:
            raise RunError(f"sweep {self.folder.path} has no finished trial yet")
        return self.ranked[0]


def _require_value(record: Record, parameter: Parameter, where: str) -> None:
    """Raise RunError where a trial has no value of a parameter, or was rated with one that its field can't hold."""
    if parameter.field not in record.values:
        raise RunError(
            f"{where}: trial {brief(record.trial)} has no value of {parameter.field}, which the sweep varies"
        )
    if record.best is not None:
        try:
            checked(parameter.field, record.values[parameter.field], f"{where}: trial {brief(record.trial)}")
        except ConfigError as error:
            raise RunError(str(error)) from error


@dataclass(frozen=True)
class Importance:
    """How much one parameter mattered.

    share: of the metric's variance that it explains alone (fANOVA, Hutter et al. 2014); the shares sum to 1.
    top_share: how far its values in the best tenth differ from the rest (PED-ANOVA, arXiv 2304.10255), None where the
    trials are too few for that. correlation: Spearman's, with the metric; None where the values have no order.
    """

    parameter: Parameter
    share: float
    top_share: float | None
    correlation: float | None


def importances(findings: Findings) -> list[Importance]:
    """Of every parameter, the most important first. Raises RunError where the trials are too few, or all alike."""
    ranked = findings.ranked
    if len(ranked) < LEAST_TRIALS or len({record.best for record in ranked}) < 2:
        raise RunError(
            f"sweep {findings.folder.path} has {len(ranked)} finished trials; importance needs {LEAST_TRIALS} or more "
            f"that differ in {findings.plan.metric.name}"
        )
    told = [told_of(record, (findings.plan.metric,)) for record in sorted(ranked, key=lambda record: record.number)]
    study = study_of(findings.plan.sweep.space, [findings.plan.metric.goal], told)
    if len(study.trials) < LEAST_TRIALS:
        raise RunError(
            f"sweep {findings.folder.path} has {len(study.trials)} finished trials with values that its file can give; "
            f"importance needs {LEAST_TRIALS}"
        )
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    top: Mapping[str, float] = {}
    if len(ranked) >= 10 * LEAST_TRIALS_OF_THE_TOP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            top = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    found = [
        Importance(one, shares.get(one.field, 0.0), top.get(one.field), _correlation(one, ranked))
        for one in findings.parameters
    ]
    return sorted(found, key=lambda importance: -importance.share)


def _correlation(parameter: Parameter, ranked: Sequence[Record]) -> float | None:
    values = [record.values[parameter.field] for record in ranked]
    if not all(isinstance(value, int | float) for value in values) or len(set(values)) < 2:
        return None
    correlation = float(stats.spearmanr(values, [record.best for record in ranked]).statistic)
    return correlation if np.isfinite(correlation) else None


def values_of_the_sweep(findings: Findings) -> Values:
    """The best trial's values of the fields that the sweep's file varies or holds fixed.

    A record decides nothing else, such as where a run is written: anybody may have written it.
    """
    space = findings.plan.sweep.space
    fields = {*space.constants, *(parameter.field for parameter in space.parameters)}
    return {field: value for field, value in findings.best.values.items() if field in fields}


def fields_left_out(findings: Findings) -> list[str]:
    """The fields that the best trial's record has otherwise than the base config, and that do not count."""
    base, kept = findings.plan.base, values_of_the_sweep(findings)
    config = config_of(base, findings.best.values).model_dump(mode="json")
    return [
        f"{section}.{field}"
        for section, fields in base.model_dump(mode="json").items()
        for field, value in fields.items()
        if config[section][field] != value and f"{section}.{field}" not in kept
    ]


def best_config(findings: Findings, sizes_of: Path) -> Config:
    """The best trial's config, with the sizes of another config (of full runs) where the sweep did not vary them.

    Raises ConfigError where they don't go together, RunError where there is no trial.
    """
    full = load_named_config(sizes_of).model_dump()
    sections = config_of(findings.plan.base, values_of_the_sweep(findings)).model_dump()
    varied = {parameter.field for parameter in findings.parameters}
    for field in SIZES:
        if field not in varied:
            section, _, name = field.partition(".")
            sections[section][name] = full[section][name]
    sections["resources"] = full["resources"]
    sections["run"] |= {"name": None, "sweep_trials": findings.trials_compared}
    sections["tracking"]["wandb_group"] = None
    return config_from_dict(sections, f"the best trial with the sizes of {sizes_of}")


def shown(value: Any) -> str:
    """A value for a table."""
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
