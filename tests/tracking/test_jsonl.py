"""JSON lines: what is written is read back, and a crash leaves whole rows only."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from eigen2.errors import RunError
from eigen2.tracking.jsonl import JsonLines, broken_at, read_rows, read_whole_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def write(path: Path, generations: int) -> None:
    lines = JsonLines(path, keep_generations=None)
    for generation in range(generations):
        lines.log({"generation": generation, "fitness/mean": generation / 3})


def generations(path: Path) -> list[int]:
    return [row["generation"] for row in read_rows(path)]


def test_rows_keep_order_of_keys_and_every_bit_of_a_float(path: Path) -> None:
    row = {"generation": 0, "time/play": 0.1 + 0.2, "fitness/mean": -1e-300, "importance/top": "AAPL"}
    JsonLines(path, None).log(row)
    assert path.read_text() == (
        '{"generation": 0, "time/play": 0.30000000000000004, "fitness/mean": -1e-300, "importance/top": "AAPL"}\n'
    )
    assert list(read_rows(path)[0].items()) == list(row.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_a_number_that_is_not_finite_is_null(path: Path, value: float) -> None:
    JsonLines(path, None).log({"generation": 0, "fitness/mean": value})
    assert json.loads(path.read_text()) == {"generation": 0, "fitness/mean": None}


def test_scalars_of_numpy_and_nested_values_are_plain_numbers(path: Path) -> None:
    JsonLines(path, None).log({"generation": np.int64(3), "a": np.float32(0.5), "parents": [[np.int64(1), 2.0]]})
    assert read_rows(path) == [{"generation": 3, "a": 0.5, "parents": [[1, 2.0]]}]


def test_a_row_is_on_the_disk_when_log_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(path.read_text()))
    JsonLines(path, None).log({"generation": 0})
    assert synced == ['{"generation": 0}\n']


@pytest.mark.parametrize(("keep", "left"), [(0, []), (2, [0, 1]), (5, [0, 1, 2]), (None, [0, 1, 2])])
def test_resume_cuts_the_generations_that_are_played_again(path: Path, keep: int | None, left: list[int]) -> None:
    write(path, 3)
    lines = JsonLines(path, keep)
    assert generations(path) == left
    lines.log({"generation": 9})
    assert generations(path) == [*left, 9]
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing is left aside"


def test_a_kept_row_keeps_its_bytes(path: Path) -> None:
    write(path, 3)
    first_two = path.read_bytes().splitlines(keepends=True)[:2]
    JsonLines(path, 2)
    assert path.read_bytes() == b"".join(first_two)


@pytest.mark.parametrize("torn", [b'{"generation": 3, "fit', b'{"generation": 3, "importance/top": "\xe2\x82', b"{"])
def test_a_torn_last_line_is_told_and_cut(path: Path, torn: bytes, caplog: pytest.LogCaptureFixture) -> None:
    write(path, 3)
    path.write_bytes(path.read_bytes() + torn)
    with caplog.at_level(logging.WARNING):
        assert generations(path) == [0, 1, 2]
    assert "line 4: torn" in caplog.text
    JsonLines(path, None).log({"generation": 3})
    assert generations(path) == [0, 1, 2, 3]


def test_a_whole_last_row_without_its_line_end_is_kept(path: Path) -> None:
    write(path, 2)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    JsonLines(path, None).log({"generation": 2})
    assert generations(path) == [0, 1, 2]


@pytest.mark.parametrize("damaged", ["{]", "", "[1]", '{"fitness/mean": 1}'])
def test_a_damaged_line_in_the_middle_is_named(path: Path, damaged: str) -> None:
    path.write_text(f'{{"generation": 0}}\n{damaged}\n{{"generation": 2}}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 2"):
        read_rows(path)


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(RunError, match="No such file"):
        read_rows(path)


def test_whole_rows_are_each_there_once(path: Path) -> None:
    write(path, 3)
    assert len(read_whole_rows(path)) == 3
    assert len(read_whole_rows(path, generations=2)) == 2
    with pytest.raises(
        RunError, match=r"metrics\.jsonl: rows of generation 3 are missing or there twice; `eigen2 train"
    ):
        read_whole_rows(path, generations=4)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(RunError, match="rows of generation 0 are missing or there twice"):
        read_whole_rows(path)


@pytest.mark.parametrize(
    ("rows", "members", "broken"),
    [
        ([(0, 0), (0, 1), (1, 0), (1, 1)], 2, None),
        ([(0, 0), (0, 1), (1, 0)], 2, 1),
        ([(0, 0), (0, 1), (1, 0), (1, 0)], 2, 1),
        ([(0, 1), (0, 0), (1, 0), (1, 1)], 2, 0),
        ([(1, 0), (1, 1)], 2, 0),
        ([(-1, 0), (0, 0), (1, 0)], 1, 0),
        ([(0, None), (1, None), (5, None)], None, None),
    ],
)
def test_the_first_generation_that_is_not_whole(
    rows: list[tuple[int, int | None]], members: int | None, broken: int | None
) -> None:
    named = [{"generation": generation, "member": member} for generation, member in rows]
    assert broken_at(named, 2, members) == broken
