"""Arithmetic over metrics: exact, and nothing is ever run."""

import pytest

from eigen2.errors import ConfigError
from eigen2.tracking.expression import check, evaluate, metrics_in, value_of

METRICS = {"fitness/best_ever": -200.0, "final/win_rate": 0.6, "generation": 3, "importance/top": "AAPL"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.7 * fitness/best_ever + 0.3 * final/win_rate", 0.7 * -200 + 0.3 * 0.6),
        ("fitness/best_ever / 4", -50.0),
        ("-(final/win_rate - 1) * 2", 0.8),
        ("final/win_rate / fitness/best_ever", 0.6 / -200),
        ("1e2", 100.0),
    ],
)
def test_values(text: str, expected: float) -> None:
    assert evaluate(text, METRICS) == pytest.approx(expected, rel=1e-15)


def test_names_of_metrics() -> None:
    assert metrics_in("0.7 * fitness/best_ever + final/win_rate") == ["fitness/best_ever", "final/win_rate"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fitness/best_evr", "names fitness/best_evr"),
        ("importance/top * 2", "names importance/top"),
        ("final/win_rate / 0", "divides by zero"),
        ("__import__('os').getcwd()", "no expression"),
        ("(lambda: 1)()", "no expression"),
        ("2 ** 9", "no expression"),
        ("True", "no expression"),
        ("", "no expression"),
        ("final/win_rate +", "no expression"),
        ("[1][0]", "no expression"),
        ("(" * 500 + "1" + ")" * 500, "no expression"),
    ],
)
def test_what_is_not_arithmetic_over_metrics_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        evaluate(text, METRICS)


def test_a_metric_misspelt_is_answered_with_the_right_name() -> None:
    with pytest.raises(ConfigError, match="did you mean final/win_rate"):
        check("0.3 * final/winrate", METRICS)


def test_metrics_in_short_are_answered_with_their_full_names() -> None:
    known = ("fitness/mean", "fitness/best_ever", "validation/win_rate", "final/win_rate")
    with pytest.raises(ConfigError) as caught:
        check("0.7 * fitness + 0.3 * win_rate", known)
    assert str(caught.value) == (
        "'0.7 * fitness + 0.3 * win_rate' needs full names of metrics: for fitness write fitness/mean or "
        "fitness/best_ever; for win_rate write validation/win_rate or final/win_rate"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-" * 100_000 + "1", "has 100001 characters; write one of at most 2000"),
        ("(" * 5_000 + "1" + ")" * 5_000, "has 10001 characters"),
        ("9" * 400, "holds a number that is too large"),
        ("0x" + "f" * 400, "holds a number that is too large"),
        ("1e999-1e999", "has no finite value"),
        ("1e999", "has no finite value"),
        ("1e308 * 1e308 * final/win_rate", "has no finite value"),
        ("9" * 400 + ".5", "has no finite value"),
    ],
)
def test_numbers_and_texts_beyond_all_bounds_are_one_short_sentence(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(text, METRICS)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["-" * 1_999 + "1", "1" + "+1" * 999])
def test_very_many_signs_are_one_short_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        check(text, METRICS)


def test_a_difference_of_metrics_may_divide() -> None:
    text = "1 / (fitness/best_ever - final/win_rate)"
    check(text, METRICS)
    assert evaluate(text, METRICS) == 1 / (-200 - 0.6)


def test_an_expression_has_no_value_while_a_metric_is_missing_or_not_finite() -> None:
    text = "fitness/best_ever / final/win_rate"
    assert value_of(text, METRICS) == -200 / 0.6
    for missing in ({}, {"final/win_rate": 0.0}, {"final/win_rate": float("nan")}, {"final/win_rate": float("inf")}):
        assert value_of(text, {"fitness/best_ever": 1.0, **missing}) is None
