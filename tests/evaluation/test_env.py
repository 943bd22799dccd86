"""The gymnasium environment: the field's contract, and the same outcome as the rules alone."""

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as check_gymnasium
from numpy.typing import NDArray
from stable_baselines3.common.env_checker import check_env as check_stable_baselines

from eigen2.config import AgentConfig, Config, DDPGConfig, RulesConfig, SlicesConfig
from eigen2.errors import ConfigError
from eigen2.evaluation.env import ENV_ID, FEATURE_BOUND, TradingEnv
from eigen2.market.build import FEATURE_LIMIT
from eigen2.trading.ledger import Ledger, Slices
from eigen2.trading.rules import settle
from tests.synthetic import make_market

CONTEXT = 16
CONFIG = Config(
    agent=AgentConfig(context_days=CONTEXT, conviction_range=8.0),
    slices=SlicesConfig(trading_days=20),
    rules=RulesConfig(max_holding_period=5, min_target_pct=2, max_target_pct=6, zero_trades_penalty=500),
    ddpg=DDPGConfig(gamma=0.9),
)
LENGTH = 20 + 5 + 1  # trading days, holding period, one day to the fill
MARKET = make_market(days=300, stocks=4, context=2, seed=3, context_days=CONTEXT)
SPANS = {"training": (15, 139), "validation": (140, 219), "holdout": (220, 299)}


def make_env(**changed: Any) -> TradingEnv:
    return TradingEnv(MARKET, changed.pop("config", CONFIG), **changed)


def random_actions(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, (LENGTH, 4, 2)).astype(np.float32)


def play(env: TradingEnv, actions: NDArray[np.floating], start: int) -> tuple[list[float], list[dict[str, Any]]]:
    """Rewards and infos of the steps of one episode."""
    env.reset(options={"start": start})
    rewards, infos = [], []
    for step, action in enumerate(actions):
        _, reward, terminated, truncated, info = env.step(action)
        rewards.append(reward)
        infos.append(info)
        assert terminated == (step == LENGTH - 1)
        assert not truncated
    return rewards, infos


def settled(actions: NDArray[np.floating], start: int) -> Ledger:
    """What the rules make of the same actions: convictions in -4..4, targets in 2..6 %."""
    trading = np.asarray(actions, dtype=np.float64)[None, :20]
    slices = Slices(np.array([start]), 20, 6)
    conviction, target_pct = trading[..., 0] * 4, 2 + (trading[..., 1] + 1) * 2
    return settle(MARKET.stock_prices, slices, conviction, target_pct, CONFIG.rules, gamma=0.9)


def test_gymnasium_contract() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # an unregistered instance has no other render mode to try
        warnings.filterwarnings("ignore", message=".*alternative render modes.*")
        check_gymnasium(make_env())


def test_stable_baselines_contract() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # it takes any observation of three dimensions for an image
        warnings.filterwarnings("ignore", message=".*an image.*")
        check_stable_baselines(make_env())


@pytest.mark.parametrize("start", [15, 60, 114])
def test_episode_pays_the_ledgers_rewards(start: int) -> None:
    actions = random_actions(seed=start)
    rewards, infos = play(make_env(), actions, start)
    ledger = settled(actions, start)
    assert ledger.bought.sum() > 5
    assert rewards == ledger.rewards[0].tolist()
    assert infos[-1]["ledger"] == {"fitness": ledger.fitness[0], "num_trades": ledger.bought.sum()}
    assert not any("ledger" in info for info in infos[:-1])


def test_episode_without_a_trade_pays_for_it_on_the_last_day() -> None:
    rewards, infos = play(make_env(), np.full((LENGTH, 4, 2), -1.0), start=20)
    assert rewards == [-1.0] * 20 + [0.0] * 5 + [-500.0]
    assert infos[-1]["ledger"] == {"fitness": -520.0, "num_trades": 0}


def test_actions_of_settlement_days_are_ignored() -> None:
    actions, other = random_actions(seed=1), random_actions(seed=2)
    other[:20] = actions[:20]
    env = make_env()
    assert play(env, actions, 30)[0] == play(env, other, 30)[0]


def test_actions_are_clipped_to_their_range() -> None:
    actions = random_actions(seed=5) * 3
    assert play(make_env(), actions, 40)[0] == settled(actions.clip(-1, 1), 40).rewards[0].tolist()


