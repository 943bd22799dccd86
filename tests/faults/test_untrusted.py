"""Whatever a config or a run folder holds, nothing of it is executed, and what is wrong with it is said cleanly."""

import hashlib
import json
import pickle
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as dump_arrays

from eigen2.__main__ import main
from eigen2.config import Config, dump_config, load_config
from eigen2.errors import Eigen2Error
from eigen2.tracking.jsonl import JsonLines, read_rows
from eigen2.training.checkpoint import Archive, load_genome
from eigen2.training.resume import Resume
from eigen2.training.run_folder import RunFolder
from tests.faults.checkpoints import MADE_OF, assert_whole, make_archive, parts_of, save
from tests.training.small import assert_identical, small_config

EXAMPLES = 200  # inputs of each property
PROPERTIES = 7
INPUTS_TRIED = EXAMPLES * PROPERTIES
hard = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def signed(genome: dict[str, Any]) -> bytes:
    """A genome's file, with its checksum."""
    return dump_arrays(genome, {"sha256": _digest(dump_arrays(genome))})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CONFIG = dump_config(Config()).encode()
ROWS = b'{"generation": 0, "fitness/mean": 1.5}\n{"generation": 1, "fitness/mean": null}\n'
GENOME = signed(parts_of(1)[0])

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(sorted({*Config.model_fields, "seed", "tau", "ddpg.tau", "source", "storage", "keep", "name"}))
configs = st.dictionaries(names | st.text(max_size=6), trees, max_size=4).map(
    lambda tree: yaml.safe_dump(tree).encode()
)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """A file with some bytes changed, cut out, put in or torn off; or any other."""
    place = st.integers(0, len(content))
    edit = st.tuples(place, place, st.binary(max_size=6))
    edited = st.lists(edit, min_size=1, max_size=3).map(lambda edits: _edited(content, edits))
    return edited | st.binary(max_size=60)


def _edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for start, length, put in edits:
        content = content[:start] + put + content[start + length % 9 :]
    return content


