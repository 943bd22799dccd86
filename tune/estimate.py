"""What a sweep will take, from one timed generation."""

import math
import tempfile
import time
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from eigen2.config import Config
from eigen2.errors import Eigen2Error
from eigen2.randomness import DRIVER, stream
from eigen2.tracking.progress import duration
from eigen2.training.cluster import Node
from eigen2.training.runtime import Share
from tune.hyperband import Hyperband
from tune.population import Population, open_or_create
from tune.running import Plan
from tune.space import config_of
from tune.warm import WarmRuntime

MOST_TIMED = 3  # generations; the replay buffer should be warm by then
DRAWS = 256
AT_ONCE = (1, 2, 3, 4)


@dataclass(frozen=True)
class Timing:
    """Seconds of a trial with the space's middle values: to start its processes, and of a generation's phases."""

    start_s: float
    train_s: float
    rest_s: float
    learned: bool


def time_generation(plan: Plan, share: Share) -> Timing:
    """Time a generation in which members learn, if one of the first three is."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(plan.base, plan.sweep.space.middle())
        run = config.run.model_copy(update={"name": "timed", "runs_dir": folder})
        tracking = config.tracking.model_copy(update={"progress": False})
        run_folder, config = open_or_create(config.model_copy(update={"run": run, "tracking": tracking}), "timed")
        started = time.monotonic()
        population = Population(config, run_folder, WarmRuntime(), lambda: share)
        start_s = time.monotonic() - started
        return _timed(population, start_s)


def _timed(population: Population, start_s: float) -> Timing:
    for _ in range(MOST_TIMED):
        began = time.monotonic()
        row = population.advance()
        whole_s = time.monotonic() - began
        learned = "train/critic_loss" in row
        if learned or population.done:
            break
    train_s = float(row["time/train"])
    return Timing(start_s, train_s, whole_s - train_s, learned)


def trial_seconds(plan: Plan, timing: Timing) -> float:
    """Seconds of a trial that is not stopped; learning takes as long as the transitions learned from are many."""
    heavier = _mean_work(plan) / _work(config_of(plan.base, plan.sweep.space.middle()))
    return plan.generations * (timing.rest_s + timing.train_s * heavier)


def share_trained(rule: Hyperband | None, trials: int, generations: int) -> float:
    """The share of all generations that is trained where the rule stops trials that come in random order, each as good
    in every generation as in its first."""
    if rule is None:
        return 1.0
    quality = stream(0, 0, DRIVER, "quality of trials").random(trials)
    histories: dict[str, list[float]] = {}
    for number, value in enumerate(quality):
        name = str(number)
        histories[name] = []
        for _ in range(generations):
            histories[name].append(value)
            if rule.stops(histories, {name}, "maximize"):
                break
    return sum(len(history) for history in histories.values()) / (trials * generations)


def estimate_table(plan: Plan, timing: Timing, cluster: list[Node], trials: int, price_per_hour: float | None) -> Table:
    """Time and cost of the sweep for 1 to 4 trials at once."""
    seconds = trial_seconds(plan, timing)
    rule = plan.sweep.early_terminate if plan.scheduler == "wandb" else None
    kept = share_trained(rule, trials, plan.generations)
    population = config_of(plan.base, plan.sweep.space.middle()).evolution.population_size
    table = Table("at once", "at most", "with early stopping, about", "cost", header_style="bold")
    for at_once in AT_ONCE:
        slower = _slowdown(population, at_once, sum(node.cpus for node in cluster))
        rounds = math.ceil(trials / at_once)
        at_most = timing.start_s + rounds * seconds * slower
        about = timing.start_s + rounds * seconds * slower * kept
        cost = "-" if price_per_hour is None else f"{about / 3600 * price_per_hour:.2f}"
        table.add_row(str(at_once), duration(at_most), duration(about), cost)
    return table


def _slowdown(population: int, at_once: int, cpus: float) -> float:
    """How much longer a generation takes when members share the CPUs with those of other trials."""
    return max(at_once * population / cpus, 1.0) / max(population / cpus, 1.0)


def _mean_work(plan: Plan) -> float:
    rng = stream(plan.settings.seed, 0, DRIVER, "estimate")
    drawn = [plan.sweep.space.sample(rng) for _ in range(DRAWS)]
    works = []
    for values in drawn:
        try:
            works.append(_work(config_of(plan.base, values)))
        except Eigen2Error:  # a trial whose values do not fit together fails at once
            works.append(0.0)
    return float(np.mean(works))


def _work(config: Config) -> float:
    ddpg = config.ddpg
    transitions = ddpg.gradient_steps_per_generation * ddpg.batch_size * ddpg.gradient_accumulation_steps
    return float(max(transitions, 1) * config.evolution.population_size)
