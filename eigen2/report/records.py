"""What a run's files say, checked as they are read: a file that is damaged is named."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from eigen2.errors import RunError
from eigen2.files import text_of_cell

Number = FiniteFloat | None  # None: was not finite
Figures = dict[str, Number]
Curve = tuple[NDArray[np.datetime64], NDArray[np.float64]]
Rows = Sequence[Mapping[str, Any]]

VALIDATION, HOLDOUT, CHAMPION, RANDOM = "validation", "hold-out", "champion", "random agent"


class Record(BaseModel):
    """A record of a file; fields that it does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Kind = TypeVar("Kind", bound=Record)


class SegmentRecord(Record):
    """One split: its days, everyone's figures, and how sure the champion's are."""

    first_date: date
    last_date: date
    days: int
    figures: dict[str, Figures]
    intervals: dict[str, tuple[Number, Number]]
    level: FiniteFloat
    block_days: FiniteFloat
    beats: Figures


class CandidatesRecord(Record):
    """What the champion was chosen from."""

    total: int
    distinct: int
    sweep_trials: int


class DeflatedSharpeRecord(Record):
    """The chance of a true Sharpe ratio above `expected_best_sharpe`, both a year, with so many trials counted."""

    probability: Number
    expected_best_sharpe: Number
    sharpe_ratio: Number
    days: int
    trials: int


class OverfittingRecord(Record):
    """The probability of backtest overfitting over `splits` ways to halve `blocks` blocks of days."""

    probability: Number
    splits: int
    blocks: int


class Evaluation(Record):
    """evaluation.json; costs: basis points a side -> split -> the champion's figures; look: what its numbers follow
    from."""

    periods_per_year: FiniteFloat
    bar_unit: str
    holdout_openings: int
    candidates: CandidatesRecord
    segments: dict[Literal["validation", "hold-out"], SegmentRecord]
    deflated_sharpe: DeflatedSharpeRecord | None
    overfitting: OverfittingRecord | None
    costs: dict[str, dict[str, Figures]]
    verdict: list[str]
    look: dict[str, str] = {}


class Trade(Record):
    """A row of trades.csv."""

    segment: str
    stock: str
    entry_date: date
    entry_price: FiniteFloat
    exit_date: date
    exit_price: FiniteFloat
    reason: str
    days_held: int
    gain_pct: FiniteFloat


class Birth(Record):
    """A row of lineage.jsonl: a member of a generation, how it came to be and how it played."""

    generation: int
    member: int
    operator: Literal["init", "keep", "cross", "mutate", "champion"]
    parents: list[tuple[int, int]]
    fitness: Number
    validation_fitness: Number
    crowned: bool = False  # whether it became champion in this generation

    @property
    def name(self) -> tuple[int, int]:
        """What others call it as a parent: its generation and slot."""
        return self.generation, self.member


class Attention(Record):
    """What candidates.jsonl says of the columns: a member's mean attention to each; None in runs that kept none."""

    generation: int
    importance: list[FiniteFloat] | None = None


@dataclass(frozen=True)
class RunRecord:
    """All that a page tells of a run.

    equity: split -> name -> (dates, equity). metrics: rows a generation. closes: stock -> (dates, closes).
    importance: [G, C] mean attention of a generation's members to each of `columns`; no rows where none was kept.
    """

    name: str
    evaluation: Evaluation
    equity: dict[str, dict[str, Curve]]
    trades: list[Trade]
    metrics: Rows
    births: list[Birth]
    columns: tuple[str, ...]
    importance: NDArray[np.float64]
    closes: Mapping[str, Curve]
    config: str
    data_report: str


def read_evaluation(path: Path) -> Evaluation:
    """evaluation.json. Raises RunError if it can't be read, is damaged, or lacks a split."""
    try:
        evaluation = Evaluation.model_validate_json(read_text(path))
    except ValidationError as error:
        raise RunError(f"{path}: {_first_problem(error)}; write it anew with `eigen2 evaluate`") from error
    for split in (HOLDOUT, VALIDATION):
        if split not in evaluation.segments or CHAMPION not in evaluation.segments[split].figures:
            raise RunError(f"{path}: tells nothing of the champion on {split}; write it anew with `eigen2 evaluate`")
    return evaluation


def read_trades(path: Path) -> list[Trade]:
    """The rows of trades.csv; a champion that never traded leaves an empty file."""
    rows = [{**row, "stock": text_of_cell(row.get("stock") or "")} for row in _table(path)]
    return _checked(Trade, rows, path)


def read_equity(path: Path) -> dict[str, dict[str, Curve]]:
    """The curves of equity.csv by split and name. Raises RunError naming the file and the line."""
    dates: dict[str, list[np.datetime64]] = defaultdict(list)
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line, row in enumerate(_table(path), start=2):
        try:
            split = row.pop("segment")
            dates[split].append(np.datetime64(row.pop("date"), "D"))
            for name, value in row.items():
                values[split][name].append(float(value))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path}, line {line}: not a row of equity") from error
    curves = {
        split: {name: (np.array(dates[split]), np.array(curve)) for name, curve in named.items()}
        for split, named in values.items()
    }
    for split in (HOLDOUT, VALIDATION):
        if CHAMPION not in curves.get(split, {}):
            raise RunError(f"{path}: has no equity of the champion on {split}")
    return curves


def births_of(rows: Rows, path: Path) -> list[Birth]:
    """The rows of lineage.jsonl. Raises RunError naming the file and the row, or if no member ever became champion."""
    births = _checked(Birth, rows, path)
    if not any(birth.crowned for birth in births):
        raise RunError(f"{path}: tells of no member that became champion")
    return births


def importance_of(rows: Rows, columns: int, path: Path) -> NDArray[np.float64]:
    """[G, C] mean attention by generation, each row a share of 1; [0, C] where the rows of candidates keep none."""
    told: dict[int, list[list[float]]] = defaultdict(list)
    for line, record in enumerate(_checked(Attention, rows, path), start=1):
        if record.importance is None:
            continue
        if len(record.importance) != columns:
            raise RunError(f"{path}, line {line}: tells of {len(record.importance)} columns, the market has {columns}")
        told[record.generation].append(record.importance)
    if not told:
        return np.empty((0, columns))
    mean = np.array([np.mean(told[generation], axis=0) for generation in sorted(told)])
    shares: NDArray[np.float64] = mean / mean.sum(axis=1, keepdims=True)
    return shares


def read_text(path: Path) -> str:
    """The text of a file. Raises RunError if it can't be read."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise RunError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: is not text in UTF-8") from error


def _table(path: Path) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise RunError(f"{path}: not a CSV file: {error}") from error


def _checked(kind: type[Kind], rows: Rows, path: Path) -> list[Kind]:
    records = []
    for number, row in enumerate(rows, start=1):
        try:
            records.append(kind.model_validate(row))
        except ValidationError as error:
            raise RunError(f"{path}, row {number}: {_first_problem(error)}") from error
    return records


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg'].lower()}" if where else problem["msg"]
