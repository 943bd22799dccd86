"""Tables and plot of the learning benchmark."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks.learning import Result

SHOWN_GENERATIONS = (1, 3, 10)
COLORS = ("#1f5fa8", "#c8641b", "#4a8f4d", "#8b5aa8", "#777777", "#a8325f")


def tables(results: Sequence["Result"]) -> str:
    """Markdown: a table a market, a line a row, skill as median (least .. most) over seeds.

    The mean is of the last generation's skill. Seed by seed (and training by training) it is told as a share of the
    observer's, or where there is none against random agents who trade as much.
    """
    return "\n".join(line for name, of_market in _by_market(results) for line in _table(name, of_market))


def _table(market: str, results: Sequence["Result"]) -> Iterable[str]:
    known = all(run.observer is not None for run in results)
    against = "of the observer's, by seed" if known else "sd above random agents, by seed"
    heads = [*(f"generation {number}" for number in SHOWN_GENERATIONS), "mean", against, "s a run"]
    yield f"\n**{market}**\n"
    yield f"| | {' | '.join(heads)} |"
    yield "|---|" + "---|" * len(heads)
    for row, runs in _by_row(results):
        cells = [_spread([run.skill[number - 1] for run in runs]) for number in SHOWN_GENERATIONS]
        cells += [f"{np.mean([run.skill[-1] for run in runs]):.2f}", _shares(runs) if known else _errors(runs)]
        yield f"| {row} | {' | '.join(cells)} | {np.median([run.seconds for run in runs]):.0f} |"
    for name in ("observer", "rule"):
        skills = {run.task.seed: getattr(run, name) for run in results}
        if None not in skills.values():
            values = list(skills.values())
            yield f"| *{name}* | | | {_spread(values)} | {np.mean(values):.2f} | | |"


def _shares(runs: Sequence["Result"]) -> str:
    """The last skill as a share of the observer's, seed by seed."""
    return " ".join(f"{run.skill[-1] / run.observer:.2f}" for run in runs if run.observer)


def _errors(runs: Sequence["Result"]) -> str:
    """Where nothing can be known: how far champions are above agents who guess, seed by seed."""
    return " ".join(f"{run.noise_errors:.1f}" for run in runs)


def _spread(values: Sequence[float]) -> str:
    low, middle, high = (f"{value:.2f}" for value in (min(values), float(np.median(values)), max(values)))
    return f"{middle} ({low} .. {high})"


def plot(results: Sequence["Result"], out: Path) -> None:
    """Skill by generation, a panel a market: median as a line, the range over seeds as a band."""
    markets = list(_by_market(results))
    figure = Figure(figsize=(4.2 * len(markets), 4), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(markets), sharey=True, squeeze=False)[0]
    for panel, (name, of_market) in zip(panels, markets, strict=True):
        for color, (row, runs) in zip(COLORS, _by_row(of_market), strict=False):
            skill = np.array([run.skill for run in runs])
            generations = np.arange(1, skill.shape[1] + 1)
            panel.plot(generations, np.median(skill, axis=0), color=color, linewidth=2, label=row)
            panel.fill_between(generations, skill.min(axis=0), skill.max(axis=0), color=color, alpha=0.15, linewidth=0)
        for style, policy in (("--", "observer"), (":", "rule")):
            known = [getattr(run, policy) for run in of_market if getattr(run, policy) is not None]
            if known:
                panel.axhline(float(np.median(known)), color="#333333", linewidth=1, linestyle=style, label=policy)
        panel.set_title(name, loc="left")
        panel.set_xlabel("generation")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("skill on hold-out slices: 0 random, 1 oracle")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(out)


def _by_market(results: Sequence["Result"]) -> Iterable[tuple[str, list["Result"]]]:
    for name, found in groupby(results, key=lambda result: result.task.market):
        yield name, list(found)


def _by_row(results: Sequence["Result"]) -> Iterable[tuple[str, list["Result"]]]:
    for name, found in groupby(results, key=lambda result: result.task.row):
        yield name, list(found)
