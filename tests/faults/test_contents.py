"""A checkpoint whose checksums are right, but which holds what no run could have written: it is named, and not used."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as dump_arrays

from eigen2.errors import RunError
from eigen2.learning.genome import genome_of
from eigen2.training.checkpoint import Archive, Checkpoint, load_genome
from eigen2.training.provenance import recorded
from eigen2.training.run_folder import RunFolder
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.trainer import Trainer
from tests.training.small import MARKET, Silent, make_session, run, small_config

DONE = 2  # generations of the run that is resumed
FLIPS = 200
WEIGHT = "online/actor.head.out.bias"
MOMENT = "critic_adam/0/exp_avg"

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint of a run that has learnt."""
    folder = run(tmp_path_factory.mktemp("run"), num_generations=DONE)
    return Archive(folder.checkpoints, keep=10).load(DONE)


def restored(root: Path, checkpoint: Checkpoint) -> None:
    """Save a checkpoint, and take it up."""
    config, folder = small_config(), RunFolder(root)
    archive = Archive(folder.checkpoints, keep=10, made_of=recorded(folder, config, MARKET))
    archive.save(DONE, checkpoint.progress, list(checkpoint.parts), *checkpoint.parts.values())
    trainer = Trainer(config, MARKET, folder, LocalRuntime(), Share, Silent())
    trainer.start()
    trainer.restore(DONE)


def copy_of(saved: Checkpoint) -> Checkpoint:
    parts = {name: {key: value.copy() for key, value in part.items()} for name, part in saved.parts.items()}
    return Checkpoint(parts, json.loads(json.dumps(saved.progress)))


def test_what_was_saved_is_taken_up(tmp_path: Path, saved: Checkpoint) -> None:
    restored(tmp_path, copy_of(saved))


COUNTERS: dict[str, tuple[Change, str]] = {
    "nothing": (dict.clear, r"generation: Field required"),
    "no origins": (lambda p: p.pop("origins"), r"origins: Field required"),
    "a text for a count": (lambda p: p.update(generation="two"), r"generation: Input should be a valid integer"),
    "another generation": (lambda p: p.update(generation=7), r"generation: 7, but the folder's is 2"),
    "a text for a rate": (lambda p: p["strength"].update(rate="high"), r"strength\.rate: Input should be"),
    "a text for a champion": (lambda p: p["best"].update(member="x"), r"best\.member: Input should be"),
    "no member": (lambda p: p["best"].pop("member"), r"best\.member: Field required"),
    "a list for a number": (lambda p: p.update(best_fitness=[1]), r"best_fitness: Input should be"),
    "too few origins": (lambda p: p["origins"].pop(), r"origins: 3, but the run has 4 members"),
    "origins of another kind": (lambda p: p.update(origins=[1, 2, 3, 4]), r"origins\.0: Input should be"),
}


@pytest.mark.parametrize("case", COUNTERS)
def test_counters_that_are_none(tmp_path: Path, saved: Checkpoint, case: str) -> None:
    change, told = COUNTERS[case]
    checkpoint = copy_of(saved)
    change(checkpoint.progress)
    with pytest.raises(RunError, match=rf"^checkpoint .*gen_000002: progress\.json: {told}"):
        restored(tmp_path, checkpoint)


def kept_member(saved: Checkpoint) -> str:
    """A member that was not bred last, so it has its moments."""
    return next(name for name, part in saved.parts.items() if MOMENT in part)


def put(name: str, value: Any) -> Change:
    return lambda arrays: arrays.update({name: value})


def plant(name: str, value: float) -> Change:
    def planted(arrays: Any) -> None:
        arrays[name].flat[0] = value

    return planted


def half_learned(champion: Any) -> None:
    """One moment where there should be all or none."""
    champion["critic_adam/0/step"] = np.zeros((), np.float32)
    champion.pop(MOMENT, None)


