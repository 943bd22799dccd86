"""The trainer: drives a population through its generations. It holds references to arrays, never the arrays."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from eigen2.config import Config
from eigen2.evaluation.slices import training_slices, validation_slices
from eigen2.evolution.plan import Champion, Cross, Keep, Mutate, MutationStrength, Recipe, plan
from eigen2.learning.replay import BatchShape, Replay
from eigen2.market.market import Market
from eigen2.randomness import DRIVER, stream
from eigen2.training import lineage, metrics
from eigen2.training.checkpoint import Archive, Checkpoint
from eigen2.training.member import Member, Outcome
from eigen2.training.metrics import Best, Row
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import Part, Reference, Runtime, Share


class Listener(Protocol):
    """Hears of a run: each phase while it goes on, and each generation's row and lineage when it is done."""

    def phase(self, generation: int, name: str, done: int, total: int) -> None: ...

    def generation(self, row: Row, lineage: Sequence[Mapping[str, Any]]) -> None: ...


@dataclass
class Progress:
    """What the driver must remember from generation to generation; all of it is in a checkpoint.

    origins: for each slot how its member came to be, as written to the lineage.
    """

    generation: int
    strength: MutationStrength
    origins: list[lineage.Origin]
    best: Best | None = None
    best_fitness: float | None = None

    @classmethod
    def start(cls, config: Config) -> "Progress":
        origins = [lineage.first_origin() for _ in range(config.evolution.population_size)]
        return cls(0, MutationStrength.base(config.evolution), origins)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Progress":
        best = Best(**saved["best"]) if saved["best"] else None
        strength = MutationStrength(**saved["strength"])
        return cls(saved["generation"], strength, saved["origins"], best, saved["best_fitness"])


