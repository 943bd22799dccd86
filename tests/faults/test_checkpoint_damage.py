"""A checkpoint survives a crash at every step of its writing, and says so when it is damaged."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eigen2.errors import RunError
from eigen2.training.checkpoint import (
    Archive,
    fingerprint,
    generations_saved,
    load_genome,
    rewind,
)
from tests.faults.checkpoints import FILES, assert_whole, make_archive, parts_of, save
from tests.faults.disk import Disk
from tests.training.small import assert_identical, small_config

TRUNCATIONS = 34  # of each file
FLIPS = 60  # over all files, and one in each byte of the manifest
OTHER = 99  # the number of a checkpoint written in place of another


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The checkpoint after 3 generations."""
    return tmp_path / "checkpoints" / save(make_archive(tmp_path), 3)


# --- a crash ----------------------------------------------------------------------------------------------------------


def first_save(root: Path) -> None:
    save(make_archive(root), 1)


def next_save_with_pruning(root: Path) -> None:
    save(make_archive(root, keep=1), 4, champion=4)


def save_again(root: Path) -> None:
    save(make_archive(root), 3, OTHER)


def rewound(root: Path) -> None:
    rewind(root / "checkpoints", 1)


def nothing(root: Path) -> None:
    pass


def three_saves(root: Path) -> None:
    for generation in (1, 2, 3):
        save(make_archive(root), generation, champion=1)


def after_a_crash(root: Path) -> None:
    """Three checkpoints, and in the place of the third only what was there before it."""
    three_saves(root)
    third = root / "checkpoints" / "gen_000003"
    third.rename(third.with_name(".gen_000003.old"))
    shutil.copytree(third.with_name("gen_000002"), third.with_name(".gen_000003.partial"))


CASES = {
    "the first": (nothing, first_save, [0, 1], {1: {1}}),
    "the next": (three_saves, next_save_with_pruning, [3, 4], {n: {n} for n in (1, 2, 3, 4)}),
    "again": (three_saves, save_again, [3], {1: {1}, 2: {2}, 3: {3, OTHER}}),
    "after a crash": (after_a_crash, save_again, [3], {1: {1}, 2: {2}, 3: {3, OTHER}}),
    "back": (three_saves, rewound, [3, 2, 1], {1: {1}, 2: {2}, 3: {3}}),
}


def die_at_every_step(
    tmp_path: Path, before: Callable[[Path], None], act: Callable[[Path], None], examine: Callable[[Path], None]
) -> int:
    """Act with a crash and a loss of power before each step in turn; returns the number of steps."""
    before(tmp_path / "template")
    (tmp_path / "template").mkdir(exist_ok=True)
    for dies_at in range(1, 1000):
        root = Path(shutil.copytree(tmp_path / "template", tmp_path / str(dies_at)))
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = Disk(monkeypatch, dies_at)
            try:
                act(root)
                return dies_at - 1
            except SystemExit:
                pass
        disk.lose_power(root)
        examine(root)
        shutil.rmtree(root)
    raise AssertionError("no end of steps")


@pytest.mark.parametrize("case", CASES)
def test_a_crash_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, case: str) -> None:
    before, act, newest, numbers = CASES[case]

    def examine(root: Path) -> None:
        saved = generations_saved(root / "checkpoints")
        assert (saved or [0])[-1] in newest
        for generation in saved:
            assert_whole(make_archive(root).load(generation), generation, numbers[generation])
        save(make_archive(root, keep=1), 5, champion=5)
        assert [path.name for path in (root / "checkpoints").iterdir()] == ["gen_000005"]
        assert_whole(make_archive(root).load(5), 5, {5})

    assert die_at_every_step(tmp_path, before, act, examine) >= 6


def test_a_crash_at_any_step_leaves_the_old_genome_or_the_new(tmp_path: Path) -> None:
    old, new = parts_of(1)[0], parts_of(2)[0]

    def before(root: Path) -> None:
        root.mkdir()
        make_archive(root).save_genome(root / "champion.safetensors", old)

    def act(root: Path) -> None:
        make_archive(root).save_genome(root / "champion.safetensors", new)

    def examine(root: Path) -> None:
        found = load_genome(root / "champion.safetensors")
        assert_identical(found, old if found["bias"][0] == old["bias"][0] else new)

    assert die_at_every_step(tmp_path, before, act, examine) >= 4


def test_the_shim_loses_what_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The crash tests could not fail if the shim saw nothing."""
    monkeypatch.setattr("eigen2.training.checkpoint.write_synced", lambda path, content: path.write_bytes(content))
    with pytest.MonkeyPatch.context() as inner:
        disk = Disk(inner)
        first_save(tmp_path)
    assert disk.steps > 10
    disk.lose_power(tmp_path)
    with pytest.raises(RunError, match="can't be understood"):
        make_archive(tmp_path).load(1)


# --- damage -----------------------------------------------------------------------------------------------------------


def outcome_of_loading(root: Path) -> str:
    """The error's text; nothing where the content is what was saved."""
    try:
        checkpoint = make_archive(root).load(3)
    except RunError as error:
        return str(error)
    assert_whole(checkpoint, 3, {3})
    return ""


