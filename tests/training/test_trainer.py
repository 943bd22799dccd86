"""A whole run in this process: repeated, resumed, and what evolution makes of it."""

import json
import math
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eigen2.config import Config
from eigen2.evolution.plan import Cross, Keep
from eigen2.learning.genome import genome_of
from eigen2.training.checkpoint import Archive, folder_name, load_genome
from eigen2.training.metrics import NUMBERS
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalPart, LocalRuntime, Part, Reference, Share
from eigen2.training.trainer import Trainer
from tests.training.small import (
    MARKET,
    SMALL,
    Silent,
    assert_identical,
    assert_same_run,
    family_of,
    rows_of,
    run,
    small_config,
    timeless,
)

MEMBERS, GENERATIONS = 4, 4
HEIR = f"member {MEMBERS - 1}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of four generations without an interruption; tests only read it."""
    return run(tmp_path_factory.mktemp("runs") / "whole", num_generations=GENERATIONS)


# --- the same seed gives the same run -----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run(whole: RunFolder, tmp_path: Path) -> None:
    assert_same_run(run(tmp_path / "again", num_generations=GENERATIONS), whole)


def test_another_seed_gives_another_run(whole: RunFolder, tmp_path: Path) -> None:
    other = run(tmp_path / "other", num_generations=GENERATIONS, seed=4)
    assert all(one != two for one, two in zip(timeless(other), timeless(whole), strict=True))
    assert other.champion.read_bytes() != whole.champion.read_bytes()


def test_metrics_and_lineage_have_a_row_a_generation_and_member(whole: RunFolder) -> None:
    assert [row["generation"] for row in rows_of(whole)] == list(range(GENERATIONS))
    expected = [(generation, member) for generation in range(GENERATIONS) for member in range(MEMBERS)]
    assert [(record["generation"], record["member"]) for record in family_of(whole)] == expected


# --- a resumed run is the uninterrupted one -----------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_is_the_uninterrupted_one(whole: RunFolder, tmp_path: Path, stop: int) -> None:
    folder = run(tmp_path / "resumed", num_generations=stop)
    assert len(rows_of(folder)) == stop
    run(folder.path, generation=stop, num_generations=GENERATIONS)
    assert_same_run(folder, whole)
    last = f"gen_{GENERATIONS:06d}/manifest.json"  # holds the checksums of every member's state and of the replay
    assert (folder.checkpoints / last).read_bytes() == (whole.checkpoints / last).read_bytes()


def test_going_back_to_an_earlier_checkpoint_plays_its_future_again(whole: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(whole.path, tmp_path / "copy")))
    run(folder.path, generation=1, num_generations=GENERATIONS)
    assert_same_run(folder, whole)


def test_the_metrics_of_a_generation_are_those_that_are_known(whole: RunFolder) -> None:
    numbers = {name for name, value in rows_of(whole)[-1].items() if not isinstance(value, str)} - {"generation"}
    assert numbers == {name for name in NUMBERS if not name.startswith("final/")}


def test_a_resumed_run_of_evolution_alone_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Without learning, mutants come straight from what a checkpoint held."""
    alone = {"gradient_steps_per_generation": 0, "elite_share": 0.25, "min_lead": 0.0}
    whole = run(tmp_path / "whole", **alone)
    folder = run(tmp_path / "resumed", **alone, num_generations=1)
    run(folder.path, generation=1, **alone)
    assert_same_run(folder, whole)


def test_a_run_that_is_done_resumes_to_its_end_at_once(whole: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(whole.path, tmp_path / "copy")))
    folder.champion.unlink()
    run(folder.path, generation=GENERATIONS, num_generations=GENERATIONS)
    assert_same_run(folder, whole)


def test_a_crash_after_the_row_and_before_the_checkpoint_repeats_the_generation(
    whole: RunFolder, tmp_path: Path
) -> None:
    folder = run(tmp_path / "resumed", num_generations=3)
    shutil.rmtree(folder.checkpoints / "gen_000003")
    run(folder.path, generation=2, num_generations=GENERATIONS)
    assert_same_run(folder, whole)


def test_checkpoints_are_as_often_as_configured_and_after_the_last_generation(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", num_generations=5, every_generations=2, keep=2)
    best = json.loads((folder.checkpoints / "gen_000005" / "progress.json").read_bytes())["best"]["generation"]
    with_champion = next(done for done in (2, 4, 5) if done > best)
    kept = sorted({folder_name(done) for done in (with_champion, 4, 5)})
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == kept


# --- evolution ----------------------------------------------------------------------------------------------------


class Watched(LocalPart):
    """A part that writes down what it was called with and what it gave, and a member's state around its breeding."""

    def __init__(self, name: str, target: object, calls: list[tuple[str, str, tuple[Any, ...], Any]]) -> None:
        super().__init__(name, target)
        self._calls = calls

    def call(self, method: str, *args: Reference, returns: int = 1) -> Reference:
        before = super().call("state") if method == "breed" else None
        result = super().call(method, *args, returns=returns)
        self._calls.append((self.name, method, args, (before, super().call("state")) if before else result))
        return result


