"""Decisions of W&B's published engine on random histories, for `hyperband_vectors.json`.

The engine pins numpy < 2, so it runs in an environment of its own:

    python -m venv engine && engine/bin/pip install sweeps==0.3.0
    engine/bin/python tests/tune/make_hyperband_vectors.py tests/tune/hyperband_vectors.json
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

from sweeps.hyperband_stopping import hyperband_stop_runs
from sweeps.run import RunState, SweepRun

SETTINGS = (
    {"min_iter": 5, "eta": 2, "s": 3},
    {"min_iter": 5},
    {"min_iter": 5, "eta": 1.5},
    {"min_iter": 1, "eta": 1.1},
    {"min_iter": 3, "eta": 2.5},
    {"max_iter": 5, "eta": 2, "s": 3},
    {"max_iter": 10, "eta": 2, "s": 3},
    {"max_iter": 27, "eta": 3, "s": 2},
    {"max_iter": 27, "s": 9},
    {"max_iter": 20, "min_iter": 2, "eta": 1.7, "s": 4},
    {"max_iter": 20, "eta": 1.25, "s": 30},
)
STATES = ("running", "running", "running", "finished", "killed", "crashed", "failed")


def value_of(draw: random.Random, level: float) -> float:
    """A value of the metric, coarse so that ties happen; now and then one that does not count."""
    if draw.random() < 0.03:
        return draw.choice((float("nan"), float("inf"), float("-inf")))
    return round(draw.gauss(level, 1.0), draw.choice((0, 1, 1, 2)))


def history_of(draw: random.Random, longest: int) -> list[float]:
    """The values of one run, round a level of its own."""
    level = draw.gauss(0.0, 2.0)
    return [value_of(draw, level) for _ in range(draw.randint(0, longest))]


def case_of(draw: random.Random) -> dict[str, Any]:
    """Settings, goal and the histories of up to 14 runs, and whom the engine stops."""
    settings = dict(draw.choice(SETTINGS))
    strict = draw.choice((True, False, None))
    if strict is not None:
        settings["strict"] = strict
    goal = draw.choice(("minimize", "maximize"))
    longest = draw.choice((3, 8, 14, 24))
    histories = [history_of(draw, longest) for _ in range(draw.randint(1, 14))]
    states = [draw.choice(STATES) for _ in histories]
    runs = [
        SweepRun(name=str(number), state=RunState(state), history=[{"metric": value} for value in history])
        for number, (state, history) in enumerate(zip(states, histories, strict=True))
    ]
    config = {
        "method": "random",
        "metric": {"name": "metric", "goal": goal},
        "parameters": {"x": {"value": 1}},
        "early_terminate": {"type": "hyperband", **settings},
    }
    stopped = [int(run.name) for run in hyperband_stop_runs(runs, config)]
    running = [number for number, state in enumerate(states) if state == "running"]
    return {"settings": settings, "goal": goal, "histories": histories, "running": running, "stopped": stopped}


def main(path: str, count: str = "400", seed: str = "0") -> None:
    draw = random.Random(int(seed))
    cases = [case_of(draw) for _ in range(int(count))]
    Path(path).write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
