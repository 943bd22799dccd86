"""Arithmetic over metrics: exact, and nothing is ever run."""

import pytest

from eigen2.errors import ConfigError
from eigen2.tracking.expression import check, evaluate, metrics_in

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