class WatchingRuntime(LocalRuntime):
    """A local runtime of watched parts."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, tuple[Any, ...], Any]] = []

    def make(self, name: str, kind: type, share: Share, *args: Reference) -> Part:
        return Watched(name, kind(*args), self.calls)

    def of(self, method: str) -> list[tuple[str, tuple[Any, ...], Any]]:
        return [(name, args, result) for name, called, args, result in self.calls if called == method]


SEVERE = {"min_lead": 0.0, "crossover_steps": 0}  # whoever is not among the fittest gives way, however small the lead


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> WatchingRuntime:
    runtime = WatchingRuntime()
    run(tmp_path_factory.mktemp("runs") / "watched", runtime=runtime, num_generations=3)
    return runtime


@pytest.fixture(scope="module")
def severe(tmp_path_factory: pytest.TempPathFactory) -> WatchingRuntime:
    runtime = WatchingRuntime()
    run(tmp_path_factory.mktemp("runs") / "severe", runtime=runtime, num_generations=3, **SEVERE)
    return runtime


def test_elites_are_the_same_to_the_byte_after_breeding(severe: WatchingRuntime) -> None:
    kept = [states for _, (_, recipe, *_), states in severe.of("breed") if recipe == Keep()]
    assert len(kept) == 3  # of two elites the last gives way to the champion
    for before, after in kept:
        assert any("adam" in name for name in before)
        assert_identical(before, after)


def test_all_others_are_bred_from_the_states_of_others(severe: WatchingRuntime) -> None:
    bred = [(parents, states) for _, (_, recipe, *parents), states in severe.of("breed") if recipe != Keep()]
    assert len(bred) == 9
    for parents, (before, after) in bred:
        assert after.keys() == set().union(*parents)
        assert genome_of(before)["encoder.query"].tobytes() != genome_of(after)["encoder.query"].tobytes()


def test_the_crossed_learn_from_judgements_that_their_parents_made_after_they_learned(watched: WatchingRuntime) -> None:
    made = [result for _, _, (nothing, result) in watched.of("judge") if nothing is None]
    bred = [(name, recipe, given) for name, (_, recipe, *given), _ in watched.of("breed")]
    crossed = [(recipe, given) for _, recipe, given in bred if isinstance(recipe, Cross)]
    assert [name for name, recipe, _ in bred if isinstance(recipe, Cross)] == [HEIR] * 3
    for recipe, given in crossed:
        assert len(given) == len(recipe.parents)
        assert all(any(judgement is one for one in made) for judgement in given)
    methods = [method for _, method, _, _ in watched.calls if method in ("train", "judge", "breed")]
    for before, after in pairwise(methods):
        assert (before, after) not in {("breed", "judge"), ("judge", "train")}


def test_transitions_reach_the_replay_in_member_order(watched: WatchingRuntime) -> None:
    played = watched.of("play")
    for generation, (_, batches, _) in enumerate(watched.of("extend")):
        mine = played[generation * MEMBERS :][:MEMBERS]
        assert [name for name, _, _ in mine] == [f"member {number}" for number in range(MEMBERS)]
        assert [batch.tobytes() for batch in batches] == [result[1].tobytes() for _, _, result in mine]


def test_all_members_play_the_same_slices(watched: WatchingRuntime) -> None:
    played = watched.of("play")
    for generation in range(3):
        starts = {tuple(args[1].starts) for _, args, _ in played[generation * MEMBERS :][:MEMBERS]}
        assert len(starts) == 1
    assert len({tuple(args[1].starts) for _, args, _ in played}) == 3
    assert len({tuple(args[2].starts) for _, args, _ in played}) == 1


def test_every_learner_learns_from_a_sample_of_its_own(watched: WatchingRuntime) -> None:
    samples = [args[1].rows.tobytes() for _, args, _ in watched.of("train")]
    assert len(samples) == len(set(samples)) == 3 * (MEMBERS - 1)


def test_the_heir_never_learns_from_transitions_and_never_teaches(watched: WatchingRuntime) -> None:
    for method in ("train", "judge"):
        assert HEIR not in {name for name, _, _ in watched.of(method)}
    assert HEIR in {name for name, _, _ in watched.of("play")}


# --- lineage and champion -----------------------------------------------------------------------------------------


def by_generation(folder: RunFolder) -> list[list[dict[str, Any]]]:
    family = family_of(folder)
    return [family[first : first + MEMBERS] for first in range(0, len(family), MEMBERS)]


def champion_of(generations: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
    """The record of the last that was crowned."""
    return [record for members in generations for record in members if record["crowned"]][-1]


def test_the_first_generation_has_no_parents(whole: RunFolder) -> None:
    assert all((record["operator"], record["parents"]) == ("init", []) for record in by_generation(whole)[0])


def test_parents_are_members_of_the_generation_before_or_the_champion(whole: RunFolder) -> None:
    generations = by_generation(whole)
    operators = [record["operator"] for members in generations for record in members]
    assert {"cross", "mutate"} <= set(operators)
    for number, members in enumerate(generations[1:], start=1):
        best = champion_of(generations[:number])
        for record in members:
            assert len(record["parents"]) == 1 or record["operator"] == "cross"
            if record["operator"] == "champion":
                assert record["parents"] == [[best["generation"], best["member"]]]
                continue
            for generation, slot in record["parents"]:
                assert generation == number - 1
                assert 0 <= slot < MEMBERS


def test_the_fittest_are_kept_and_the_next_gives_way_to_the_champion(tmp_path: Path) -> None:
    generations = by_generation(run(tmp_path, **SEVERE))
    for before, after in pairwise(generations):
        ranking = sorted(before, key=lambda record: -record["fitness"])
        kept = [record["member"] for record in after if record["operator"] == "keep"]
        champions = [record["member"] for record in after if record["operator"] == "champion"]
        assert (kept, champions) == ([ranking[0]["member"]], [ranking[1]["member"]])
        assert all(record["parents"][0][1] == record["member"] for record in after if record["operator"] == "keep")


def test_nobody_gives_way_to_a_lead_that_may_be_chance(tmp_path: Path) -> None:
    family = by_generation(run(tmp_path, num_generations=2, min_lead=1e6))
    assert [record["operator"] for record in family[1]] == ["keep"] * (MEMBERS - 1) + ["cross"]
    assert family[1][-1]["parents"] == [[0, slot] for slot in range(MEMBERS - 1)]


def test_without_a_least_lead_the_champion_is_the_first_of_those_that_did_best_on_validation(tmp_path: Path) -> None:
    generations = by_generation(run(tmp_path, crown_lead=0.0, num_generations=5, crossover_steps=0))
    for done in range(1, 6):
        members = [record for generation in generations[:done] for record in generation]
        assert champion_of(generations[:done]) == max(members, key=lambda record: record["validation_fitness"])


def test_once_it_was_taught_the_heir_becomes_champion_unless_it_is_clearly_worse(tmp_path: Path) -> None:
    generations = by_generation(run(tmp_path, crown_lead=1e6, num_generations=5))
    crowned = [[record["member"] for record in members if record["crowned"]] for members in generations]
    best = max(generations[0], key=lambda record: record["validation_fitness"])
    assert crowned == [[best["member"]]] + [[MEMBERS - 1]] * 4


def test_where_nothing_is_let_pass_the_heir_must_be_the_best_of_all_that_contended(tmp_path: Path) -> None:
    folder = run(tmp_path, crown_lead=0.0, num_generations=5, worst_slices=3)
    generations = by_generation(folder)
    reached = [max(record["validation_fitness"] for record in generations[0])]
    reached += [members[-1]["validation_fitness"] for members in generations[1:]]
    assert champion_of(generations)["validation_fitness"] == max(reached)
    assert [row["validation/best_ever"] for row in rows_of(folder)] == np.maximum.accumulate(reached).tolist()


def test_only_a_clear_lead_makes_a_new_champion(tmp_path: Path) -> None:
    family = family_of(run(tmp_path, crown_lead=1e6, num_generations=5, crossover_steps=0))
    assert [(record["generation"], record["crowned"]) for record in family if record["crowned"]] == [(0, True)]
    first, *later = (max(r["validation_fitness"] for r in family[n : n + MEMBERS]) for n in range(0, 20, MEMBERS))
    assert max(later) > first


def test_the_champion_is_the_genome_that_was_crowned_last(whole: RunFolder) -> None:
    best = champion_of(by_generation(whole))
    assert rows_of(whole)[-1]["validation/champion"] == best["validation_fitness"]
    saved = Archive(whole.checkpoints, keep=10).load(GENERATIONS).parts["champion"]
    assert_identical(load_genome(whole.champion), genome_of(saved))


def test_the_champion_has_the_weights_it_played_with(tmp_path: Path) -> None:
    """And not those that it learned from what it played."""
    runs = (run(tmp_path / str(seed), num_generations=3, seed=seed) for seed in range(20))
    folder, best = next((one, best) for one in runs if (best := champion_of(by_generation(one)))["generation"] > 0)
    # the checkpoint after a generation has the members as they go into the next
    parts = Archive(folder.checkpoints, keep=10).load(best["generation"]).parts
    assert_identical(load_genome(folder.champion), genome_of(parts[f"member_{best['member']:04d}"]))


# --- metrics ------------------------------------------------------------------------------------------------------

NAMES = {
    "fitness": ["mean", "max", "min", "std", "best_ever"],
    "validation": [
        "fitness",
        "best_ever",
        "champion",
        "total_return",
        "sharpe_ratio",
        "max_drawdown",
        "win_rate",
        "avg_trade_duration",
        "num_trades",
    ],
    "train": ["actor_loss", "critic_loss", "q_mean", "grad_norm"],
    "buffer": ["size", "utilization"],
    "evolution": ["mutation_rate", "mutation_std", "plateau", "diversity"],
    "importance": ["entropy", "top"],
    "time": ["generation", "play", "train", "evolve", "checkpoint"],
}


def test_a_generations_row_has_every_metric(whole: RunFolder) -> None:
    for row in rows_of(whole):
        assert row.keys() == {"generation", *(f"{group}/{name}" for group, names in NAMES.items() for name in names)}
        assert all(math.isfinite(value) for name, value in row.items() if name != "importance/top")


def test_fitness_figures_are_those_of_the_lineage(whole: RunFolder) -> None:
    best = -math.inf
    for generation, (row, members) in enumerate(zip(rows_of(whole), by_generation(whole), strict=True)):
        fitness = [record["fitness"] for record in members]
        best = max(best, *fitness)
        assert (row["fitness/max"], row["fitness/min"], row["fitness/best_ever"]) == (max(fitness), min(fitness), best)
        assert row["fitness/mean"] == pytest.approx(sum(fitness) / MEMBERS)
        contenders = members if generation == 0 else members[-1:]
        assert row["validation/fitness"] == max(record["validation_fitness"] for record in contenders)


def test_the_buffer_fills_and_says_so(whole: RunFolder) -> None:
    a_generation = MEMBERS * SMALL["training_slices"] * SMALL["trading_days"]
    sizes = [row["buffer/size"] for row in rows_of(whole)]
    assert sizes == [min((generation + 1) * a_generation, SMALL["buffer_size"]) for generation in range(GENERATIONS)]
    assert [row["buffer/utilization"] for row in rows_of(whole)] == [size / SMALL["buffer_size"] for size in sizes]


# --- at the edges -------------------------------------------------------------------------------------------------


def test_a_population_of_one_trains(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", population_size=1)
    assert [record["operator"] for record in family_of(folder)] == ["init", "keep", "keep"]
    # one member plays 60 days a generation, and learns once 100 are there
    assert ["train/critic_loss" in row for row in rows_of(folder)] == [False, True, True]
    assert all(row["evolution/diversity"] == 0 for row in rows_of(folder))


def test_evolution_alone_trains(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", gradient_steps_per_generation=0)
    assert not any(name.startswith("train/") for row in rows_of(folder) for name in row)
    state = Archive(folder.checkpoints, keep=10).load(3).parts["member_0000"]
    assert not any("adam" in name for name in state)


def test_the_listener_hears_each_phase_of_each_generation(tmp_path: Path) -> None:
    listener, config = Silent(), small_config(num_generations=2)
    tell(config, listener, tmp_path)
    heard = {(generation, name) for generation, name, _, _ in listener.phases}
    phases = ("play", "train", "judge", "breed", "checkpoint")
    assert heard == {(0, "start"), *((generation, name) for generation in (0, 1) for name in phases)}
    assert [row["generation"] for row in listener.rows] == [0, 1]


def tell(config: Config, listener: Silent, path: Path) -> None:
    trainer = Trainer(config, MARKET, RunFolder(path), LocalRuntime(), Share, listener)
    trainer.start()
    trainer.run()


def test_a_listener_that_stops_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """The row comes before the checkpoint, so no checkpoint claims a generation whose row was lost."""

    class Stopping(Silent):
        def generation(self, row: Any, lineage: Any, candidates: Any) -> None:
            if row["generation"] == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tell(small_config(), Stopping(), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["gen_000001"]