ARRAYS: dict[str, tuple[str, Change, str]] = {
    "no weights": ("member", lambda a: a.pop(WEIGHT), rf"array {WEIGHT} is missing"),
    "weights too many": ("member", put("online/x", np.zeros(2)), r"array online/x is none of those needed"),
    "a shape": ("member", put(WEIGHT, np.zeros(7, np.float32)), rf"array {WEIGHT} has shape \(7,\), but"),
    "a type": ("member", lambda a: put(WEIGHT, a[WEIGHT].astype(float))(a), rf"array {WEIGHT} is of type float64"),
    "NaN": ("member", plant(WEIGHT, math.nan), rf"array {WEIGHT} holds NaN or infinity"),
    "infinity": ("member", plant("target/encoder.query", math.inf), r"array target/encoder\.query holds NaN"),
    "a moment's shape": ("member", put(MOMENT, np.zeros(1, np.float32)), rf"array {MOMENT} has shape \(1,\)"),
    "a moment missing": ("member", lambda a: a.pop(MOMENT), rf"array {MOMENT} is missing"),
    "a moment of nothing": ("member", put("critic_adam/999/step", np.zeros(())), r"critic_adam/999/step is none"),
    "no days": ("replay", lambda a: a.pop("day"), r"array day is missing"),
    "days of a type": ("replay", lambda a: put("day", a["day"].astype(float))(a), r"array day is of type float64"),
    "days in a square": ("replay", lambda a: put("day", a["day"].reshape(2, -1))(a), r"array day has shape \(2, "),
    "too few credits": ("replay", lambda a: put("credit", a["credit"][:3])(a), r"array credit has shape \(3,\)"),
    "credits of NaN": ("replay", plant("credit", math.nan), r"array credit holds NaN"),
    "a count that lies": ("replay", put("added", np.array(-5)), r"transitions saved, but -5 expected"),
    "a champion's shape": ("champion", put(WEIGHT, np.zeros(9)), rf"champion: array {WEIGHT} has shape"),
    "a champion of NaN": ("champion", plant("target/encoder.query", math.nan), r"champion: array target/encoder\."),
    "a champion's moment missing": ("champion", half_learned, r"champion: array .*_adam/.* is missing"),
    "no targets of the champion": ("champion", lambda a: a.pop("target/encoder.query"), r"champion: array target/"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_do_not_fit(tmp_path: Path, saved: Checkpoint, case: str) -> None:
    part, change, told = ARRAYS[case]
    checkpoint = copy_of(saved)
    change(checkpoint.parts[kept_member(saved) if part == "member" else part])
    with pytest.raises(RunError, match=rf"^checkpoint .*gen_000002: .*{told}"):
        restored(tmp_path, checkpoint)


@pytest.mark.parametrize("part", ["member_0002", "replay", "champion"])
def test_a_part_that_is_missing(tmp_path: Path, saved: Checkpoint, part: str) -> None:
    checkpoint = copy_of(saved)
    del checkpoint.parts[part]
    with pytest.raises(RunError, match=rf"^checkpoint .*gen_000002: .*{part} is missing"):
        restored(tmp_path, checkpoint)


# --- the champion's own file ------------------------------------------------------------------------------------------


@pytest.fixture
def champion(tmp_path: Path, saved: Checkpoint) -> Path:
    path = tmp_path / "champion.safetensors"
    Archive(tmp_path, keep=1).save_genome(path, genome_of(saved.parts["champion"]))
    return path


def test_a_bit_that_is_flipped_in_the_champion_is_noticed(champion: Path) -> None:
    content, rng = champion.read_bytes(), np.random.default_rng(0)
    for place in rng.choice(8 * len(content), FLIPS, replace=False):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << int(place % 8)
        champion.write_bytes(flipped)
        with pytest.raises(RunError, match=r"champion\.safetensors"):
            load_genome(champion)


def test_a_champion_without_a_checksum_is_refused(champion: Path) -> None:
    champion.write_bytes(dump_arrays(load_genome(champion)))
    with pytest.raises(RunError, match=r"champion\.safetensors is damaged: its SHA-256 differs"):
        load_genome(champion)


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["metrics.jsonl", "lineage.jsonl", "candidates.jsonl"])
@pytest.mark.parametrize("line", ["{", "[]", '{"member": 1}', '{"generation": "one"}', "null", '{"generation": 1'])
def test_a_damaged_line_is_named_when_a_run_goes_on(tmp_path: Path, file: str, line: str) -> None:
    for name in ("metrics.jsonl", "lineage.jsonl", "candidates.jsonl"):
        (tmp_path / name).write_text('{"generation": 0}\n')
    (tmp_path / file).write_text(f'{{"generation": 0}}\n{line}\n{{"generation": 1}}\n')
    with pytest.raises(RunError, match=rf"{file}, line 2: not a row"):
        make_session(small_config(), RunFolder(tmp_path), 1)
