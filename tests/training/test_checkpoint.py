"""A checkpoint is complete or absent, and damage is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eigen2.errors import RunError
from eigen2.training.checkpoint import Archive, Arrays, generations_saved, load_genome
from tests.training.small import assert_identical

PROGRESS: dict[str, Any] = {"generation": 3, "best": None, "strength": {"rate": 0.2}, "origins": [{"parents": [[0]]}]}
MEMBER: Arrays = {
    "online/weight": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32),
    "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "adam/step": np.array(7.0, dtype=np.float32),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "not finite": np.array([np.nan, np.inf, -0.0]),
}
REPLAY: Arrays = {
    "added": np.array(12),
    "day": np.arange(4, dtype=np.int32),
    "stock": np.array([-1, 0, 1, 2], dtype=np.int16),
    "done": np.array([False, True, False, True]),
}
FILES = ("member_0000.safetensors", "replay.safetensors", "progress.json", "manifest.json")


def make_archive(folder: Path, keep: int = 10) -> Archive:
    return Archive(folder / "checkpoints", keep)


def save(archive: Archive, generation: int = 3) -> str:
    return archive.save(generation, PROGRESS, ["member_0000", "replay"], MEMBER, REPLAY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint after 3 generations."""
    return tmp_path / "checkpoints" / save(make_archive(tmp_path))


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path, folder: Path) -> None:
    checkpoint = make_archive(tmp_path).load(3)
    assert checkpoint.progress == PROGRESS
    assert set(checkpoint.parts) == {"member_0000", "replay"}
    assert_identical(checkpoint.parts["member_0000"], MEMBER)
    assert_identical(checkpoint.parts["replay"], REPLAY)


def test_the_same_state_is_saved_as_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / name / "checkpoints" / save(make_archive(tmp_path / name)) for name in "ab"]
    for file in FILES:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_a_checkpoint_holds_nothing_that_runs_code(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=st.sampled_from(FILES), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_named_or_changes_nothing(
    tmp_path: Path, folder: Path, file: str, place: int, bit: int
) -> None:
    whole = (folder / file).read_bytes()
    content = bytearray(whole)
    content[place % len(content)] ^= 1 << bit
    (folder / file).write_bytes(content)
    try:
        checkpoint = make_archive(tmp_path).load(3)
    except RunError as error:
        assert str(folder) in str(error)  # noqa: PT017 - damage within white space of the manifest does no harm
        return
    finally:
        (folder / file).write_bytes(whole)
    assert file == "manifest.json"
    assert checkpoint.progress == PROGRESS
    assert set(checkpoint.parts) == {"member_0000", "replay"}


@pytest.mark.parametrize("file", FILES[:3])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "longer", "swapped", "emptied", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, folder: Path, file: str, damage: str) -> None:
    path = folder / file
    content = path.read_bytes()
    damaged = {
        "flipped": content[:-1] + bytes([content[-1] ^ 1]),
        "truncated": content[:-1],
        "longer": content + b"\0",
        "swapped": (folder / FILES[(FILES.index(file) + 1) % 3]).read_bytes(),
        "emptied": b"",
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    with pytest.raises(RunError, match=rf"checkpoint file .*{file} (is damaged|can't be read)"):
        make_archive(tmp_path).load(3)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "files": []}', "\x00"])
def test_a_manifest_that_says_nothing_is_named(tmp_path: Path, folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(RunError, match=r"gen_000003 is damaged: manifest\.json can't be understood"):
        make_archive(tmp_path).load(3)


def changed_manifest(folder: Path, **changed: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_another_format_is_named(tmp_path: Path, folder: Path) -> None:
    changed_manifest(folder, format=99)
    with pytest.raises(RunError, match="has format 99, this version reads format 2"):
        make_archive(tmp_path).load(3)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname", "inner/file.safetensors", "..", ""])
def test_a_manifest_never_leads_out_of_its_folder(tmp_path: Path, folder: Path, name: str) -> None:
    (folder.parent / "outside.safetensors").write_bytes(b"secret")
    changed_manifest(folder, files={name: "0" * 64})
    with pytest.raises(RunError, match=r"is not a file of its folder|can't be read"):
        make_archive(tmp_path).load(3)


def test_a_checkpoint_that_was_never_made_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(RunError, match=r"gen_000004 can't be read"):
        make_archive(tmp_path).load(4)


def test_a_checkpoint_without_its_manifest_is_none(tmp_path: Path, folder: Path) -> None:
    save(make_archive(tmp_path), 4)
    (folder / "manifest.json").unlink()
    assert generations_saved(folder.parent) == [4]


@pytest.mark.parametrize("name", [".gen_000009.partial", "gen_000009.bak", "gen_9", "gen_9 copy", "other"])
def test_only_folders_of_generations_are_checkpoints(folder: Path, name: str) -> None:
    shutil.copytree(folder, folder.parent / name)
    assert generations_saved(folder.parent) == [3]


def test_generations_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    for generation in (2_000_000, 10, 9):
        save(archive, generation)
    assert generations_saved(tmp_path / "checkpoints") == [9, 10, 2_000_000]
    assert generations_saved(tmp_path / "nowhere") == []


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, keep=2)
    for generation in range(1, 6):
        save(archive, generation)
    assert generations_saved(tmp_path / "checkpoints") == [4, 5]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["gen_000004", "gen_000005"]


def test_what_a_crash_left_is_written_over(tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / ".gen_000003.partial"
    left.mkdir(parents=True)
    (left / "member_0000.safetensors").write_bytes(b"half")
    (left / "stray").write_bytes(b"x")
    save(make_archive(tmp_path))
    assert not left.exists()
    assert sorted(path.name for path in (tmp_path / "checkpoints" / "gen_000003").iterdir()) == sorted(FILES)


def test_a_generation_saved_again_is_replaced(tmp_path: Path, folder: Path) -> None:
    make_archive(tmp_path).save(3, {"generation": 3}, ["replay"], REPLAY)
    assert set(make_archive(tmp_path).load(3).parts) == {"replay"}


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(RunError, match=r"checkpoint .*gen_000003 can't be written: "):
        save(make_archive(tmp_path))


def test_a_genome_on_its_own_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "champion.safetensors"
    make_archive(tmp_path).save_genome(path, MEMBER)
    assert_identical(load_genome(path), MEMBER)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [None, b"", b"not a genome", b"\xff" * 64])
def test_a_genome_that_can_not_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "champion.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"champion\.safetensors (can't be read|is not a safetensors file)"):
        load_genome(path)
