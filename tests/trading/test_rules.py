"""Hand-worked examples of the rules. A coefficient of 5 (conviction 0 of at most 10) unless said otherwise."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eigen2.config import RulesConfig
from eigen2.market.market import Prices
from eigen2.trading.ledger import NO_STOCK, ExitReason, Ledger, Slices
from eigen2.trading.rules import Book, coefficient_of, settle
from tests.synthetic import make_prices

Bar = tuple[float, float, float, float] | None  # open, high, low, close
FLAT = (100.0, 101.0, 99.0, 100.0)
NEVER = -50.0  # a conviction that buys nothing
BOTH_FILLS = pytest.mark.parametrize("fill", ["next_open", "close"])


def table(*stocks: list[Bar]) -> Prices:
    """Prices of one list of bars a stock, None where it has no bar."""
    bars = np.array([[(np.nan,) * 4 if bar is None else bar for bar in stock] for stock in stocks])
    return make_prices(*bars.transpose(2, 1, 0))


def rules_of(**changed: Any) -> RulesConfig:
    """Free of costs and penalties, so that each example adds the one it is about."""
    plain = {"cost_bps": 0, "max_holding_period": 3, "inaction_penalty": 0, "zero_trades_penalty": 0}
    return RulesConfig(**{**plain, **changed})


def convictions(orders: dict[tuple[int, int], float], trading_days: int, stocks: int) -> NDArray[np.float64]:
    """[1, D, S] from {(step, stock): conviction}."""
    values = np.full((1, trading_days, stocks), NEVER)
    for (step, stock), value in orders.items():
        values[0, step, stock] = value
    return values


def play(
    prices: Prices,
    orders: dict[tuple[int, int], float],
    *,
    trading_days: int = 1,
    target_pct: float = 10.0,
    gamma: float = 1.0,
    **rules: Any,
) -> Ledger:
    """The ledger of one slice over all the days of `prices`."""
    days, stocks = prices.close.shape
    wanted = convictions(orders, trading_days, stocks)
    slices = Slices(np.array([0]), trading_days, days - trading_days)
    return settle(prices, slices, wanted, np.full_like(wanted, target_pct), rules_of(**rules), gamma)


def sale(ledger: Ledger, step: int = 0) -> tuple[int, float, ExitReason]:
    """Day, price and reason of the sale of what was decided on a step."""
    return int(ledger.exit_day[0, step]), float(ledger.exit_price[0, step]), ExitReason(ledger.reason[0, step])


# Sales


@BOTH_FILLS
def test_reached_target_is_sold_at_the_target(fill: str) -> None:
    # bought at 100 (open of day 1, or close of day 0); 10 % above is 110; day 2 opens below and peaks at 112
    prices = table([FLAT, FLAT, (105, 112, 104, 106), FLAT, FLAT, FLAT])
    ledger = play(prices, {(0, 0): 0.0}, fill=fill)
    assert sale(ledger) == (2, pytest.approx(110), ExitReason.TARGET)
    assert ledger.rewards[0] == pytest.approx([0, 0, 5 * 10, 0, 0, 0])


def test_target_that_the_high_just_meets_is_reached() -> None:
    prices = table([FLAT, FLAT, (105, 125, 104, 106), FLAT, FLAT, FLAT])
    assert sale(play(prices, {(0, 0): 0.0}, target_pct=25.0)) == (2, 125, ExitReason.TARGET)


def test_target_that_the_high_just_misses_is_not_reached() -> None:
    prices = table([FLAT, FLAT, (105, 109.9, 104, 106), FLAT, FLAT, FLAT])
    assert sale(play(prices, {(0, 0): 0.0})) == (4, 100, ExitReason.TIMED)


@BOTH_FILLS
def test_gap_above_the_target_is_sold_at_the_open(fill: str) -> None:
    # the target is 110, but day 2 opens at 115: nobody could sell at 110
    prices = table([FLAT, FLAT, (115, 120, 114, 118), FLAT, FLAT, FLAT])
    ledger = play(prices, {(0, 0): 0.0}, fill=fill)
    assert sale(ledger) == (2, 115, ExitReason.TARGET)
    assert ledger.gain_pct[0, 0] == pytest.approx(15)


@pytest.mark.parametrize(("fill", "entry", "out"), [("next_open", 1, 4), ("close", 0, 3)])
def test_unmet_target_is_sold_at_the_close_after_the_holding_period(fill: str, entry: int, out: int) -> None:
    # closes 100, 101, 102, ... ; holding period 3
    prices = table([(100 + day, 102 + day, 99 + day, 100.5 + day) for day in range(7)])
    ledger = play(prices, {(0, 0): 0.0}, fill=fill)
    assert ledger.entry_day[0, 0] == entry
    assert sale(ledger) == (out, 100.5 + out, ExitReason.TIMED)
    assert ledger.days_held[0, 0] == 3


def test_target_reached_on_the_last_day_of_holding_beats_the_timed_sale() -> None:
    prices = table([FLAT, FLAT, FLAT, FLAT, (100, 111, 90, 90), FLAT])
    assert sale(play(prices, {(0, 0): 0.0})) == (4, pytest.approx(110), ExitReason.TARGET)


def test_next_open_is_bought_at_the_open_and_may_reach_its_target_that_day() -> None:
    # decided on day 0 (close 100), bought at 102, the open of day 1; 10 % above is 112.2, below day 1's high of 113
    prices = table([FLAT, (102, 113, 101, 103), FLAT, FLAT, FLAT, FLAT])
    ledger = play(prices, {(0, 0): 0.0}, fill="next_open")
    assert (ledger.entry_day[0, 0], ledger.entry_price[0, 0]) == (1, 102)
    assert sale(ledger) == (1, pytest.approx(112.2), ExitReason.TARGET)


def test_close_is_bought_at_the_close_and_may_reach_its_target_from_the_next_day() -> None:
    # day 0 peaks at 120 before its close of 100: that high is no longer to be had; day 1 reaches 110
    prices = table([(100, 120, 99, 100), (100, 111, 99, 100), FLAT, FLAT, FLAT])
    ledger = play(prices, {(0, 0): 0.0}, fill="close")
    assert (ledger.entry_day[0, 0], ledger.entry_price[0, 0]) == (0, 100)
    assert sale(ledger) == (1, pytest.approx(110), ExitReason.TARGET)


@BOTH_FILLS
def test_delisted_stock_is_sold_on_the_next_day_at_its_last_close(fill: str) -> None:
    # the last bar is on day 2, with a close of 95
    prices = table([FLAT, FLAT, (97, 98, 94, 95), None, None, None], [FLAT] * 6)
    ledger = play(prices, {(0, 0): 0.0}, fill=fill, max_holding_period=4)
    assert sale(ledger) == (3, 95, ExitReason.ENDED)
    assert ledger.rewards[0] == pytest.approx([0, 0, 0, 5 * -5, 0, 0])


def test_missing_day_meets_no_target_and_the_timed_sale_is_at_the_last_close() -> None:
    # held over days 1..4; days 3 and 4 are missing, day 5 is back above the target: too late
    prices = table([FLAT, FLAT, (97, 98, 94, 96), None, None, (130, 140, 129, 135)])
    assert sale(play(prices, {(0, 0): 0.0})) == (4, 96, ExitReason.TIMED)


def test_holding_goes_on_after_a_missing_day() -> None:
    prices = table([FLAT, FLAT, None, (105, 112, 104, 106), FLAT, FLAT])
    assert sale(play(prices, {(0, 0): 0.0})) == (3, pytest.approx(110), ExitReason.TARGET)


@BOTH_FILLS
def test_last_day_of_the_slice_closes_everything(fill: str) -> None:
    # two stocks bought on days 0 and 1; the slice ends on day 4, long before 20 days are over
    prices = table([FLAT] * 4 + [(100, 101, 98, 99)], [FLAT] * 4 + [(100, 103, 98, 102)])
    ledger = play(prices, {(0, 0): 0.0, (1, 1): 0.0}, trading_days=2, fill=fill, max_holding_period=20)
    assert sale(ledger, 0) == (4, 99, ExitReason.SETTLED)
    assert sale(ledger, 1) == (4, 102, ExitReason.SETTLED)
    assert ledger.rewards[0] == pytest.approx([0, 0, 0, 0, 5 * -1 + 5 * 2])


def test_settlement_as_long_as_the_config_asks_lets_the_last_purchase_have_its_full_time() -> None:
    # decided on day 1, the last trading day; holding 3 + 1 for the fill = 4 days of settlement
    ledger = play(table([FLAT] * 6), {(1, 0): 0.0}, trading_days=2)
    assert sale(ledger, 1) == (5, 100, ExitReason.TIMED)


# Purchases


def test_order_lapses_when_the_stock_has_no_open_on_the_day_of_its_fill() -> None:
    # stock 0 is wanted more on both days, but has no bar on day 1: no fill, and no choice of it on day 1
    prices = table([FLAT, None, FLAT, FLAT, FLAT, FLAT, FLAT], [FLAT] * 7)
    orders = {(0, 0): 1.0, (1, 0): 1.0, (1, 1): 0.0}
    ledger = play(prices, orders, trading_days=2, inaction_penalty=1, zero_trades_penalty=100)
    assert ledger.stock[0].tolist() == [NO_STOCK, 1]
    assert ledger.rewards[0].tolist() == [0] * 7  # an order was decided on day 0: no penalty


def test_lapsed_order_is_no_trade_and_blocks_nothing() -> None:
    prices = table([FLAT, None, FLAT, FLAT, FLAT, FLAT])
    alone = play(prices, {(0, 0): 0.0}, trading_days=2, inaction_penalty=1, zero_trades_penalty=100)
    assert alone.rewards[0].tolist() == [0, -1, 0, 0, 0, -100]
    again = play(prices, {(0, 0): 0.0, (2, 0): 0.0}, trading_days=3)
    assert again.stock[0].tolist() == [NO_STOCK, NO_STOCK, 0]


@BOTH_FILLS
def test_held_stock_gives_way_to_the_second_best(fill: str) -> None:
    # stock 2 is wanted most on days 0 and 1; on day 1 it is held already, so stock 1 is bought
    wanted = {(day, stock): float(stock) for day in range(2) for stock in range(3)}
    ledger = play(table(*[[FLAT] * 8] * 3), wanted, trading_days=2, fill=fill)
    assert ledger.stock[0].tolist() == [2, 1]


def test_ordered_stock_is_not_available() -> None:
    # the order of day 0 is filled at the open of day 1: neither then nor later can stock 0 be ordered again
    book = Book(table([FLAT] * 8, [FLAT] * 8), Slices(np.array([0]), 4, 4), rules_of(), gamma=1.0)
    book.decide(0, np.array([[0.0, NEVER]]), np.full((1, 2), 10.0))
    assert book.available(0).tolist() == [[False, True]]
    assert [book.available(step)[0, 0] for step in (1, 2, 3)] == [False] * 3


@pytest.mark.parametrize(("fill", "out"), [("next_open", 4), ("close", 3)])
def test_stock_sold_today_may_be_bought_again_today(fill: str, out: int) -> None:
    # always wanted: bought on day 0, sold after 3 days, and decided again on that very day
    prices = table([FLAT] * 12)
    ledger = play(prices, {(day, 0): 0.0 for day in range(6)}, trading_days=6, fill=fill)
    assert ledger.exit_day[0, 0] == out
    assert np.flatnonzero(ledger.bought[0]).tolist() == [0, out]


def test_stock_without_a_bar_is_not_available() -> None:
    prices = table([None, FLAT, None, FLAT, FLAT, FLAT], [FLAT] * 6)
    book = Book(prices, Slices(np.array([0]), 4, 2), rules_of(), gamma=1.0)
    assert [book.available(step)[0].tolist() for step in range(4)] == [
        [False, True],
        [True, True],
        [False, True],
        [True, True],
    ]


def test_no_stock_with_a_bar_buys_nothing() -> None:
    ledger = play(table([None, FLAT, FLAT, FLAT, FLAT]), {(0, 0): 50.0}, inaction_penalty=2)
    assert ledger.stock[0].tolist() == [NO_STOCK]
    assert ledger.rewards[0].tolist() == [-2, 0, 0, 0, 0]


def test_coefficient_below_one_buys_nothing() -> None:
    # 2 * sigmoid(0) = 1 is enough, the next lower conviction is not
    prices = table([FLAT] * 6)
    assert play(prices, {(0, 0): 0.0}, max_coefficient=2).stock[0, 0] == 0
    assert play(prices, {(0, 0): -1e-6}, max_coefficient=2).stock[0, 0] == NO_STOCK


def test_coefficient_is_a_sigmoid_of_the_conviction() -> None:
    # log(3): sigmoid = 3 / 4
    sizes = coefficient_of(np.array([0.0, np.log(3), 1e6, -1e6, -np.inf]), rules_of(max_coefficient=10))
    assert sizes == pytest.approx([5, 7.5, 10, 0, 0])


@pytest.mark.parametrize(("first", "second", "bought"), [(0.5, 0.5, 0), (40, 50, 1), (50, 40, 0)])
def test_highest_conviction_is_bought_even_where_the_coefficient_saturates(
    first: float, second: float, bought: int
) -> None:
    # at 40 and 50 both coefficients are 10; equals go to the lowest number
    ledger = play(table([FLAT] * 6, [FLAT] * 6), {(0, 0): first, (0, 1): second})
    assert ledger.stock[0, 0] == bought


@pytest.mark.parametrize(("asked", "got"), [(3.0, 12.5), (20.0, 20.0), (99.0, 40.1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_target_is_clipped_to_its_range(asked: float, got: float, dtype: type) -> None:
    wanted, prices = np.zeros((1, 1, 1), dtype), table([FLAT] * 6)
    rules = rules_of(min_target_pct=12.5, max_target_pct=40.1)
    ledger = settle(prices, Slices(np.array([0]), 1, 5), wanted, np.full_like(wanted, asked), rules, gamma=1.0)
    assert ledger.target_pct[0, 0] == got


def test_only_trading_days_buy() -> None:
    ledger = play(table([FLAT] * 9, [FLAT] * 9), {(day, day): 0.0 for day in range(2)}, trading_days=2)
    assert ledger.stock.shape == (1, 2)
    assert ledger.bought.sum() == 2


# Rewards


def test_costs_are_paid_on_both_sides() -> None:
    # 20 basis points: bought for 100 * 1.002, sold for 110 * 0.998; coefficient 5
    prices = table([FLAT, FLAT, (105, 112, 104, 106), FLAT, FLAT, FLAT])
    ledger = play(prices, {(0, 0): 0.0}, cost_bps=20)
    gain_pct = 100 * (110 * 0.998 / (100 * 1.002) - 1)
    assert gain_pct == pytest.approx(9.5608782)
    assert ledger.gain_pct[0, 0] == pytest.approx(gain_pct, rel=1e-12)
    assert ledger.fitness[0] == pytest.approx(5 * gain_pct, rel=1e-12)


def test_costs_make_a_loss_of_an_unchanged_price() -> None:
    ledger = play(table([FLAT] * 6), {(0, 0): 0.0}, cost_bps=5, loss_penalty_multiplier=4)
    assert ledger.fitness[0] == pytest.approx(4 * 5 * 100 * (0.9995 / 1.0005 - 1))


@pytest.mark.parametrize(("close", "reward"), [(92.0, 5 * -8 * 3), (100.5, 5 * 0.5)])
def test_only_losses_are_multiplied(close: float, reward: float) -> None:
    prices = table([FLAT] * 4 + [(100, 109, 91, close), FLAT])
    ledger = play(prices, {(0, 0): 0.0}, loss_penalty_multiplier=3)
    assert ledger.rewards[0] == pytest.approx([0, 0, 0, 0, reward, 0])


@pytest.mark.parametrize(
    ("fill", "rewards"),
    [
        # nothing on days 0 and 1; decided on day 2, held over days 3..5 (2..4); day 6 (5, 6) idle; then settlement
        ("next_open", [-1, -1, 0, 0, 0, 0, -1, 0, 0, 0]),
        ("close", [-1, -1, 0, 0, 0, -1, -1, 0, 0, 0]),
    ],
)
def test_inaction_is_penalised_on_trading_days_without_position_or_decision(fill: str, rewards: list[int]) -> None:
    ledger = play(
        table([FLAT] * 10), {(2, 0): 0.0}, trading_days=7, fill=fill, max_holding_period=2, inaction_penalty=1
    )
    assert ledger.rewards[0].tolist() == rewards
    assert ledger.credits[0].tolist() == rewards[:7]


def test_slice_without_a_trade_pays_on_its_last_day_and_shares_the_blame() -> None:
    # 4 trading days at -1, and -100 in the end: a quarter of it for each decision
    ledger = play(table([FLAT] * 8), {}, trading_days=4, inaction_penalty=1, zero_trades_penalty=100)
    assert ledger.rewards[0].tolist() == [-1, -1, -1, -1, 0, 0, 0, -100]
    assert ledger.credits[0].tolist() == [-26] * 4
    assert ledger.credits.sum() == ledger.fitness[0] == -104


def test_profit_is_credited_to_the_decision_discounted_by_the_days_held() -> None:
    # bought on day 1, target on day 3: 2 days held; the reward of 50 falls due on day 3
    prices = table([FLAT, FLAT, FLAT, (105, 112, 104, 106), FLAT, FLAT])
    ledger = play(prices, {(0, 0): 0.0}, gamma=0.9)
    assert ledger.rewards[0] == pytest.approx([0, 0, 0, 50, 0, 0])
    assert ledger.credits[0] == pytest.approx([50 * 0.9**2])


def test_rewards_sum_to_fitness_of_each_slice() -> None:
    # slice 0 buys at 100 and reaches 110 on day 2; slice 1 starts on day 1 and buys at the open of day 2, 105
    prices = table([FLAT, FLAT, (105, 112, 104, 106), FLAT, FLAT, FLAT, FLAT])
    slices = Slices(np.array([0, 1]), 1, 5)
    ledger = settle(prices, slices, np.zeros((2, 1, 1)), np.full((2, 1, 1), 10.0), rules_of(), gamma=1.0)
    assert ledger.entry_price.tolist() == [[100], [105]]
    assert ledger.fitness == pytest.approx([50, 5 * (100 / 105 - 1) * 100])
    assert ledger.rewards.sum(axis=1) == pytest.approx(ledger.fitness)


def test_finished_ledger_is_immutable() -> None:
    ledger = play(table([FLAT] * 6), {(0, 0): 0.0})
    with pytest.raises(ValueError, match="read-only"):
        ledger.rewards[0, 0] = 1.0