@pytest.mark.parametrize("file", FILES)
def test_a_file_cut_anywhere_is_named(tmp_path: Path, folder: Path, file: str) -> None:
    content = (folder / file).read_bytes()
    size = len(content)
    sizes = [0, 1, size // 2, size - 1, *random.Random(file).choices(range(size), k=TRUNCATIONS - 4)]
    for cut in sizes:
        (folder / file).write_bytes(content[:cut])
        with pytest.raises(RunError, match=file):
            make_archive(tmp_path).load(3)


def test_a_flipped_bit_is_named(tmp_path: Path, folder: Path) -> None:
    rng = random.Random(0)
    places = [(file, place) for file in FILES for place in range((folder / file).stat().st_size)]
    manifest = [(file, place) for file, place in places if file == "manifest.json"]
    for file, place in rng.sample(places, FLIPS) + manifest:
        content = (folder / file).read_bytes()
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        (folder / file).write_bytes(flipped)
        told = outcome_of_loading(tmp_path)
        # in the manifest a space may become another one, and a version another version
        assert "gen_000003" in told or not told if file == "manifest.json" else f"{file} is damaged" in told
        (folder / file).write_bytes(content)
    assert_whole(make_archive(tmp_path).load(3), 3, {3})


@pytest.mark.parametrize("file", FILES[:-1])
def test_a_missing_file_is_named(tmp_path: Path, folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(RunError, match=f"checkpoint file .*{file} can't be read: No such file"):
        make_archive(tmp_path).load(3)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_regular_files_are_read(tmp_path: Path, folder: Path, file: str, kind: str) -> None:
    """A link may lead out of the folder, a pipe may never end; even where the content would be right."""
    (folder / file).rename(tmp_path / file)
    match kind:
        case "link":
            (folder / file).symlink_to(tmp_path / file)
        case "pipe":
            os.mkfifo(folder / file)
        case "folder":
            (folder / file).mkdir()
    with pytest.raises(RunError, match=r"gen_000003.* can't be read: not a regular file"):
        make_archive(tmp_path).load(3)


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/outside.safetensors", "in/side.safetensors", "..", "a\0.json"]
)
def test_a_manifest_never_leads_out_of_its_folder(tmp_path: Path, folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="is not a file of its folder"):
        make_archive(tmp_path).load(3)


def test_a_manifest_that_lost_a_file_is_named(tmp_path: Path, folder: Path) -> None:
    """One flipped bit can make two names the same; the state would come back without a member."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["replay.safetensors"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"manifest\.json is damaged"):
        make_archive(tmp_path).load(3)


# --- another config, another version ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "other", "found"),
    [("config", "another config", "a"), ("market", "other data", "b"), ("code", "other code", "c")],
)
def test_a_run_made_of_something_else_is_refused_naming_both(
    tmp_path: Path, folder: Path, part: str, other: str, found: str
) -> None:
    with pytest.raises(RunError, match=rf"gen_000003 was written with {other}: .*'{found}{{64}}'.*'d{{64}}'"):
        make_archive(tmp_path, **{part: "d" * 64}).load(3)


def test_another_version_is_refused_naming_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("eigen2.training.checkpoint.__version__", "0.0.7")
        save(make_archive(tmp_path), 3)
    with pytest.raises(RunError, match=r"gen_000003 was written by eigen2 0\.0\.7, this is eigen2 \d"):
        make_archive(tmp_path).load(3)


def test_an_archive_without_a_fingerprint_reads_any(tmp_path: Path, folder: Path) -> None:
    assert_whole(Archive(tmp_path / "checkpoints", 3).load(3), 3, {3})


@pytest.mark.parametrize("changed", [{"seed": 1}, {"actor_lr": 0.5}, {"cost_bps": 6.0}, {"population_size": 5}])
def test_a_fingerprint_changes_with_what_decides_the_numbers(changed: dict[str, float]) -> None:
    assert fingerprint(small_config(**changed)) != fingerprint(small_config())


@pytest.mark.parametrize(
    "changed",
    [{"name": "other"}, {"runs_dir": "x"}, {"num_generations": 9}, {"num_cpus": 1}, {"keep": 1}, {"source": "x.csv"}],
)
def test_a_fingerprint_stays_with_what_does_not(changed: dict[str, float]) -> None:
    assert fingerprint(small_config(**changed)) == fingerprint(small_config())


# --- which are kept ---------------------------------------------------------------------------------------------------


def test_the_champions_checkpoint_is_kept_as_long_as_it_is_the_champion(tmp_path: Path) -> None:
    kept = {}
    for generation, champion in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 5), (6, 5), (7, 5)]:
        save(make_archive(tmp_path, keep=2), generation, champion=champion)
        kept[generation] = generations_saved(tmp_path / "checkpoints")
    assert kept[4] == [1, 3, 4]
    assert kept[5] == [4, 5]
    assert kept[7] == [5, 6, 7]


def test_a_checkpoint_just_written_is_never_removed(tmp_path: Path) -> None:
    """A run that goes on from an old checkpoint writes before the newest."""
    for generation in (4, 5, 3):
        save(make_archive(tmp_path, keep=2), generation)
    assert generations_saved(tmp_path / "checkpoints") == [3, 4, 5]


def test_going_back_removes_what_came_after(tmp_path: Path) -> None:
    three_saves(tmp_path)
    rewind(tmp_path / "checkpoints", 2)
    assert generations_saved(tmp_path / "checkpoints") == [1, 2]
    rewind(tmp_path / "nowhere", 2)
