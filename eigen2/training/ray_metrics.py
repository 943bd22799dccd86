"""Metrics on the Ray dashboard: each number of a generation as a gauge, `ray_eigen2_fitness_mean` and so on."""

from collections.abc import Mapping
from pathlib import Path

from ray.util.metrics import Gauge


class RayMetrics:
    """A sink that sets one gauge a metric, tagged with the run's name."""

    def __init__(self, run_name: str) -> None:
        self._tags = {"run": run_name}
        self._gauges: dict[str, Gauge] = {}

    def log(self, row: Mapping[str, float | int | str]) -> None:
        """Set the gauges of a generation's numbers."""
        for name, value in row.items():
            if not isinstance(value, str):
                self._gauge(name).set(float(value), tags=self._tags)

    def finish(self, summary: Mapping[str, float | int | str], champion: Path | None) -> None:
        """Gauges end with the process; nothing is left to do."""

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            label = "eigen2_" + name.replace("/", "_")
            self._gauges[name] = Gauge(label, description=f"{name} of the newest generation", tag_keys=("run",))
        return self._gauges[name]
