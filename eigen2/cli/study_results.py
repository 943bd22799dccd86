"""What came of a study: a table over its runs, and for successive windows one stitched equity curve."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType
from rich.table import Table

from eigen2.errors import RunError
from eigen2.evaluation.assessment import Uncertainty, uncertainty
from eigen2.evaluation.examination import CHAMPION, HOLDOUT, VALIDATION
from eigen2.evaluation.scores import curve_figures, daily_returns
from eigen2.evaluation.verdict import beats_random, is_evidence, verdict_on_windows
from eigen2.evaluation.walk_forward import Curves, stitched
from eigen2.files import write_atomically
from eigen2.randomness import DRIVER, stream
from eigen2.report.plots import plot_equity
from eigen2.report.records import read_text
from eigen2.report.tables import Result, plain_text, results_table
from eigen2.training.run_folder import RunFolder

Figures = dict[str, float]
SPREAD: dict[str, Callable[[list[float]], np.floating]] = {"median": np.median, "lowest": np.min, "highest": np.max}


def tell_windows(folders: Sequence[RunFolder], folder: Path, console: Console) -> None:
    """Print verdict and table of successive windows; write them, and the stitched equity, into the study's folder."""
    evaluations = [_evaluation(run) for run in folders]
    tested, yearly = [found["segments"][HOLDOUT] for found in evaluations], evaluations[0]["periods_per_year"]
    dates, curves = _holdouts(folders)
    sure = _uncertainty(curves, yearly)
    figures = {name: curve_figures(curve, yearly) for name, curve in curves.items()}
    results: list[Result] = [
        (name, window["last_date"], score)  # a heading as narrow as the names below it
        for window in tested
        for name, score in window["figures"].items()
    ]
    results += [(name, "all windows", score) for name, score in figures.items()]
    won = sum(beats_random(window["figures"]) for window in tested)
    sentences = verdict_on_windows(figures, sure, won, len(folders))
    windows = [{"run": run.name, **window} for run, window in zip(folders, tested, strict=True)]
    study = {"windows": windows, "stitched": {"figures": figures, **asdict(sure)}, "verdict": sentences}
    _write_equity(dates, curves, folder / "equity.csv")
    title = f"{len(folders)} windows of test {evaluations[0]['bar_unit']}, trained anew before each"
    plot_equity({name: (dates, curve) for name, curve in curves.items()}, title, folder / "equity.png")
    table = results_table(results, yearly, evaluations[0]["bar_unit"])
    _tell(sentences, table, study, folder, console)


def tell_seeds(folders: Sequence[RunFolder], folder: Path, console: Console) -> None:
    """Print the champions of several seeds with their spread; write them into the study's folder."""
    evaluations = {run.name: _evaluation(run) for run in folders}
    results: list[Result] = []
    spread: dict[str, dict[str, Figures]] = {}
    for segment in (VALIDATION, HOLDOUT):
        champions = {name: found["segments"][segment]["figures"][CHAMPION] for name, found in evaluations.items()}
        spread[segment] = _spread(list(champions.values()))
        rows = {**champions, **spread[segment], **_baselines(evaluations, segment)}
        results += [(name, segment, score) for name, score in rows.items()]
    proven = sum(is_evidence(found["verdict"]) for found in evaluations.values())
    returns = {name: score["total_return_pct"] for name, score in spread[HOLDOUT].items()}
    sentences = [
        f"{proven} of {len(folders)} seeds give evidence of skill.",
        f"On hold-out their champions earned {returns['median']:.1f} % in the median, {returns['lowest']:.1f} % to "
        f"{returns['highest']:.1f} %: so much is owed to the seed alone.",
    ]
    first = next(iter(evaluations.values()))
    table = results_table(results, first["periods_per_year"], first["bar_unit"])
    _tell(sentences, table, {"seeds": evaluations, "spread": spread, "verdict": sentences}, folder, console)


def _spread(scores: Sequence[Figures]) -> dict[str, Figures]:
    """Median, lowest and highest of each figure."""
    return {
        name: {figure: float(summary([score[figure] for score in scores])) for figure in scores[0]}
        for name, summary in SPREAD.items()
    }


def _baselines(evaluations: dict[str, dict[str, Any]], segment: str) -> dict[str, Figures]:
    """Whatever else traded on a segment's days: the mean over seeds, though most do not depend on them."""
    figures = [found["segments"][segment]["figures"] for found in evaluations.values()]
    return {
        name: {figure: float(np.mean([found[name][figure] for found in figures])) for figure in figures[0][name]}
        for name in figures[0]
        if name != CHAMPION
    }


def _uncertainty(curves: Curves, periods_per_year: float) -> Uncertainty:
    returns = {name: daily_returns(curve) for name, curve in curves.items()}
    others = {name: other[None] for name, other in returns.items() if name != CHAMPION}
    return uncertainty(returns[CHAMPION], others, stream(0, 0, DRIVER, "bootstrap of windows"), periods_per_year)


def _evaluation(run: RunFolder) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(run.evaluation.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{run.evaluation} can't be read: {error}; make it with eigen2 evaluate {run.path}") from error
    return found


def _holdouts(folders: Sequence[RunFolder]) -> tuple[NDArray[np.datetime64], Curves]:
    """Days and equity of all hold-outs, one after the other."""
    days, parts = [], []
    for run in folders:
        told = csv.DictReader(io.StringIO(read_text(run.equity), newline=""))
        rows = [row for row in told if row["segment"] == HOLDOUT]
        days += [np.datetime64(row["date"]) for row in rows]
        names = [name for name in rows[0] if name not in ("segment", "date")]
        parts.append({name: np.array([float(row[name]) for row in rows]) for name in names})
    return np.array(days), stitched(parts)


def _write_equity(dates: NDArray[np.datetime64], curves: Curves, path: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["date", *curves])
    writer.writerows(zip(dates, *(curve.tolist() for curve in curves.values()), strict=True))
    write_atomically(path, text.getvalue().encode())


def _tell(sentences: Sequence[str], table: Table, study: dict[str, Any], folder: Path, console: Console) -> None:
    told: tuple[RenderableType, ...] = (sentences[0], "", *sentences[1:], "", table)
    write_atomically(folder / "results.txt", plain_text(*told).encode())
    write_atomically(folder / "study.json", f"{json.dumps(study, indent=1, allow_nan=False)}\n".encode())
    for part in told:
        console.print(part, highlight=False, markup=False)