@dataclass
class Clock:
    """Seconds spent in each phase of a generation."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[f"time/{name}"] = round(time.monotonic() - started, 4)


class Trainer:
    """A run: its members, its replay buffer, its archive of checkpoints."""

    def __init__(
        self, config: Config, market: Market, folder: RunFolder, runtime: Runtime, share: Share, listener: Listener
    ) -> None:
        self._config, self._market, self._runtime, self._listener = config, market, runtime, listener
        self._folder = folder
        self._validation = validation_slices(market, config)
        self._batch = BatchShape.of(config.ddpg, config.replay)
        self._champion: Reference = None
        self._checkpoint_s = 0.0
        self.progress = Progress.start(config)

        shared_config, shared_market = runtime.put(config), runtime.put(market)
        aside = Share(with_driver=True)
        self._members = [
            runtime.make(f"member {number}", Member, share, number, shared_config, shared_market, share.gpus)
            for number in range(config.evolution.population_size)
        ]
        self._replay = runtime.make("the replay buffer", Replay, aside, config.replay.buffer_size)
        self._archive = runtime.make(
            "the archive", Archive, aside, folder.checkpoints.resolve(), config.checkpoint.keep
        )

    def start(self) -> None:
        """Wait until every member stands."""
        self._each("start", "ready", [() for _ in self._members], generation=self.progress.generation)

    def restore(self, generation: int) -> None:
        """Take up the state after `generation` generations from its checkpoint. Raises RunError if it is damaged."""
        loading = self._archive.call("load", generation)
        checkpoint: Checkpoint = self._runtime.gather([(self._archive, loading)], "load a checkpoint")[0]
        self.progress = Progress.from_dict(checkpoint.progress)
        parts = {name: self._runtime.put(arrays) for name, arrays in checkpoint.parts.items()}
        self._champion = parts.get("champion")
        self._runtime.gather([(self._replay, self._replay.call("load_state", parts["replay"]))], "take up its state")
        states = [(parts[_part_name(number)],) for number in range(len(self._members))]
        self._each("restore", "load_state", states, generation)

    def run(self) -> None:
        """Train the generations that are left, then save the champion."""
        for generation in range(self.progress.generation, self._config.run.num_generations):
            self._generation(generation)
        path = self._folder.champion.resolve()
        saving = self._archive.call("save_genome", path, self._champion)
        self._runtime.gather([(self._archive, saving)], "save the champion")

    # --- one generation -------------------------------------------------------------------------------------------

    def _generation(self, generation: int) -> None:
        clock = Clock()
        started = time.monotonic()
        with clock.phase("play"):
            outcomes, buffer_size = self._play(generation)
        fitness = [outcome.fitness for outcome in outcomes]
        best_ever = self.progress.best_fitness = metrics.best_of(fitness, self.progress.best_fitness)
        leader, best = self._crown(generation, outcomes)
        with clock.phase("train"):
            learned = self._train(generation, buffer_size)
        with clock.phase("evolve"):
            diversity, origins = self._evolve(generation, fitness, best)
        family = lineage.records(generation, self.progress.origins, outcomes)
        self.progress.origins = origins
        self.progress.generation = generation + 1

        row: Row = {"generation": generation}
        row |= metrics.of_fitness(fitness, best_ever) | metrics.of_validation(outcomes[leader], best)
        row |= {f"train/{name}": value for name, value in learned.items()}
        row |= {"buffer/size": buffer_size, "buffer/utilization": buffer_size / self._config.replay.buffer_size}
        row |= metrics.of_evolution(self.progress.strength, diversity)
        row |= metrics.of_importance(outcomes, self._market.columns)
        row |= {"time/generation": round(time.monotonic() - started, 4), **clock.seconds}
        # the checkpoint comes after the row, so it never claims a generation whose row was lost
        self._listener.generation({**row, "time/checkpoint": self._checkpoint_s}, family)
        with clock.phase("checkpoint"):
            self._save(generation)
        self._checkpoint_s = clock.seconds["time/checkpoint"]

    def _play(self, generation: int) -> tuple[list[Outcome], int]:
        """All members play; their transitions go to the replay buffer in member order."""
        slices = training_slices(self._market, self._config, generation)
        played = [member.call("play", generation, slices, self._validation, returns=2) for member in self._members]
        calls = [(member, outcome) for member, (outcome, _) in zip(self._members, played, strict=True)]
        outcomes = self._gather(calls, "play", generation)
        extending = self._replay.call("extend", *(rows for _, rows in played))
        return outcomes, self._runtime.gather([(self._replay, extending)], "take transitions")[0]

    def _crown(self, generation: int, outcomes: list[Outcome]) -> tuple[int, Best]:
        """The best validation fitness so far makes the champion; its genome is kept as it played.

        Returns the slot that did best in this generation (of equals the first), and the champion.
        """
        leader = max(range(len(outcomes)), key=lambda slot: (outcomes[slot].validation_fitness, -slot))
        reached, best = outcomes[leader].validation_fitness, self.progress.best
        if best is None or reached > best.validation_fitness:
            best = self.progress.best = Best(generation, leader, reached, outcomes[leader].validation)
            self._champion = self._members[leader].call("genome")
        return leader, best

    def _train(self, generation: int, buffer_size: int) -> dict[str, float]:
        """Each member learns from its own seeded sample, once the buffer is warm."""
        steps = self._config.ddpg.gradient_steps_per_generation
        if steps == 0 or buffer_size < self._config.replay.buffer_warmup:
            return {}
        samples = []
        for number in range(len(self._members)):
            rng = stream(self._config.run.seed, generation, number, "replay sample")
            samples.append(self._replay.call("sample", steps, self._batch, rng))
        learned = self._each("train", "train", [(generation, sample) for sample in samples], generation)
        return {name: float(np.mean([figures[name] for figures in learned])) for name in learned[0]}

    def _evolve(self, generation: int, fitness: list[float], best: Best) -> tuple[float, list[lineage.Origin]]:
        """Breed the next generation where it will live: (diversity before, how each new member came to be)."""
        config = self._config.evolution
        self.progress.strength = self.progress.strength.after(best.validation_fitness, config)
        rng = stream(self._config.run.seed, generation, DRIVER, "breeding")
        recipes = plan(fitness, self.progress.strength, config, rng)
        genomes = [member.call("genome") for member in self._members]
        diversity = (self._members[0], self._members[0].call("compare", *genomes))
        bred = [
            (member, member.call("breed", generation, recipe, *self._parents(recipe, genomes)))
            for member, recipe in zip(self._members, recipes, strict=True)
        ]
        measured = self._gather([diversity, *bred], "breed", generation)[0]
        champion = (best.generation, best.member)
        return measured, [lineage.origin(generation, slot, recipe, champion) for slot, recipe in enumerate(recipes)]

    def _save(self, generation: int) -> None:
        done = generation + 1
        if done % self._config.checkpoint.every_generations and done != self._config.run.num_generations:
            return
        names = [_part_name(number) for number in range(len(self._members))] + ["replay", "champion"]
        parts = [part.call("state") for part in [*self._members, self._replay]] + [self._champion]
        saving = self._archive.call("save", done, asdict(self.progress), names, *parts)
        self._listener.phase(generation, "checkpoint", 0, 1)
        self._runtime.gather([(self._archive, saving)], "save a checkpoint")

    # --- calls to the members -------------------------------------------------------------------------------------

    def _each(self, phase: str, method: str, arguments: Sequence[tuple[Any, ...]], generation: int) -> list[Any]:
        """Call a method of every member with its own arguments; results in member order."""
        pairs = zip(self._members, arguments, strict=True)
        return self._gather([(member, member.call(method, *given)) for member, given in pairs], phase, generation)

    def _gather(self, calls: Sequence[tuple[Part, Reference]], phase: str, generation: int) -> list[Any]:
        def told(done: int) -> None:
            self._listener.phase(generation, phase, done, len(calls))

        told(0)
        return self._runtime.gather(calls, phase, told)

    def _parents(self, recipe: Recipe, genomes: list[Reference]) -> list[Reference]:
        match recipe:
            case Cross(first=first, second=second):
                return [genomes[first], genomes[second]]
            case Mutate(parent=parent):
                return [genomes[parent]]
            case Champion():
                return [self._champion]
            case Keep():
                return []


def _part_name(number: int) -> str:
    return f"member_{number:04d}"
