"""The table of results: units, order, and what is missing."""

import io
from dataclasses import fields

import pytest
from rich.console import Console

from eigen2.evaluation.scores import Score
from eigen2.report.tables import COLUMNS, plain_text, results_table

SCORE = {
    "total_return_pct": 12.34,
    "sharpe_ratio": 1.236,
    "sortino_ratio": -0.5,
    "max_drawdown_pct": 8.96,
    "win_rate": 0.61,
    "num_trades": 48,
    "avg_trade_duration": 11.25,
    "exposure": 0.425,
    "turnover": 3.456,
}
ROWS = [
    ("champion", "validation", SCORE),
    ("index", "validation", {"total_return_pct": float("nan")}),
    ("champion", "hold-out", SCORE),
]


def line_of(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip().startswith(name)).split()


def test_figures_are_in_the_units_of_the_headings() -> None:
    assert line_of(plain_text(results_table(ROWS, 252, "days")), "champion") == [
        "champion", "12.3", "1.24", "-0.50", "9.0", "61", "48", "11", "42", "3.5"
    ]  # fmt: skip


def test_what_is_missing_or_not_finite_is_a_dash() -> None:
    assert line_of(plain_text(results_table(ROWS, 252, "days")), "index") == ["index", *["-"] * len(COLUMNS)]


def test_segments_head_their_rows_in_order() -> None:
    words = [
        line.strip().split()[0]
        for line in plain_text(results_table(ROWS, 252, "days")).splitlines()[3:]
        if line.strip()
    ]
    assert words == ["validation", "champion", "index", "hold-out", "champion", "Sharpe"]  # the last heads the caption


def test_every_column_is_a_figure_of_a_score() -> None:
    assert {column.figure for column in COLUMNS} == {field.name for field in fields(Score)}


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        console.print(results_table([("random agent", "hold-out", SCORE | {"total_return_pct": -123.4})], 252, "days"))
    assert "…" not in capture.get()
    assert "random agent" in capture.get()


def test_plain_text_has_no_escape_codes_nor_trailing_blanks() -> None:
    text = plain_text(results_table(ROWS, 252, "days"))
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    ("periods", "unit", "says"), [(252, "days", "252 days a year"), (52, "bars", "52 bars a year")]
)
def test_a_table_says_how_ratios_are_annualised_and_what_a_bar_is(periods: float, unit: str, says: str) -> None:
    text = plain_text(results_table(ROWS, periods, unit))
    assert f"Sharpe and Sortino ratios are annualised: {says}" in text
    assert f"{unit} " in text.splitlines()[0]
    assert {"days": "bars", "bars": "days"}[unit] not in text
