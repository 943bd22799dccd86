"""The verdict: skill where there is some, none where there is none, and what each sentence rests on."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from eigen2.cli.evaluate import examine_run
from eigen2.evaluation.assessment import Assessment, Candidates, SegmentAssessment, Uncertainty
from eigen2.evaluation.overfitting import DeflatedSharpe, Overfitting
from eigen2.evaluation.verdict import is_evidence, shortcomings, verdict, verdict_on_windows
from tests.evaluation.planted import planted_market, train_on


def judged(path: Path, seed: int, drift: float) -> dict[str, Any]:
    market = planted_market(seed, drift)
    folder, config = train_on(market, path, seed=seed)
    examine_run(folder, config, market, Console(file=StringIO()))
    found: dict[str, Any] = json.loads(folder.evaluation.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def of_nothing(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The judgement of runs on markets where there is nothing to find."""
    return [judged(tmp_path_factory.mktemp("noise"), seed, drift=0.0) for seed in range(1, 7)]


def test_no_skill_is_found_where_there_is_nothing_to_find(of_nothing: list[dict[str, Any]]) -> None:
    """Luck passes one of the hurdles now and then, one time in twenty; the verdict asks for all of them."""
    assert np.median([found["deflated_sharpe"]["probability"] for found in of_nothing]) < 0.95
    assert np.median([found["segments"]["hold-out"]["beats"]["random agent"] for found in of_nothing]) < 0.95
    for found in of_nothing:
        assert found["verdict"][0].startswith("No evidence of skill: ")


def test_where_there_is_nothing_to_find_overfitting_is_as_likely_as_not(of_nothing: list[dict[str, Any]]) -> None:
    """In the mean: of one market it is a rough estimate, since its candidates are much alike."""
    assert np.mean([found["overfitting"]["probability"] for found in of_nothing]) > 0.3


def test_skill_is_found_where_it_is(tmp_path: Path) -> None:
    found = judged(tmp_path, seed=2, drift=0.01)
    assert found["deflated_sharpe"]["probability"] > 0.95
    assert found["overfitting"]["probability"] < 0.1
    assert found["segments"]["hold-out"]["beats"]["random agent"] > 0.95
    assert found["verdict"][0].startswith("Evidence of skill: ")


# --- the sentences ------------------------------------------------------------------------------------------------

FIGURES = {"total_return_pct": 12.34, "sharpe_ratio": 1.5}
SEGMENT = SegmentAssessment(
    intervals={"sharpe_ratio": (0.4, 2.6), "total_return_pct": (1.0, 20.0)},
    level=0.95,
    block_days=2.5,
    beats={"buy and hold": 0.8, "index ^GSPC": 0.7, "random agent": 0.97},
    first_date="2020-01-02",
    last_date="2020-12-31",
    days=252,
    figures=dict.fromkeys(("champion", "buy and hold", "index ^GSPC", "random agent"), FIGURES),
)
PROVEN = Assessment(
    periods_per_year=252.0,
    bar_unit="days",
    holdout_openings=1,
    candidates=Candidates(total=80, distinct=52, sweep_trials=1),
    segments={"validation": SEGMENT, "hold-out": SEGMENT},
    deflated_sharpe=DeflatedSharpe(0.96, 1.1, 2.5, 252, 52),
    overfitting=Overfitting(0.2, 924, 12),
    costs={cost: {"validation": FIGURES, "hold-out": FIGURES | {"total_return_pct": 7.0}} for cost in ("0", "5", "20")},
)


def with_beats(name: str, probability: float) -> Assessment:
    segment = replace(SEGMENT, beats=SEGMENT.beats | {name: probability})
    return replace(PROVEN, segments={**PROVEN.segments, "hold-out": segment})


def test_evidence_is_claimed_where_nothing_speaks_against_it() -> None:
    told = verdict(PROVEN)
    assert told[0].startswith("Evidence of skill: ")
    assert is_evidence(told)
    assert "where 80 candidates were looked at (52 that differ)" in told[1]
    assert "Sharpe ratio 2.50 on 252 days" in told[1]
    assert "12.3 % with a Sharpe ratio of 1.50 (95 % interval 0.40 to 2.60)" in told[4]
    assert "With 20 basis points of costs a side the same trades would have earned 7.0 % on hold-out." in told
    assert told[-1] == "The hold-out was opened for the first time."


@pytest.mark.parametrize(
    ("assessment", "says"),
    [
        (replace(PROVEN, deflated_sharpe=replace(PROVEN.deflated_sharpe, probability=0.949)), "95 % sure, 95 % asked"),
        (replace(PROVEN, deflated_sharpe=None, overfitting=None), "kept no record of the candidates"),
        (replace(PROVEN, overfitting=Overfitting(0.5, 924, 12)), "probability of overfitting 50 %, below 50 % asked"),
        (with_beats("random agent", 0.94), "94 % sure, 95 % asked"),
    ],
)
def test_one_thing_against_it_is_enough_to_claim_none(assessment: Assessment, says: str) -> None:
    assert len(shortcomings(assessment)) == 1
    told = verdict(assessment)
    assert told[0].startswith("No evidence of skill: ")
    assert not is_evidence(told)
    assert says in told[0]


def test_skill_that_holding_would_have_beaten_is_said_to_be_so() -> None:
    assert "Buying and holding the same stocks earned more" in verdict(with_beats("buy and hold", 0.4))[0]
    assert "Buying and holding" not in verdict(PROVEN)[0]


def test_a_market_without_an_index_is_not_compared_with_one() -> None:
    beats = {"buy and hold": 0.8, "random agent": 0.97}
    segments = dict.fromkeys(PROVEN.segments, replace(SEGMENT, beats=beats))
    assert not any("index" in sentence for sentence in verdict(replace(PROVEN, segments=segments)))


def test_the_index_is_named_by_its_column() -> None:
    assert any("the index ^GSPC 12.3 % (beaten" in sentence for sentence in verdict(PROVEN))


def test_bars_that_are_not_days_are_not_called_days() -> None:
    weekly = replace(PROVEN, bar_unit="bars", periods_per_year=52.0)
    failed = replace(weekly, overfitting=Overfitting(0.5, 924, 12), segments=with_beats("random agent", 0.5).segments)
    for told in (verdict(weekly), verdict(failed)):
        assert not any("days" in sentence for sentence in told)
    assert "Sharpe ratio 2.50 on 252 bars" in verdict(weekly)[1]


def test_trials_of_a_sweep_and_further_looks_are_told() -> None:
    told = verdict(replace(PROVEN, candidates=Candidates(80, 52, 30), holdout_openings=4))
    assert "80 candidates in each of 30 trials of a sweep" in told[1]
    assert "opened 4 times" in told[-1]


@pytest.mark.parametrize(("probability", "says"), [(1.0, "100 %"), (0.999, "over 99 %"), (0.951, "95 %")])
def test_nothing_is_rounded_up_to_certainty(probability: float, says: str) -> None:
    assert f"({says} sure)" in verdict(with_beats("random agent", probability))[0]


@pytest.mark.parametrize(("probability", "begins"), [(0.96, "Evidence of skill"), (0.94, "No evidence of skill")])
def test_windows_are_judged_by_random_agents_too(probability: float, begins: str) -> None:
    sure = Uncertainty(SEGMENT.intervals, 0.95, 1.0, {"buy and hold": 0.2, "random agent": probability})
    told = verdict_on_windows(SEGMENT.figures, sure, won=3, windows=5)
    assert told[0].startswith(begins)
    assert "in 3 of 5 windows" in told[0]
    assert "than buy and hold 20 %" in told[2]
