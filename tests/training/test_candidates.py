"""The record of every candidate that validation saw."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from eigen2.errors import RunError
from eigen2.evaluation.examination import CHAMPION, examine
from eigen2.evaluation.scores import daily_returns
from eigen2.learning.agent import Agent, MarketView
from eigen2.tracking.jsonl import read_rows
from eigen2.training.candidates import read_candidates
from eigen2.training.checkpoint import load_genome
from eigen2.training.run_folder import RunFolder
from tests.training.small import MARKET, family_of, run, small_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of three generations of four members; tests only read it."""
    return run(tmp_path_factory.mktemp("runs") / "run")


def test_there_is_a_record_for_each_that_the_lineage_names(folder: RunFolder) -> None:
    rows = read_rows(folder.candidates)
    assert [(row["generation"], row["member"]) for row in rows] == [
        (record["generation"], record["member"]) for record in family_of(folder)
    ]
    assert read_candidates(folder.candidates).shape == (12, MARKET.splits.validation.days)


def test_the_champions_record_is_what_its_examination_finds(folder: RunFolder) -> None:
    best = [record for record in family_of(folder) if record["crowned"]][-1]
    recorded = read_candidates(folder.candidates)[4 * best["generation"] + best["member"]]
    config = small_config()
    view = MarketView.of(MARKET, config.rules, torch.device("cpu"))
    champion = Agent(config.agent, config.ddpg, config.rules, view, seed=0)
    champion.load_genome(load_genome(folder.champion))
    validation = examine(MARKET, config, champion.act)[0]
    np.testing.assert_allclose(recorded, daily_returns(validation.curves[CHAMPION]), atol=1e-7)


def test_a_line_takes_few_characters(folder: RunFolder) -> None:
    lines = folder.candidates.read_bytes().splitlines()
    assert max(map(len, lines)) < 60 + 10 * MARKET.splits.validation.days


@pytest.mark.parametrize(
    "line",
    [
        b'{"generation": 2, "member": 3}',
        b'{"generation": 2, "member": 3, "returns_bps": [1.0]}',
        b'{"generation": 2, "member": 3, "returns_bps": "much"}',
        b'{"generation": 2, "member": 3, "returns_bps": 3.0}',
    ],
)
def test_what_is_no_record_is_refused(folder: RunFolder, tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "candidates.jsonl"
    path.write_bytes(b"".join(folder.candidates.read_bytes().splitlines(keepends=True)[:-1]) + line + b"\n")
    with pytest.raises(RunError, match=r"candidates\.jsonl: not the returns of a run's candidates"):
        read_candidates(path)


def test_returns_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "candidates.jsonl"
    path.write_text('{"generation": 0, "member": 0, "returns_bps": [1.0, null]}\n', encoding="utf-8")
    with pytest.raises(RunError, match="not the returns"):
        read_candidates(path)


@pytest.mark.parametrize(
    "keep", [lambda n: [n, n] if n == 5 else [n], lambda n: [] if n == 5 else [n]], ids=["twice", "lost"]
)
def test_candidates_that_are_there_twice_or_lost_are_not_counted(
    folder: RunFolder, tmp_path: Path, keep: Callable[[int], list[int]]
) -> None:
    lines = folder.candidates.read_bytes().splitlines(keepends=True)
    path = tmp_path / "candidates.jsonl"
    path.write_bytes(b"".join(lines[number] for at in range(len(lines)) for number in keep(at)))
    with pytest.raises(RunError, match="rows of generation 1 are missing or there twice"):
        read_candidates(path)


def test_candidates_of_the_generations_before_a_checkpoint(folder: RunFolder) -> None:
    assert len(read_candidates(folder.candidates, generations=2)) == 8
    with pytest.raises(RunError, match="rows of generation 3 are missing"):
        read_candidates(folder.candidates, generations=4)
