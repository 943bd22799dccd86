"""The examination: random agents that trade as much as the champion, costs side by side, figures that fit together."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigen2.config import Config, RulesConfig
from eigen2.evaluation.assessment import COSTS_BPS, assess
from eigen2.evaluation.baselines import hold_curve, matched_ledger
from eigen2.evaluation.examination import CHAMPION, RANDOM, Segment, equity_of, examine
from eigen2.evaluation.scores import daily_returns, score_slices
from eigen2.learning.agent import Actions
from eigen2.market.market import Market
from eigen2.trading.ledger import NO_STOCK, Ledger, Slices
from eigen2.trading.rules import settle
from tests.synthetic import make_market, make_prices
from tests.training.small import small_config

CONFIG = small_config(validation_days=80, holdout_days=80)
MARKET = make_market(300, stocks=12, seed=5, context_days=8)


def random_actions(market: Market, seed: int, bias: float = -1.0) -> "Act":
    return Act(market, seed, bias)


class Act:
    """Convictions and targets drawn by day, whatever slices they are asked for."""

    def __init__(self, market: Market, seed: int, bias: float) -> None:
        rng = np.random.default_rng(seed)
        self._conviction = rng.normal(bias, 2, market.stock_prices.close.shape)
        self._target_pct = rng.uniform(2, 10, self._conviction.shape)

    def __call__(self, slices: Slices) -> Actions:
        days = slices.trading
        return Actions(self._conviction[days], self._target_pct[days], np.ones(1, dtype=np.float32))


def champion_on(market: Market, rules: RulesConfig, seed: int) -> Ledger:
    slices = Slices(np.array([100]), 100, rules.max_holding_period + rules.fill_lag)
    actions = random_actions(market, seed)(slices)
    return settle(market.stock_prices, slices, actions.conviction, actions.target_pct, rules, gamma=1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["next_open", "close"]), st.sampled_from([2.0, 90.0]))
def test_random_agents_trade_as_much_as_the_champion(seed: int, fill: str, min_target_pct: float) -> None:
    rules = RulesConfig(fill=fill, max_holding_period=5, min_target_pct=min_target_pct, max_target_pct=90)
    champion = champion_on(MARKET, rules, seed)
    agents = matched_ledger(MARKET, champion, rules, 60, np.random.default_rng(seed))
    np.testing.assert_array_equal(agents.bought, np.repeat(champion.bought, 60, axis=0))
    np.testing.assert_allclose(agents.coefficient, np.repeat(champion.coefficient, 60, axis=0), rtol=1e-7)
    bought = agents.bought
    np.testing.assert_array_equal(agents.target_pct[bought], np.repeat(champion.target_pct, 60, axis=0)[bought])

    prices = MARKET.stock_prices
    (mine,), theirs = (score_slices(ledger, prices, rules, 252) for ledger in (champion, agents))
    assert [score.turnover for score in theirs] == pytest.approx([mine.turnover] * 60, rel=1e-6)
    # targets of a few % are met on other days by other stocks; with targets that are never met positions are worth
    # more or less than they cost
    apart = 0.3 if min_target_pct < 10 else 0.02
    assert np.mean([score.exposure for score in theirs]) == pytest.approx(mine.exposure, rel=apart)


def test_random_agents_choose_among_all_that_could_be_bought() -> None:
    rules = CONFIG.rules
    agents = matched_ledger(MARKET, champion_on(MARKET, rules, 0), rules, 300, np.random.default_rng(0))
    counts = np.bincount(agents.stock[agents.bought], minlength=12)
    np.testing.assert_allclose(counts / counts.mean(), 1.0, atol=0.15)
    assert len({tuple(row) for row in agents.stock}) == 300


def test_random_agents_of_a_champion_that_never_trades_do_not_either() -> None:
    rules = CONFIG.rules
    slices = Slices(np.array([100]), 50, 6)
    idle = np.full((1, 50, 12), -50.0)
    champion = settle(MARKET.stock_prices, slices, idle, idle + 60, rules, gamma=1.0)
    assert (matched_ledger(MARKET, champion, rules, 5, np.random.default_rng(0)).stock == NO_STOCK).all()


def test_the_largest_coefficient_is_matched_too() -> None:
    rules = CONFIG.rules
    slices = Slices(np.array([100]), 50, 6)
    eager = np.full((1, 50, 12), 500.0)  # so sure that the sigmoid is 1 to the last digit
    champion = settle(MARKET.stock_prices, slices, eager, eager, rules, gamma=1.0)
    agents = matched_ledger(MARKET, champion, rules, 5, np.random.default_rng(0))
    assert agents.bought.sum() == 5 * champion.bought.sum()
    np.testing.assert_allclose(agents.coefficient[agents.bought], rules.max_coefficient)


@pytest.fixture(scope="module")
def segments() -> list[Segment]:
    return examine(MARKET, CONFIG, random_actions(MARKET, 1), COSTS_BPS)


def test_costs_change_results_and_not_trades(segments: list[Segment]) -> None:
    for segment in segments:
        free, five, dear = (segment.at_cost[cost] for cost in COSTS_BPS)
        assert five == segment.figures[CHAMPION]  # the config's own cost
        assert free["total_return_pct"] > five["total_return_pct"] > dear["total_return_pct"]
        assert free["num_trades"] == dear["num_trades"] == segment.ledger.bought.sum()
        paid = five["total_return_pct"] - dear["total_return_pct"]
        assert paid == pytest.approx(2 * 0.15 * five["turnover"], rel=0.1)  # two sides of 15 basis points more


def test_segments_are_the_splits(segments: list[Segment]) -> None:
    spans = (MARKET.splits.validation, MARKET.splits.holdout)
    assert [(s.days[0], s.days[-1]) for s in segments] == [(span.first, span.last) for span in spans]
    assert [segment.name for segment in segments] == ["validation", "hold-out"]
    assert len(equity_of(segments[1], MARKET)) == 80


def test_an_assessment_is_the_same_every_time_and_tells_of_every_rival(segments: list[Segment]) -> None:
    candidates = np.random.default_rng(0).normal(0, 0.01, (10, 80))
    one, two = (assess(segments, MARKET, candidates[[*range(10), 0]], 3, 4, seed=7) for _ in range(2))
    assert one == two
    assert (one.candidates.total, one.candidates.distinct, one.holdout_openings) == (11, 10, 3)
    assert one.deflated_sharpe
    assert one.deflated_sharpe.trials == 40
    holdout = one.segments["hold-out"]
    assert holdout.beats.keys() == {"buy and hold", "index ^C0", RANDOM}
    assert (holdout.first_date, holdout.days) == (str(MARKET.dates[220]), 80)
    low, high = holdout.intervals["total_return_pct"]
    assert low < holdout.figures[CHAMPION]["total_return_pct"] < high


def test_a_better_champion_beats_more(segments: list[Segment]) -> None:
    """With foresight of the days to come, the champion beats random agents; trading against it, it is beaten."""
    close = MARKET.stock_prices.close
    ahead = np.vstack([close[6:] / close[1:-5] - 1, np.zeros((6, 12))])

    class Foresight(Act):
        def __init__(self, sign: float) -> None:
            self._conviction, self._target_pct = 5 + 10 * sign * ahead, np.full(ahead.shape, 50.0)

    config = Config.model_validate(CONFIG.model_dump() | {"rules": CONFIG.rules.model_dump() | {"cost_bps": 0}})
    sure = {
        sign: assess(examine(MARKET, config, Foresight(sign)), MARKET, None, 1, 1, 0).segments["hold-out"]
        for sign in (1.0, -1.0)
    }
    assert sure[1.0].beats[RANDOM] > 0.99
    assert sure[-1.0].beats[RANDOM] < 0.01


def test_random_agents_curve_is_the_mean_of_theirs(segments: list[Segment]) -> None:
    for segment in segments:
        np.testing.assert_allclose(segment.curves[RANDOM], segment.random_curves.mean(axis=0))
        assert daily_returns(segment.random_curves).shape == (200, 80)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["next_open", "close"]),
    st.sampled_from([0.0, 50.0, 9_999.0]),
    st.sampled_from([0.0, 0.02, 0.5]),
    st.sampled_from([-50.0, -1.0, 50.0]),
)
def test_every_number_of_an_assessment_is_finite(
    seed: int, fill: str, cost_bps: float, volatility: float, bias: float
) -> None:
    """Prices with holes, ended columns, ruinous costs and moves, agents that never trade or always do."""
    holed = make_market(300, stocks=3, seed=seed % 1000, context_days=8, volatility=volatility)
    rng = np.random.default_rng(seed)
    gone = (rng.random(holed.prices.close.shape) < 0.2) | (np.arange(300)[:, None] > rng.integers(150, 600, 4))
    p = holed.prices
    prices = make_prices(*(np.where(gone, np.nan, bar) for bar in (p.open, p.high, p.low, p.close)))
    market = replace(holed, prices=prices)
    rules = CONFIG.rules.model_copy(update={"fill": fill, "cost_bps": cost_bps, "max_holding_period": 1})
    config = CONFIG.model_copy(update={"rules": rules})
    found = assess(
        examine(market, config, random_actions(market, seed, bias), COSTS_BPS), market, None, 1, 1, seed=seed
    )
    json.dumps(asdict(found), allow_nan=False)
    for segment in found.segments.values():
        for figures in segment.figures.values():
            assert 0 <= figures["max_drawdown_pct"] <= 100
            assert figures["total_return_pct"] >= -100
        low, high = segment.intervals["total_return_pct"]
        assert -100 <= low <= high


def test_an_index_without_a_price_on_the_first_day_is_bought_on_its_next() -> None:
    close = MARKET.prices.close.copy()
    first = MARKET.splits.holdout.first
    close[first : first + 5, MARKET.index] = np.nan
    prices = make_prices(close, close, close, close)
    slices = Slices.over(MARKET.splits.holdout, 6)
    curve = hold_curve(prices, np.array([MARKET.index]), slices, RulesConfig(cost_bps=0.0))
    np.testing.assert_array_equal(curve[:5], 1.0)
    np.testing.assert_allclose(curve[5:], close[first + 5 : first + 80, MARKET.index] / close[first + 5, MARKET.index])


def test_everything_annualised_follows_the_periods_of_the_market() -> None:
    """The same bars, taken for days and for weeks."""
    candidates = np.random.default_rng(0).normal(0, 0.01, (10, 80))
    daily, weekly = (
        assess(
            examine(replace(MARKET, periods_per_year=periods), CONFIG, random_actions(MARKET, 1)),
            replace(MARKET, periods_per_year=periods),
            candidates,
            1,
            1,
            0,
        )
        for periods in (252.0, 52.0)
    )
    factor = pytest.approx(np.sqrt(52 / 252))
    for name, segment in weekly.segments.items():
        for other, figures in segment.figures.items():
            assert figures["sharpe_ratio"] / daily.segments[name].figures[other]["sharpe_ratio"] == factor
            assert figures["sortino_ratio"] / daily.segments[name].figures[other]["sortino_ratio"] == factor
            assert figures["total_return_pct"] == daily.segments[name].figures[other]["total_return_pct"]
        assert segment.intervals["sharpe_ratio"][0] / daily.segments[name].intervals["sharpe_ratio"][0] == factor
        assert segment.beats == daily.segments[name].beats
    assert weekly.deflated_sharpe is not None
    assert daily.deflated_sharpe is not None
    assert weekly.deflated_sharpe.expected_best_sharpe / daily.deflated_sharpe.expected_best_sharpe == factor
    assert weekly.deflated_sharpe.probability == pytest.approx(daily.deflated_sharpe.probability)


def test_with_one_stock_random_agents_are_the_champion() -> None:
    """There is nothing to choose, so every figure is the same and the champion beats them as often as not."""
    market = make_market(300, stocks=1, seed=3, context_days=8)
    segments = examine(market, CONFIG, random_actions(market, 1, bias=2.0))
    for segment in segments:
        assert segment.ledger.bought.any()
        np.testing.assert_array_equal(segment.random_curves, np.tile(segment.curves[CHAMPION], (200, 1)))
    found = assess(segments, market, None, 1, 1, 0)
    assert {segment.beats[RANDOM] for segment in found.segments.values()} == {0.5}