def test_observations_end_with_the_day_of_the_decision() -> None:
    env = make_env()
    observation, info = env.reset(options={"start": 50})
    assert info == {"date": str(MARKET.dates[50]), "step": 0}
    np.testing.assert_array_equal(observation, MARKET.features[50 - 15 : 51])
    for step, action in enumerate(random_actions(seed=0)):
        observation, _, _, _, info = env.step(action)
        day = 50 + min(step + 1, LENGTH - 1)  # the last day is followed by none
        assert (info["date"], info["step"]) == (str(MARKET.dates[day]), day - 50)
        np.testing.assert_array_equal(observation, MARKET.features[day - 15 : day + 1])


def test_observation_is_a_copy() -> None:
    observation, _ = make_env().reset(options={"start": 50})
    before = MARKET.features[50].copy()
    observation += 1
    np.testing.assert_array_equal(MARKET.features[50], before)


def starts(env: TradingEnv, seed: int, count: int) -> list[str]:
    first = env.reset(seed=seed)[1]["date"]
    return [first, *(env.reset()[1]["date"] for _ in range(count - 1))]


def test_seed_decides_the_starts() -> None:
    assert starts(make_env(), seed=7, count=5) == starts(make_env(), seed=7, count=5)
    assert starts(make_env(), seed=7, count=5) != starts(make_env(), seed=8, count=5)


@pytest.mark.parametrize("span", SPANS)
def test_random_slices_reach_both_ends_of_the_span_and_not_beyond(span: Any) -> None:
    first, last = SPANS[span]
    drawn = {np.datetime64(date) for date in starts(make_env(span=span), seed=0, count=1500)}
    assert min(drawn) == MARKET.dates[first]
    assert max(drawn) == MARKET.dates[last - LENGTH + 1]


@pytest.mark.parametrize("start", [139, 195, -1])
def test_start_outside_of_the_span_is_refused_with_the_bounds(start: int) -> None:
    env = make_env(span="validation")
    with pytest.raises(ConfigError, match=rf"start is day {start}, .* 26 days must start on day 140\.\.194"):
        env.reset(options={"start": start})
    assert env.reset(options={"start": 194})[1]["date"] == str(MARKET.dates[194])


def test_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="'begin'"):
        make_env().reset(options={"begin": 50})


def test_slice_that_does_not_fit_is_refused() -> None:
    too_long = CONFIG.model_copy(update={"slices": SlicesConfig(trading_days=75)})
    with pytest.raises(ConfigError, match="validation days are 80, shorter than a slice of 81"):
        make_env(config=too_long, span="validation")


def test_market_without_the_history_of_an_observation_is_refused() -> None:
    longer = CONFIG.model_copy(update={"agent": AgentConfig(context_days=17)})
    with pytest.raises(ConfigError, match=r"start on day 15, but agent\.context_days 17 needs 16"):
        make_env(config=longer)


def test_unknown_span_is_refused() -> None:
    with pytest.raises(ConfigError, match="training, validation, holdout"):
        make_env(span="test")


@pytest.mark.parametrize(("action", "said"), [(np.zeros((4, 3)), "shape"), (np.full((4, 2), np.nan), "finite")])
def test_unusable_action_is_refused(action: NDArray[np.float64], said: str) -> None:
    env = make_env()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=said):
        env.step(action)


def test_step_needs_a_reset_first_and_after_the_end() -> None:
    env = make_env()
    with pytest.raises(ResetNeeded):
        env.step(np.zeros((4, 2)))
    play(env, random_actions(seed=0), start=30)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros((4, 2)))


def test_registered_environment_is_made_with_a_market() -> None:
    env = gymnasium.make(ENV_ID, market=MARKET, config=CONFIG, span="holdout")
    _, info = env.reset(seed=0, options={"start": 230})
    assert info["date"] == str(MARKET.dates[230])


def test_environment_without_a_market_trades_the_configured_one() -> None:
    env = gymnasium.make(f"eigen2.evaluation.env:{ENV_ID}")
    observation, _ = env.reset(seed=0)
    assert observation.shape == (64, 21, 6 + 1)  # six indicators, and whether a column is seen
    assert env.action_space.shape == (20, 2)
    assert FEATURE_BOUND == FEATURE_LIMIT
    observation, reward, _, _, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert np.isfinite(reward)
