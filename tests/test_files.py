"""Files are written where they seem to lie, whole or not at all, and no spreadsheet takes their text for code."""

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eigen2.errors import RunError
from eigen2.files import (
    csv_cell,
    make_folder,
    open_to_write,
    read_regular,
    require_own_files,
    text_of_cell,
    write_atomically,
    write_csv,
    write_synced,
    writing_into,
)


def append(path: Path, content: bytes) -> None:
    with open_to_write(path, "ab") as file:
        file.write(content)


@pytest.mark.parametrize("write", [write_synced, append])
def test_a_link_is_never_written_through(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    outside, link = tmp_path / "outside", tmp_path / "link"
    outside.write_bytes(b"precious")
    link.symlink_to(outside)
    with pytest.raises(OSError, match="link"):
        write(link, b"overwritten")
    assert outside.read_bytes() == b"precious"


def test_a_file_that_is_replaced_is_not_followed_and_neither_is_its_part(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside", tmp_path / "evaluation.json"
    outside.write_bytes(b"precious")
    path.symlink_to(outside)
    write_atomically(path, b"new")
    assert (outside.read_bytes(), path.read_bytes(), path.is_symlink()) == (b"precious", b"new", False)
    (tmp_path / ".evaluation.json.partial").symlink_to(outside)
    with pytest.raises(OSError, match="link"):
        write_atomically(path, b"newer")
    assert (outside.read_bytes(), path.read_bytes()) == (b"precious", b"new")


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_a_pipe_holds_up_nothing(tmp_path: Path, mode: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        open_to_write(tmp_path / "pipe", mode)


def test_a_folder_is_made_unless_a_link_has_its_name(tmp_path: Path) -> None:
    make_folder(tmp_path / "run" / "checkpoints")
    make_folder(tmp_path / "run" / "checkpoints")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(OSError, match="symbolic link"):
        make_folder(tmp_path / "link")


@pytest.mark.parametrize("place", ["metrics.jsonl", "checkpoints", "wandb/latest-run"])
@pytest.mark.parametrize("target", ["../outside", "../../outside", "/etc", "nowhere/../../outside"])
def test_a_link_that_leads_out_of_a_folder_is_named(tmp_path: Path, place: str, target: str) -> None:
    run = tmp_path / "run"
    (run / "wandb" / "run-1").mkdir(parents=True)
    (run / "wandb" / "latest").symlink_to("run-1")  # as W&B does
    require_own_files(run)
    (run / place).symlink_to(target)
    if os.path.realpath(run / place).startswith(str(run)):
        require_own_files(run)  # ../outside, from within wandb
    else:
        with pytest.raises(RunError, match=rf"run/{place}' is a symbolic link that leads out of .*run; remove it"):
            require_own_files(run)


def test_a_pipe_in_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "metrics.jsonl")
    with pytest.raises(RunError, match=r"metrics\.jsonl' is a pipe, a socket or a device"):
        require_own_files(tmp_path / "run")


def test_a_link_to_itself_and_a_folder_that_is_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("runs")
    require_own_files(tmp_path / "link")


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "\uff1d1"]


@pytest.mark.parametrize("text", [*FORMULAS, "AAPL", "^GSPC", "BRK-B", ""])
def test_no_cell_is_a_formula_and_its_text_comes_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trades.csv"
    write_csv(path, [{"stock": text, "gain_pct": -1.5, text or "x": 1}])
    with path.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["gain_pct"] == "-1.5"
    assert text_of_cell(row["stock"]) == text
    assert row["stock"] == (f"'{text}" if text in FORMULAS else text)
    assert csv_cell(text or "x") in row


def test_no_rows_are_an_empty_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "trades.csv", [])
    assert (tmp_path / "trades.csv").read_bytes() == b""


def test_the_link_that_w_and_b_makes_to_its_own_log_is_no_way_out(tmp_path: Path) -> None:
    logs = tmp_path / "run" / "wandb" / "run-20260101_000000-abc" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path / "home.log")
    require_own_files(tmp_path / "run")
    (logs / "debug.log").symlink_to(tmp_path / "home.log")
    with pytest.raises(RunError, match="leads out of"):
        require_own_files(tmp_path / "run")


def test_only_a_regular_file_of_some_bytes_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert read_regular(tmp_path / "file", most=3) == b"abc"
    with pytest.raises(OSError, match="more than 2 bytes"):
        read_regular(tmp_path / "file", most=2)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "zeros", "link", "folder", "nothing"):
        with pytest.raises(OSError, match=name):
            read_regular(tmp_path / name)
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(Path("/dev/zero"))


def test_a_write_that_the_disk_refuses_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "results.txt").mkdir()
    with pytest.raises(RunError, match=r"results\.txt can't be written: Is a directory"), writing_into(tmp_path):
        write_atomically(tmp_path / "results.txt", b"x")
    with pytest.raises(BrokenPipeError), writing_into(tmp_path):
        raise BrokenPipeError
