"""The agent: acting, one update, and its state."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from eigen2.arrays import Arrays
from eigen2.errors import RunError
from eigen2.learning.agent import Agent, runs_of
from eigen2.learning.genome import genome_of
from eigen2.market.market import Market
from eigen2.trading.ledger import Slices
from tests.learning.small import AGENT, BLOCK_DAYS, RULES, STOCKS, make_agent, make_batch, make_rows, small_market

SLICES = Slices(np.array([20, 90, 41]), 12, 6)
MARKET = small_market()


@pytest.fixture
def agent() -> Agent:
    return make_agent(MARKET)


def update(agent: Agent, seed: int = 0) -> dict[str, float]:
    return agent.update(*make_batch(seed), BLOCK_DAYS, noise(seed))


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def part(state: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def assert_identical(left: Arrays, right: Arrays) -> None:
    assert list(left) == list(right)
    assert [name for name in left if left[name].tobytes() != right[name].tobytes()] == []


def differing(left: Arrays, right: Arrays) -> set[str]:
    return {name for name in left if left[name].tobytes() != right[name].tobytes()}


# --- acting -------------------------------------------------------------------------------------------------------


def test_the_seed_alone_decides_the_first_genome() -> None:
    torch.manual_seed(1)
    one = make_agent(MARKET, seed=5)
    torch.manual_seed(2)
    assert_identical(make_agent(MARKET, seed=5).genome(), one.genome())
    assert "encoder.embed.weight" in differing(make_agent(MARKET, seed=6).genome(), one.genome())


def test_making_an_agent_leaves_torchs_own_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    make_agent(MARKET)
    assert torch.equal(torch.rand(3), expected)


def test_actions_have_a_conviction_and_a_target_a_stock_and_day(agent: Agent) -> None:
    actions = agent.act(SLICES)
    assert actions.conviction.shape == actions.target_pct.shape == (3, 12, STOCKS)
    assert actions.attention.shape == (len(MARKET.columns),)
    assert actions.attention.sum() == pytest.approx(1, abs=1e-5)


def test_without_noise_an_agent_acts_the_same_every_time(agent: Agent) -> None:
    first, again = agent.act(SLICES), agent.act(SLICES, 0.0, np.random.default_rng(1))
    assert [part.tobytes() for part in first] == [part.tobytes() for part in again]


def test_noise_comes_from_the_stream_given(agent: Agent) -> None:
    calm = agent.act(SLICES)
    one, again, other = (agent.act(SLICES, 0.1, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for number in (0, 1):
        assert one[number].tobytes() == again[number].tobytes()
        assert len({actions[number].tobytes() for actions in (calm, one, other)}) == 3


def test_noise_on_the_conviction_is_a_share_of_its_range(agent: Agent) -> None:
    slices = Slices(np.arange(20, 60), 100, 6)
    added = agent.act(slices, 0.1, np.random.default_rng(0)).conviction - agent.act(slices).conviction
    assert added.std() == pytest.approx(0.1 * AGENT.conviction_range, rel=0.03)
    assert abs(added.mean()) < 0.03


@pytest.mark.parametrize("noise", [0.0, 0.3, 10.0])
def test_targets_stay_in_their_range_under_any_noise(agent: Agent, noise: float) -> None:
    target = agent.act(SLICES, noise, np.random.default_rng(0)).target_pct
    assert target.min() >= RULES.min_target_pct
    assert target.max() <= RULES.max_target_pct


def test_an_action_depends_on_no_later_day_and_on_no_other_slice(agent: Agent) -> None:
    actions = agent.act(SLICES)
    for k, start in enumerate(SLICES.starts):
        shorter = agent.act(Slices(np.array([start]), 5, 6))
        np.testing.assert_allclose(shorter.conviction[0], actions.conviction[k, :5], atol=1e-5)
        np.testing.assert_allclose(shorter.target_pct[0], actions.target_pct[k, :5], atol=1e-4)


def test_days_that_are_close_share_a_pass_and_others_do_not() -> None:
    days = np.array([3, 4, 5, 8, 20, 21])
    assert [run.tolist() for run in runs_of(days, gap=2)] == [[3, 4, 5, 8], [20, 21]]
    assert [run.tolist() for run in runs_of(days, gap=1.9)] == [[3, 4, 5], [8], [20, 21]]
    assert [run.tolist() for run in runs_of(days, gap=100)] == [days.tolist()]


def test_a_policy_gives_slices_what_they_would_get_alone(agent: Agent) -> None:
    policy = agent.policy(np.union1d(SLICES.trading, np.arange(15, 60)))
    for shared, alone in zip(policy.on(SLICES), agent.act(SLICES), strict=True):
        np.testing.assert_allclose(shared, alone, atol=1e-4)


# --- one update ---------------------------------------------------------------------------------------------------


def test_an_update_moves_encoder_actor_and_critic(agent: Agent) -> None:
    before = agent.genome()
    figures = update(agent)
    moved = differing(before, agent.genome())
    assert {name.split(".")[0] for name in moved} == {"encoder", "actor", "critic"}
    assert set(figures) == {"actor_loss", "critic_loss", "q_mean", "grad_norm"}
    assert all(np.isfinite(value) for value in figures.values())


def test_targets_follow_by_exactly_tau() -> None:
    agent = make_agent(MARKET, tau=0.25)
    for step in range(3):
        before = part(agent.state(), "target/")
        update(agent, seed=step)
        state = agent.state()
        online, target = part(state, "online/"), part(state, "target/")
        for name in before:
            expected = 0.25 * online[name].astype(np.float64) + 0.75 * before[name]
            np.testing.assert_allclose(target[name], expected, rtol=1e-6, atol=1e-7)


def test_the_same_update_of_the_same_agent_is_the_same_to_the_bit() -> None:
    one, other = make_agent(MARKET), make_agent(MARKET)
    assert update(one) == update(other)
    assert_identical(one.state(), other.state())


@pytest.mark.parametrize("max_grad_norm", [1e9, 0.01])
@pytest.mark.parametrize("pieces", [2, 3, 4, 100])
def test_an_update_in_pieces_is_the_update_in_one(pieces: int, max_grad_norm: float) -> None:
    whole = make_agent(MARKET, max_grad_norm=max_grad_norm)
    cut = make_agent(MARKET, max_grad_norm=max_grad_norm, micro_batches=pieces)
    assert update(cut) == pytest.approx(update(whole), rel=1e-4, abs=1e-6)
    one, other = whole.state(), cut.state()
    # Adam turns a gradient of nothing but rounding into a full step, so gradients are compared, not weights
    moments = [name for name in one if "exp_avg" in name]
    assert moments
    for name in moments:
        np.testing.assert_allclose(other[name], one[name], rtol=2e-3, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(("blocks", "pieces"), [(1, 1), (3, 3)])
def test_a_single_transition_is_a_batch(blocks: int, pieces: int) -> None:
    figures = make_agent(MARKET, micro_batches=pieces).update(*make_batch(0, blocks, per_block=1), BLOCK_DAYS, noise())
    assert all(np.isfinite(value) for value in figures.values())


def test_the_gradient_is_clipped_to_its_largest_norm() -> None:
    agent = make_agent(MARKET, max_grad_norm=0.01)
    assert update(agent)["grad_norm"] > 0.01
    for name in ("critic_adam/", "actor_adam/"):
        moments = [value.ravel() for key, value in part(agent.state(), name).items() if key.endswith("exp_avg")]
        # after one step exp_avg is (1 - beta1) times the gradient
        assert np.linalg.norm(np.concatenate(moments)) <= 0.1 * 0.01 * 1.001


def test_the_actor_learns_from_a_frozen_critic_and_a_detached_encoder() -> None:
    """Without a learning rate of the critic, only the actor moves."""
    agent = make_agent(MARKET, critic_lr=1e-12, weight_decay=0)
    before = agent.genome()
    update(agent)
    after = agent.genome()
    for name in before:
        moved = np.abs(after[name] - before[name]).max()
        assert (moved > 1e-5) == name.startswith("actor."), name


def test_what_was_not_bought_has_no_say_in_the_critics_loss() -> None:
    first, rows = make_batch()
    other = rows.copy()
    rows["stock"], other["stock"] = -1, -1
    for batch in (rows, other):
        batch["coefficient"] = 0
    rows["target_pct"], other["target_pct"] = 5, 20
    losses = [make_agent(MARKET).update(first, batch, BLOCK_DAYS, noise())["critic_loss"] for batch in (rows, other)]
    assert losses[0] == losses[1]


def test_the_day_after_a_last_trading_day_has_no_value() -> None:
    """With every row done, the discount does not matter; with none, it does."""
    first, rows = make_batch()
    for done in (True, False):
        rows["done"] = done
        losses = [
            make_agent(MARKET, gamma=gamma).update(first, rows, BLOCK_DAYS, noise())["critic_loss"]
            for gamma in (0.1, 1)
        ]
        assert (losses[0] == losses[1]) == done


@pytest.mark.parametrize(("later", "matters"), [(1, True), (2, False)])
def test_a_transition_is_worth_what_the_next_day_is_worth(later: int, matters: bool) -> None:
    """The last day of a block takes its value from the day after it, and from no later one."""
    first, last = np.array([50]), 50 + BLOCK_DAYS - 1
    rows = make_rows(np.array([[last]]))
    rows["done"] = False
    features = MARKET.features.copy()
    features[last + later, :, 0] += 1
    changed = replace(MARKET, features=features)
    losses = [
        make_agent(market).update(first, rows, BLOCK_DAYS, noise())["critic_loss"] for market in (MARKET, changed)
    ]
    assert (losses[0] != losses[1]) == matters


@pytest.mark.parametrize(("input_noise", "matters"), [(0.0, False), (0.5, True)])
def test_noise_on_the_inputs_comes_from_its_generator(input_noise: float, matters: bool) -> None:
    def learned(seed: int) -> Arrays:
        agent = make_agent(MARKET, input_noise=input_noise)
        agent.update(*make_batch(), BLOCK_DAYS, noise(seed))
        return agent.genome()

    assert_identical(learned(1), learned(1))
    assert bool(differing(learned(1), learned(2))) == matters


def test_updates_lower_the_critics_loss_on_what_it_sees(agent: Agent) -> None:
    losses = [update(agent)["critic_loss"] for _ in range(150)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


# --- state --------------------------------------------------------------------------------------------------------


def test_a_genome_is_taken_on_and_nothing_else(agent: Agent) -> None:
    update(agent)
    before = agent.state()
    agent.load_genome(make_agent(MARKET, seed=9).genome())
    after = agent.state()
    assert_identical(genome_of(after), make_agent(MARKET, seed=9).genome())
    assert {name.partition("/")[0] for name in differing(before, after)} == {"online"}


def test_a_genome_is_a_copy(agent: Agent) -> None:
    genome = agent.genome()
    before = copy.deepcopy(genome)
    update(agent)
    assert_identical(genome, before)
    agent.load_genome(genome)
    update(agent)
    assert_identical(genome, before)


def test_the_genome_alone_decides_how_an_agent_acts(agent: Agent) -> None:
    update(agent)
    twin = make_agent(MARKET, seed=9)
    twin.load_genome(agent.genome())
    assert [one.tobytes() for one in twin.act(SLICES)] == [one.tobytes() for one in agent.act(SLICES)]


def test_a_restored_agent_learns_on_as_the_saved_one_to_the_bit(agent: Agent) -> None:
    for seed in range(3):
        update(agent, seed)
    restored = make_agent(MARKET, seed=9)
    update(restored, seed=5)
    restored.load_state(agent.state())
    assert_identical(restored.state(), agent.state())
    for seed in range(3, 6):
        assert update(restored, seed) == update(agent, seed)
    assert_identical(restored.state(), agent.state())


def test_an_untrained_state_restores_too(agent: Agent) -> None:
    restored = make_agent(MARKET, seed=9)
    update(restored)
    restored.load_state(agent.state())
    update(restored)
    update(agent)
    assert_identical(restored.state(), agent.state())


@pytest.mark.parametrize("damage", ["missing", "shape"])
def test_a_genome_that_does_not_fit_is_refused(agent: Agent, damage: str) -> None:
    genome = agent.genome()
    if damage == "missing":
        del genome["encoder.query"]
    else:
        genome["encoder.query"] = genome["encoder.query"][:-1]
    with pytest.raises(RunError, match=r"encoder\.query (is missing|has shape)"):
        agent.load_genome(genome)


def test_a_market_of_other_columns_is_another_genome() -> None:
    other: Market = small_market(stocks=STOCKS + 1)
    with pytest.raises(RunError, match=r"encoder\.column has shape"):
        make_agent(other).load_genome(make_agent(MARKET).genome())
