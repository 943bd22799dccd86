"""How the time, memory and traffic of a generation grow with each size of a run."""

import multiprocessing
import pickle
import resource
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.runs import generation_s
from benchmarks.sizes import Figures, Size
from eigen2.training.runtime import Calls, LocalRuntime, Share, Told

TINY = Size("tiny", 6, 5, 16, 1_000)
TINY_FIELDS: dict[str, Any] = {
    "training_slices": 4,
    "worst_slices": 4,
    "trading_days": 60,
    "validation_days": 200,
    "holdout_days": 200,
    "hidden_size": 8,
    "gradient_steps_per_generation": 4,
    "batch_size": 32,
    "gradient_accumulation_steps": 1,
    "buffer_size": 8_000,
    "buffer_warmup": 10,
    "num_generations": 4,
}


@dataclass(frozen=True)
class Point:
    """One tiny run: its size, fields, and what a generation took: seconds, peak MB of its process, bytes its driver
    was answered."""

    size: Size
    fields: dict[str, Any]

    def measure(self) -> tuple[float, float, float]:
        torch.set_num_threads(1)
        config = self.size.config(**{**TINY_FIELDS, **self.fields})
        runtime = Weighing()
        seconds, _ = generation_s(config, self.size.market(config), runtime, Share)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        return seconds, peak_mb, runtime.answered / config.run.num_generations


class Weighing(LocalRuntime):
    """Counts the bytes of all answers that a driver asks for."""

    def __init__(self) -> None:
        self.answered = 0

    def collect(self, calls: Calls, wait_s: float, told: Told = lambda _: None) -> list[Any]:
        answers = super().collect(calls, wait_s, told)
        self.answered += sum(len(pickle.dumps(answer)) for answer in answers)
        return answers


def growth() -> list[Figures]:
    """How a generation grows with each size of a tiny run: the exponent of a power law through the points."""
    slices = {"training_slices": 2, "worst_slices": 2}
    series: dict[str, dict[int, Point]] = {
        "members": {n: Point(TINY, {"population_size": n}) for n in (2, 4, 8, 16, 32)},
        "columns": {n: Point(replace(TINY, columns=n, stocks=n - 1), {}) for n in (20, 40, 80, 160)},
        "days of data": {n: Point(replace(TINY, days=n), {}) for n in (1_000, 2_000, 4_000, 8_000)},
        "days of a slice": {n: Point(TINY, {"trading_days": n, **slices}) for n in (40, 80, 160)},
        "buffer size": {n: Point(TINY, {"buffer_size": n}) for n in (2_000, 20_000, 200_000)},
        "width of the networks": {n: Point(TINY, {"hidden_size": n}) for n in (8, 16, 32, 64)},
    }
    # a process for each point: its peak memory is its own
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        return [_grown(name, points, list(pool.map(Point.measure, points.values()))) for name, points in series.items()]


def _grown(name: str, points: Iterable[int], measured: Sequence[tuple[float, float, float]]) -> Figures:
    found: Figures = {"of": name}
    for what, values in zip(("seconds", "peak MB", "bytes to the driver"), zip(*measured, strict=True), strict=True):
        exponent = float(np.polyfit(np.log(list(points)), np.log(values), 1)[0])
        told = ", ".join(f"{point}: {value:.4g}" for point, value in zip(points, values, strict=True))
        found[what] = f"{told} (exponent {exponent:.2f}, {named(exponent)})"
    return found


def named(exponent: float) -> str:
    """The kind of growth that an exponent is, give or take the noise of a measurement."""
    if exponent > 1.15:
        return "more than linear"
    return "linear" if exponent > 0.85 else "less than linear" if exponent > 0.05 else "constant"
