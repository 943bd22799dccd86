"""A sweep that takes seconds: a market of three made-up stocks, tiny runs, few trials."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from eigen2.training.cluster import nodes
from tests.training.small import SMALL
from tune.folder import Settings, SweepFolder
from tune.planning import base_config, plan_of
from tune.records import Record, read_records
from tune.resources import room_for
from tune.running import Plan, run
from tune.sweep_file import SweepFile
from tune.trial import PopulationTrial

SWEEP: dict[str, Any] = {
    "method": "grid",
    "metric": {"name": "fitness/best_ever", "goal": "maximize"},
    "command": ["${env}", "python", "-m", "tune.agent", "--config", "base.yaml"],
    "parameters": {"actor_lr": {"values": [0.001, 0.004]}, "gamma": {"value": 0.9}},
}


def lay_down(folder: Path, sweep: dict[str, Any] | None = None, **changed: Any) -> None:
    """`closes.csv`, `base.yaml` and `sweep.yaml` in a folder."""
    rng = np.random.default_rng(5)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (260, 3)), axis=0))
    dates = np.datetime64("2020-01-01") + np.arange(260)
    with (folder / "closes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "A", "B", "C"])
        writer.writerows([str(day), *row] for day, row in zip(dates, closes.tolist(), strict=True))
    base = {**SMALL, "population_size": 2, "num_generations": 3, "max_target_pct": 20, "source": "closes.csv"}
    (folder / "base.yaml").write_text(json.dumps({**base, **changed}))
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**SWEEP, **(sweep or {})}, sort_keys=False))


def make_plan(**settings: Any) -> Plan:
    """The plan of `sweep.yaml` on `base.yaml`, both in the working folder."""
    sweep = SweepFile.read(Path("sweep.yaml"))
    chosen = {"seed": 0, "scheduler": "none", "samples": None, "objectives": (), "overrides": (), **settings}
    base = base_config(Path("base.yaml"), chosen["overrides"], sweep)
    return plan_of(sweep, base, Settings.new(**chosen))


def run_sweep(
    plan: Plan, name: str = "small", kind: type[PopulationTrial] = PopulationTrial, concurrent: int = 1
) -> tuple[SweepFolder, list[Record], str]:
    """Run a plan on the connected Ray: the sweep's folder, its trials, and what was shown."""
    folder = SweepFolder.create(name, Path("sweep.yaml"), plan.base, plan.settings)
    room = room_for(plan.base.evolution.population_size, plan.base.resources, nodes(), concurrent)
    shown = Console(file=io.StringIO(), width=200)
    run(plan, folder, room, shown, kind)
    assert isinstance(shown.file, io.StringIO)
    return folder, read_records(folder.trials), shown.file.getvalue()
