"""The trainer: drives a population through its generations. It holds references to arrays, never the arrays."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from pydantic import TypeAdapter, ValidationError

from eigen2.config import Config
from eigen2.errors import RunError, concerning
from eigen2.evaluation.slices import training_slices, validation_slices
from eigen2.evolution.plan import Champion, Cross, Keep, Mutate, MutationStrength, Recipe, heir_slot, plan
from eigen2.evolution.succession import contenders, inherits, succeeds
from eigen2.learning.replay import BatchShape, Replay
from eigen2.market.market import Market
from eigen2.randomness import DRIVER, stream
from eigen2.training import candidates, lineage, metrics
from eigen2.training.checkpoint import PROGRESS, Archive, folder_name
from eigen2.training.crew import REPLAY, Crew, left_name, member_name
from eigen2.training.member import Member, Outcome
from eigen2.training.metrics import Best, Row
from eigen2.training.provenance import recorded
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import Part, Reference, Runtime, Share, Told, gather
from eigen2.training.vault import CHAMPION, Vault


class Listener(Protocol):
    """Hears of a run: each phase while it goes on, troubles, and each generation when it is done.

    lineage, candidates: a record a member, as they stand in lineage.jsonl and candidates.jsonl.
    """

    def phase(self, generation: int, name: str, done: int, total: int) -> None: ...

    def generation(
        self, row: Row, lineage: Sequence[Mapping[str, Any]], candidates: Sequence[Mapping[str, Any]]
    ) -> None: ...

    def warn(self, message: str) -> None: ...


@dataclass
class Progress:
    """What the driver must remember from generation to generation; all of it is in a checkpoint.

    origins: for each slot how its member came to be, as written to the lineage; best: the champion; peak: who did best
    on validation so far, of those that contended to be it.
    """

    generation: int
    strength: MutationStrength
    origins: list[lineage.Origin]
    best: Best | None = None
    peak: Best | None = None
    best_fitness: float | None = None

    @classmethod
    def start(cls, config: Config) -> "Progress":
        origins = [lineage.first_origin() for _ in range(config.evolution.population_size)]
        return cls(0, MutationStrength.base(config.evolution), origins)

    @classmethod
    def from_dict(cls, saved: dict[str, Any], members: int, generation: int) -> "Progress":
        """What a checkpoint holds of the driver. Raises RunError naming the field that is not what it must be."""
        try:
            found = TypeAdapter(cls).validate_python(saved)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise RunError(f"{PROGRESS}: {field}: {first['msg']}") from error
        if found.generation != generation:
            raise RunError(f"{PROGRESS}: generation: {found.generation}, but the folder's is {generation}")
        if len(found.origins) != members:
            raise RunError(f"{PROGRESS}: origins: {len(found.origins)}, but the run has {members} members")
        return found


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
    """A run: a crew of members and a replay buffer, and a vault with their states and checkpoints."""

    def __init__(
        self,
        config: Config,
        market: Market,
        folder: RunFolder,
        runtime: Runtime,
        fit: Callable[[], Share],
        listener: Listener,
    ) -> None:
        """fit: the share of a member on the cluster as it is; raises ResourceError where nothing fits."""
        self._config, self._market, self._runtime, self._listener = config, market, runtime, listener
        self._folder = folder
        self._validation = validation_slices(market, config)
        self._batch = BatchShape.of(config.ddpg, config.replay, config.slices.trading_days)
        self._checkpoint_s = 0.0
        self.progress = Progress.start(config)

        saving = config.checkpoint
        made_of = recorded(folder, config, market)
        archive = Archive(folder.checkpoints.resolve(), saving.keep, made_of, saving.storage)
        self._vault = runtime.make("the vault", Vault, Share(with_driver=True), archive)
        shared_config, shared_market = runtime.put(config), runtime.put(market)
        makers = [
            (member_name(number), _member_maker(runtime, number, shared_config, shared_market))
            for number in range(config.evolution.population_size)
        ]
        replay = (REPLAY, _replay_maker(runtime, config.buffer_size))
        self._crew = Crew(runtime, self._vault, config.resources, [*makers, replay], fit, listener.warn)

    def start(self) -> None:
        """Wait until every member stands."""
        self._crew.start(self._telling("start", self.progress.generation))

    def restore(self, generation: int) -> None:
        """Take up the state after `generation` generations from its checkpoint. Raises RunError if it is damaged."""
        saved = self._ask_vault("load", generation)
        with concerning(f"checkpoint {self._folder.checkpoints / folder_name(generation)}"):
            self.progress = Progress.from_dict(saved, len(self._crew.members), generation)
            self._crew.restore(self._telling("restore", generation))
            self._ask_vault("verify_champion", self._crew.names[:-1])

    def run(self, between: Callable[[], None] = lambda: None) -> None:
        """Train the generations that are left, then save the champion.

        between: called where the newest checkpoint holds all that was trained; what it raises ends the run there.
        """
        while self.progress.generation < self._config.run.num_generations:
            if self.progress.generation % self._config.checkpoint.every_generations == 0:
                between()
            self.advance()
        self.save_champion()

    def advance(self) -> None:
        """Train the next generation; when this returns, its row and its checkpoint are on the disk."""
        self._generation(self.progress.generation)

    def save_champion(self) -> None:
        """Write the champion's genome into the run folder."""
        self._ask_vault("save_champion", self._folder.champion.resolve())

    def flush(self) -> None:
        """See the run's files to their storage, if it has one; whatever could not be uploaded is told."""
        self._warn_of(self._ask_vault("flush", self._config.resources.wait_s))

    def _generation(self, generation: int) -> None:
        clock = Clock()
        started = time.monotonic()
        with clock.phase("play"):
            outcomes, buffer_size = self._play(generation)
        fitness = [outcome.fitness for outcome in outcomes]
        best_ever = self.progress.best_fitness = metrics.best_of(fitness, self.progress.best_fitness)
        contender, best, peak = self._crown(generation, outcomes)
        with clock.phase("train"):
            learned = self._train(generation, buffer_size)
        with clock.phase("evolve"):
            diversity, origins = self._evolve(generation, outcomes, best, peak.validation_fitness)
        crowned = best.member if best.generation == generation else None
        family = lineage.records(generation, self.progress.origins, outcomes, crowned)
        self.progress.origins = origins
        self.progress.generation = generation + 1

        row: Row = {"generation": generation}
        row |= metrics.of_fitness(fitness, best_ever) | metrics.of_validation(outcomes[contender], best, peak)
        row |= {f"train/{name}": value for name, value in learned.items()}
        row |= {"buffer/size": buffer_size, "buffer/utilization": buffer_size / self._config.buffer_size}
        row |= metrics.of_evolution(self.progress.strength, diversity)
        row |= metrics.of_importance(outcomes, self._market.columns)
        row |= {"time/generation": round(time.monotonic() - started, 4), **clock.seconds}
        # the checkpoint comes after the row, so it never claims a generation whose row was lost
        row["time/checkpoint"] = self._checkpoint_s
        self._listener.generation(row, family, candidates.records(generation, outcomes))
        with clock.phase("checkpoint"):
            self._save(generation)
        self._checkpoint_s = clock.seconds["time/checkpoint"]

    def _play(self, generation: int) -> tuple[list[Outcome], int]:
        """All members play; the replay buffer takes their transitions, in random order."""
        crew, slices = self._crew, training_slices(self._market, self._config, generation)
        told = self._telling("play", generation)
        outcomes = crew.each(
            "play", crew.members, "play", lambda _: (generation, slices, self._validation), told, leaves="rows"
        )

        def rows(_: int) -> tuple[Any, ...]:
            rng = stream(self._config.run.seed, generation, DRIVER, "replay order")
            return rng, *(self._vault.call("held", left_name(name, "rows")) for name in crew.names[:-1])

        return outcomes, crew.each("take transitions", [crew.replay], "extend_shuffled", rows, leaves="state")[0]

    def _crown(self, generation: int, outcomes: list[Outcome]) -> tuple[int, Best, Best]:
        """The contender becomes champion unless validation speaks against it; its state is kept as it played.

        Once the heir was taught it is the one contender; else the best of all on validation is, of equals the first.
        Returns the contender's slot, the champion, and the best on validation of all that contended.
        """
        slots = contenders(generation, self._config.evolution)
        contender = max(slots, key=lambda slot: (outcomes[slot].validation_fitness, -slot))
        found = Best.of(generation, contender, outcomes[contender])
        best, peak = self.progress.best, self.progress.peak
        if best is None or peak is None or self._is_crowned(found, best, peak):
            best = self.progress.best = found
            self._ask_vault("crown", member_name(contender))
        if peak is None or found.validation_fitness > peak.validation_fitness:
            peak = self.progress.peak = found
        return contender, best, peak

    def _is_crowned(self, contender: Best, champion: Best, peak: Best) -> bool:
        scores, lead = np.asarray(contender.validation_scores), self._config.evolution.crown_lead
        if contender.member == heir_slot(self._config.evolution):
            return inherits(scores, np.asarray(peak.validation_scores), lead)
        ahead = contender.validation_fitness > champion.validation_fitness
        return ahead and succeeds(scores, np.asarray(champion.validation_scores), lead)

    def _train(self, generation: int, buffer_size: int) -> dict[str, float]:
        """Each member but the heir learns from its own seeded sample, once the buffer is warm."""
        steps = self._config.ddpg.gradient_steps_per_generation
        if steps == 0 or buffer_size < self._config.replay.buffer_warmup:
            return {}

        def sample(number: int) -> tuple[Reference, ...]:
            rng = stream(self._config.run.seed, generation, number, "replay sample")
            return generation, self._crew.call_replay("sample", steps, self._batch, rng)

        learners = self._crew.members[: heir_slot(self._config.evolution)]
        told = self._telling("train", generation, len(learners))
        learned = self._crew.each("train", learners, "train", sample, told, leaves="state")
        return {name: float(np.mean([figures[name] for figures in learned])) for name in learned[0]}

    def _evolve(
        self, generation: int, outcomes: list[Outcome], best: Best, reached: float
    ) -> tuple[float, list[lineage.Origin]]:
        """Breed the next generation where it will live: (diversity before, how each new member came to be).

        reached: the best fitness on validation so far.
        """
        config = self._config.evolution
        self.progress.strength = self.progress.strength.after(reached, config)
        rng = stream(self._config.run.seed, generation, DRIVER, "breeding")
        fitness, scores = [outcome.fitness for outcome in outcomes], np.stack([outcome.scores for outcome in outcomes])
        recipes = plan(fitness, scores, self.progress.strength, config, rng)
        self._hear_parents(generation, recipes)
        diversity: float = self._ask_vault("diversity", self._crew.names[:-1])

        def parents(number: int) -> tuple[Any, ...]:
            return generation, recipes[number], *self._parents(recipes[number])

        told = self._telling("breed", generation)
        self._crew.each("breed", self._crew.members, "breed", parents, told, leaves="state")
        champion = (best.generation, best.member)
        return diversity, [lineage.origin(generation, slot, recipe, champion) for slot, recipe in enumerate(recipes)]

    def _hear_parents(self, generation: int, recipes: list[Recipe]) -> None:
        """Let whoever is a parent in a cross lay down its judgement."""
        parents = sorted({parent for recipe in recipes if isinstance(recipe, Cross) for parent in recipe.parents})
        if parents:
            told = self._telling("judge", generation, len(parents))
            self._crew.each("judge", parents, "judge", lambda _: (generation,), told, leaves="judgement")

    def _parents(self, recipe: Recipe) -> list[Reference]:
        """References to the states that a recipe takes, or to the judgements."""
        match recipe:
            case Cross(parents=parents):
                return [self._vault.call("held", left_name(member_name(parent), "judgement")) for parent in parents]
            case Mutate(parent=parent):
                return [self._vault.call("held", member_name(parent))]
            case Champion():
                return [self._vault.call("held", CHAMPION)]
            case Keep():
                return []

    def _save(self, generation: int) -> None:
        done = generation + 1
        if done % self._config.checkpoint.every_generations and done != self._config.run.num_generations:
            return
        self._listener.phase(generation, "checkpoint", 0, 1)
        self._ask_vault("save", done, asdict(self.progress), self._crew.names)
        self._warn_of(self._ask_vault("trouble"))

    def _warn_of(self, trouble: str | None) -> None:
        if trouble:
            self._listener.warn(trouble)

    def _telling(self, phase: str, generation: int, parts: int | None = None) -> Told:
        total = parts or len(self._crew.members)

        def told(done: int) -> None:
            self._listener.phase(generation, phase, min(done, total), total)

        told(0)
        return told

    def _ask_vault(self, method: str, *args: Any) -> Any:
        call = (self._vault, self._vault.call(method, *args))
        # uploads may take all of wait_s themselves
        return gather(self._runtime, [call], method.replace("_", " "), 2 * self._config.resources.wait_s)[0]


def _member_maker(runtime: Runtime, number: int, config: Reference, market: Reference) -> Callable[[Share], Part]:
    return lambda share: runtime.make(f"member {number}", Member, share, number, config, market, share.of_process.gpus)


def _replay_maker(runtime: Runtime, capacity: int) -> Callable[[Share], Part]:
    return lambda _: runtime.make("the replay buffer", Replay, Share(with_driver=True), capacity)
