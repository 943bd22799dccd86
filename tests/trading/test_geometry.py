"""Warnings where the number of stocks decides what happens."""

import pytest

from eigen2.config import RulesConfig
from eigen2.trading.geometry import geometry_warnings


@pytest.mark.parametrize(("held", "stocks"), [(20, 21), (5, 500), (1, 2)])
def test_more_stocks_than_days_held_leave_a_choice(held: int, stocks: int) -> None:
    assert geometry_warnings(RulesConfig(max_holding_period=held), stocks) == ()


@pytest.mark.parametrize(("held", "stocks"), [(20, 20), (19, 18), (1, 1)])
def test_as_few_stocks_as_days_held_leave_nothing_to_choose(held: int, stocks: int) -> None:
    warning = geometry_warnings(RulesConfig(max_holding_period=held), stocks)[0]
    assert f"rules.max_holding_period is {held}" in warning
    assert "nothing to choose" in warning


@pytest.mark.parametrize(
    ("held", "stocks", "fill", "share"),
    [
        (20, 1, "next_open", "4.8 %"),
        (20, 1, "close", "5.0 %"),
        (20, 10, "next_open", "47.6 %"),
        (1, 1, "next_open", "50"),
    ],
)
def test_capital_that_lies_idle(held: int, stocks: int, fill: str, share: str) -> None:
    rules = RulesConfig.model_validate({"max_holding_period": held, "fill": fill})
    assert f"never more than {share}" in geometry_warnings(rules, stocks)[1]


def test_little_idle_capital_is_not_worth_a_warning() -> None:
    assert len(geometry_warnings(RulesConfig(max_holding_period=20), 20)) == 1