def refused(act: Callable[[], object]) -> bool:
    """Whether it says cleanly what is wrong: any other exception ends the test. And it says something."""
    try:
        act()
    except Eigen2Error as error:
        assert str(error).strip()  # noqa: PT017 - of an error that need not come
        return True
    return False


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a checkpoint."""
    root = tmp_path_factory.mktemp("pristine")
    return {path.name: path.read_bytes() for path in (root / "checkpoints" / save(make_archive(root), 3)).iterdir()}


def laid_out(root: Path, files: dict[str, bytes]) -> Path:
    folder = root / "checkpoints" / "gen_000003"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


# --- damage of any kind -----------------------------------------------------------------------------------------------


@hard
@given(damaged(CONFIG))
@example(b"\xff\xfe\x00")
@example(b"a: &a [*a]")
@example(b"{" * 5000)
@example(b"[" * 5000)
@example(b"? [a]\n: b\n")
@example(b"ddpg: {? {a: b} : c}")
@example(b"run: {seed: " + b"9" * 5000 + b"}")
@example(b"run: {seed: 0x" + b"f" * 5000 + b"}")
@example(b"run: 0x" + b"f" * 5000)
@example(b"0x" + b"f" * 5000 + b": 1")
@example(b"run: {0x" + b"f" * 5000 + b": 1}")
@example(b"2020-99-99: 1")
@example(b"run: {name: 2020-13-45}")
@example(b"run: {name: !!int x}")
@example(b"run: {name: !!float x}")
@example(b"run: {name: !!timestamp x}")
@example(b"run: {name: !!binary \xc3\xa9}")
@example(b"run: {name: !!bool x}")
@example(b"run: &a\n  seed: *a\n")
@example(b"run: &a {seed: 1, <<: *a}")
def test_a_damaged_config(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    refused(lambda: load_config(path))


@hard
@given(configs)
def test_a_config_of_any_values(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    refused(lambda: load_config(path))


@hard
@given(names | st.text(max_size=6), st.text(max_size=12))
@example("seed", "[" * 5000)
@example("seed", "!!int x")
@example("seed", "2020-13-45")
@example("seed", "!!python/object/apply:os.system [ls]")
@example("name", "{? [a] : b}")
def test_an_override_of_any_text(name: str, text: str) -> None:
    refused(lambda: load_config(None, [f"{name}={text}"]))


@hard
@given(damaged(ROWS))
@example(b"[" * 5000)
@example(b'{"generation": ' + b"9" * 5000 + b"}\n")
@example(b'{"generation": 0, "x": ' + b"[" * 900 + b"]" * 900 + b"}\n")
@example(b'{"generation": true}\n')
@example(b'{"generation": 0, "name": "\\ud800"}\n')
@example(b'{"generation": 0, "name": "\xff"}\n')
@example(b'{"generation": -1}\n')
def test_damaged_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    if not refused(lambda: read_rows(path)):
        assert not refused(lambda: JsonLines(path, keep_generations=1))
        assert all(row["generation"] < 1 for row in read_rows(path))


@hard
@given(damaged(GENOME))
@example(dump_arrays({}))
@example(dump_arrays(parts_of(1)[0]))
@example(b"\x02\0\0\0\0\0\0\0{}")
@example(b"\xff" * 8)
def test_a_damaged_genome(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "champion.safetensors"
    path.write_bytes(content)
    if not refused(lambda: load_genome(path)):
        assert_identical(load_genome(path), parts_of(1)[0])


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F4", "C64", "F64", "BOOL", "X", 7])
def test_a_genome_of_any_type(tmp_path: Path, dtype: object) -> None:
    header = json.dumps({"a": {"dtype": dtype, "shape": [2], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "champion.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    refused(lambda: load_genome(path))


@hard
@given(st.data())
def test_a_damaged_checkpoint(tmp_path: Path, pristine: dict[str, bytes], data: st.DataObject) -> None:
    folder = laid_out(tmp_path, pristine)
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    if not refused(lambda: make_archive(tmp_path).load(3)):
        assert_whole(make_archive(tmp_path).load(3), 3, {3})


@hard
@given(trees, trees)
def test_a_checkpoint_made_up_with_right_checksums(
    tmp_path: Path, pristine: dict[str, bytes], tree: Any, version: Any
) -> None:
    """Checksums protect against accidents, not against malice."""
    folder = laid_out(tmp_path, pristine)
    progress = json.dumps(tree, default=str).encode()
    (folder / "progress.json").write_bytes(progress)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["files"]["progress.json"] = _digest(progress)
    if version:
        manifest["eigen2"] = json.loads(json.dumps(version, default=str))
    (folder / "manifest.json").write_text(json.dumps({**manifest, "sha256": _digest_of(manifest)}))
    if not refused(lambda: make_archive(tmp_path).load(3)):
        assert isinstance(make_archive(tmp_path).load(3).progress, dict)


def _digest_of(manifest: dict[str, Any]) -> str:
    return _digest(json.dumps(manifest, sort_keys=True).encode())


@pytest.mark.parametrize("file", ["manifest.json", "progress.json"])
def test_json_without_end_is_refused(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "checkpoints" / save(make_archive(tmp_path), 3)
    deep = [b'{"format": 1, "files": {}, "x": ' + b"[" * depth + b"]" * depth + b"}" for depth in range(800, 1000, 10)]
    for content in (
        *deep,
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"9" * 5000,
        b'{"format": 1, "files": {}, "x": ' + b"[" * 950,
    ):
        (folder / file).write_bytes(content)
        assert refused(lambda: make_archive(tmp_path).load(3))


@pytest.mark.parametrize("content", [b"\xff", b"", b"x" * 10_000, b"../../other", b"a b\n", None])
def test_a_run_id_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    folder = RunFolder(tmp_path)
    if content is not None:
        folder.id.write_bytes(content)
    assert refused(folder.identity)


@pytest.mark.parametrize("name", ["config.yaml", "run_id", "metrics.jsonl", "champion.safetensors", "checkpoints"])
def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_bytes(CONFIG)
    path = run / name
    path.unlink(missing_ok=True)
    if name == "checkpoints":
        path.write_text("a file")
    else:
        path.mkdir()
    folder = RunFolder(run)
    found = [
        refused(act)
        for act in (
            lambda: Resume.find(str(run)),
            folder.identity,
            lambda: read_rows(folder.metrics),
            lambda: load_genome(folder.champion),
            lambda: Archive(folder.checkpoints, 3, MADE_OF).load(1),
        )
    ]
    assert any(found)


# --- nothing is executed ----------------------------------------------------------------------------------------------


class Payload:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "executed"


def test_the_payload_works(mark: Path) -> None:
    """The tests below could not fail if it did not."""
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()


@pytest.mark.parametrize("tag", ["object/apply", "object/new", "object"])
def test_yaml_runs_nothing(tmp_path: Path, mark: Path, tag: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"run: !!python/{tag}:os.mkdir ['{mark}']\n")
    assert refused(lambda: load_config(path))
    assert refused(lambda: RunFolder.open(tmp_path))
    assert refused(lambda: load_config(None, [f"seed=!!python/{tag}:os.mkdir ['{mark}']"]))
    assert not mark.exists()


def pickles_of(payload: Payload) -> list[bytes]:
    array = np.array([payload], dtype=object)
    return [pickle.dumps(payload, protocol) for protocol in range(6)] + [array.dumps()]


def test_a_pickle_in_place_of_weights_runs_nothing(tmp_path: Path, mark: Path) -> None:
    folder = tmp_path / "checkpoints" / save(make_archive(tmp_path), 3)
    champion = tmp_path / "champion.safetensors"
    for content in pickles_of(Payload(mark)):
        champion.write_bytes(content)
        assert refused(lambda: load_genome(champion))
        (folder / "member_0000.safetensors").write_bytes(content)
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["sha256"]
        manifest["files"]["member_0000.safetensors"] = _digest(content)
        (folder / "manifest.json").write_text(json.dumps({**manifest, "sha256": _digest_of(manifest)}))
        assert refused(lambda: make_archive(tmp_path).load(3))
    assert not mark.exists()


def test_names_of_arrays_are_only_names(tmp_path: Path) -> None:
    rng = random.Random(0)
    for name in ("../../outside", "/outside", "\0", "__class__", str(rng.random())):
        path = tmp_path / "champion.safetensors"
        path.write_bytes(signed({name: np.zeros(2)}))
        assert list(load_genome(path)) == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["champion.safetensors"]


# --- a folder of somebody else's --------------------------------------------------------------------------------------


COMMANDS = {
    "resume": ["train", "--resume", "RUN"],
    "evaluate": ["evaluate", "RUN"],
    "report": ["report", "RUN"],
    "seeds": ["evaluate", "RUN", "--seeds", "2"],
    "walk-forward": ["evaluate", "RUN", "--walk-forward", "2"],
}
TRAINING = ("resume", "seeds", "walk-forward")


def foreign(place: Path, **hostile: Any) -> Path:
    """A run folder that came from elsewhere, with a champion of sorts."""
    run = place / "runs" / "theirs"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(dump_config(small_config(**hostile)), encoding="utf-8")
    (run / "run_id").write_text("theirs")
    (run / "champion.safetensors").write_bytes(GENOME)
    (run / "metrics.jsonl").write_bytes(ROWS)
    return run


def command(name: str, run: Path, *options: str) -> int:
    return main([*(str(run) if word == "RUN" else word for word in COMMANDS[name]), *options])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_folders_pickle_is_not_read(
    tmp_path: Path, mark: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "market.pkl"
    source.write_bytes(pickle.dumps(Payload(mark)))
    run = foreign(tmp_path, source=str(source), allow_pickle=True)
    assert command(name, run) != 0
    assert "pickle" in capsys.readouterr().err
    assert not mark.exists()
    command(name, run, "--trust")
    assert mark.exists(), "the test could not fail if the flag did not let it"


@pytest.mark.parametrize("name", TRAINING)
def test_a_run_folders_cluster_is_not_joined(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        theirs.settimeout(0)
        run = foreign(tmp_path, address=f"127.0.0.1:{theirs.getsockname()[1]}")
        assert command(name, run) == 2
        error = capsys.readouterr().err
        assert "its config sets resources.address" in error
        assert "--address ADDRESS" in error
        with pytest.raises(BlockingIOError):
            theirs.accept()


@pytest.mark.parametrize("name", TRAINING)
def test_a_run_folders_storage_and_account_are_not_used(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    hostile = {"checkpoint.storage": theirs.as_uri(), "tracking.wandb_entity": "them", "tracking.wandb_mode": "online"}
    for field, value in hostile.items():
        run = foreign(tmp_path / field, **{field: value})
        assert command(name, run) == 2
        assert f"its config sets {field}" in capsys.readouterr().err
    assert not theirs.exists()


@pytest.mark.parametrize("place", ["wandb", ".wandb"])
def test_a_run_folder_does_not_tell_w_and_b_where_to_go(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """W&B reads its settings from the working directory, which may be the run folder."""
    run = foreign(tmp_path)
    (run / place).mkdir()
    (run / place / "settings").write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    monkeypatch.chdir(run)
    assert wandb.Settings().read_system_settings().sources, "the test could not fail if W&B did not read it"
    assert main(["train", "--resume", "."]) == 1
    assert "would decide where W&B sends this machine's key" in capsys.readouterr().err


LINKS = [
    "metrics.jsonl", "lineage.jsonl", "candidates.jsonl", "evaluation.json", ".evaluation.json.partial", "results.txt",
    "trades.csv", "equity.csv", "equity.png", "fitness.png", "report.html", "holdout_openings.json", "data_report.txt",
    "champion.safetensors", "provenance.json", "config.yaml", "run_id", ".lock", "checkpoints", "wandb", "other-data",
]  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_a_link_in_a_run_folder_leads_nowhere(tmp_path: Path, link: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = foreign(tmp_path)
    outside = tmp_path / "outside"
    inside = run / link
    if link in ("checkpoints", "wandb", "other-data"):
        outside.mkdir()
    elif inside.exists():
        inside.rename(outside)
    else:
        outside.write_text("precious")
    inside.symlink_to(outside)
    before = outside.read_bytes() if outside.is_file() else list(outside.iterdir())
    for name in ("resume", "evaluate", "report", "seeds"):
        assert command(name, run) == 1
        error = capsys.readouterr().err
        assert f"{link}' is a symbolic link that leads out of {run}; remove it" in error
    assert (outside.read_bytes() if outside.is_file() else list(outside.iterdir())) == before


def test_a_folder_of_runs_may_be_a_link_itself(tmp_path: Path) -> None:
    run = foreign(tmp_path)
    (tmp_path / "elsewhere").symlink_to(run.parent)
    assert RunFolder.open(tmp_path / "elsewhere" / "theirs")[0].path.name == "theirs"
