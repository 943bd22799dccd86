"""Crossover in the space of behaviour: judgements, their mean, and agents that learn it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eigen2.learning.agent import Agent
from eigen2.learning.genome import part_of
from eigen2.learning.imitation import block_of, imitate, judge
from eigen2.learning.judgement import Judgement, agreement
from eigen2.market.market import Span
from tests.learning.small import BLOCK_DAYS, RULES, make_agent, make_batch, small_market

MARKET = small_market()
SPAN = MARKET.splits.training


def learned(seed: int) -> Agent:
    """An agent of its own beginnings that has learned a little."""
    agent = make_agent(MARKET, seed=seed)
    for batch in range(3):
        agent.update(*make_batch(seed + batch), BLOCK_DAYS, torch.Generator().manual_seed(seed))
    return agent


def taught(agent: Agent, judgement: Judgement, steps: int = 150, seed: int = 0, lr: float = 0.01) -> float:
    return imitate(agent, judgement, steps, lr, BLOCK_DAYS, 1.0, torch.Generator().manual_seed(seed))


def distance(one: Judgement, other: Judgement) -> NDArray[np.float64]:
    """Mean square of what they judge otherwise: convictions, targets, purchases, states."""
    return np.array([np.square(left - right).mean() for left, right in zip(one[1:], other[1:], strict=True)])


# --- judgements ---------------------------------------------------------------------------------------------------


def test_a_judgement_has_what_the_agent_wants_on_each_day() -> None:
    agent = learned(1)
    judged, days = judge(agent, SPAN), np.arange(SPAN.first, SPAN.last + 1)
    policy = agent.policy(days)
    low, high = RULES.min_target_pct, RULES.max_target_pct
    np.testing.assert_allclose(judged.conviction, policy.conviction, atol=1e-5)
    np.testing.assert_allclose(low + judged.target * (high - low), policy.target_pct, atol=1e-4)
    assert judged.purchase.shape == judged.conviction.shape
    assert judged.state.shape == days.shape


def test_a_judgement_in_pieces_is_the_judgement_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = learned(1)
    whole = judge(agent, SPAN)
    monkeypatch.setattr("eigen2.learning.imitation.PIECE_DAYS", 7)
    for left, right in zip(whole[1:], judge(agent, SPAN)[1:], strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_a_judgement_knows_no_later_day() -> None:
    later = replace(MARKET, features=MARKET.features.copy())
    later.features[SPAN.first + 10 :, :, :-1] += 1
    first = Span(SPAN.first, SPAN.first + 9)
    for left, right in zip(judge(make_agent(MARKET), first), judge(make_agent(later), first), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_block_is_cut_from_its_days() -> None:
    judged = judge(learned(1), SPAN)
    conviction, _, _, state = block_of(judged, torch.tensor([SPAN.first + 3, SPAN.first]), 5, torch.device("cpu"))
    np.testing.assert_array_equal(conviction[:, 0], judged.conviction[3:8])
    np.testing.assert_array_equal(state[:, 1], judged.state[:5])


def test_an_agreement_of_equals_is_their_mean() -> None:
    one = judge(learned(1), SPAN)
    other = one._replace(conviction=-one.conviction, purchase=-one.purchase, state=one.state + 2)
    agreed = agreement([one, other])
    np.testing.assert_allclose(agreed.conviction, 0, atol=1e-6)
    np.testing.assert_allclose(agreed.state, one.state + 1, atol=1e-6)
    np.testing.assert_allclose(agreed.target, one.target, atol=1e-6)
    assert agreed.first == SPAN.first
    assert {array.dtype for array in agreed[1:]} == {np.dtype(np.float32)}


def test_who_sees_twice_the_difference_between_stocks_has_four_times_the_say() -> None:
    one = judge(learned(1), SPAN)
    other = one._replace(purchase=2 * one.purchase, conviction=one.conviction + 5)
    agreed = agreement([one, other])
    say = 4 / 5
    np.testing.assert_allclose(agreed.conviction, one.conviction + 5 * say, rtol=1e-3)


def test_of_targets_the_middle_one_is_agreed_on() -> None:
    """Two who sell at once and one who waits agree on selling at once, whatever their say."""
    one = judge(learned(1), SPAN)
    soon, late = one._replace(target=np.zeros_like(one.target)), one._replace(target=np.ones_like(one.target))
    agreed = agreement([soon, late._replace(purchase=9 * one.purchase), soon])
    np.testing.assert_array_equal(agreed.target, soon.target)


def test_who_only_keeps_judgements_does_without_torch() -> None:
    """The vault, through which they go to the heir."""
    code = "import sys, eigen2.training.vault, eigen2.learning.judgement; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- imitation ----------------------------------------------------------------------------------------------------


def test_an_agent_learns_what_others_agree_on() -> None:
    agent, agreed = learned(0), agreement([judge(learned(seed), SPAN) for seed in (1, 2)])
    before = distance(judge(agent, SPAN), agreed)
    loss = taught(agent, agreed)
    assert (distance(judge(agent, SPAN), agreed) < before / 3).all()
    assert loss < taught(learned(0), agreed, steps=1)


def test_the_level_of_the_days_values_does_not_outweigh_what_is_wanted() -> None:
    """It grows with the discount's horizon, and no action depends on it."""
    judgement = judge(learned(1), SPAN)
    convictions = []
    for level in (0, 20):
        agent = learned(0)
        taught(agent, judgement._replace(state=judgement.state + level))
        convictions.append(distance(judge(agent, SPAN), judgement)[0])
    assert convictions[1] < 2 * convictions[0]


def test_days_on_which_stocks_are_all_alike_do_not_outweigh_the_others() -> None:
    judgement = judge(learned(1), SPAN)
    alike = judgement.conviction.copy()
    alike[: len(alike) // 2] = alike.mean()
    agent = learned(0)
    taught(agent, judgement._replace(conviction=alike))
    wrong = np.square(judge(agent, SPAN).conviction - alike)[len(alike) // 2 :].mean()
    assert wrong < 0.65 * alike[len(alike) // 2 :].var()


def test_targets_follow_at_once_and_optimisers_stay() -> None:
    agent = learned(0)
    before = agent.state()
    taught(agent, judge(learned(1), SPAN), steps=2)
    after = agent.state()
    assert all(after[name].tobytes() == before[name].tobytes() for name in after if "adam" in name)
    online, target = part_of(after, "online/"), part_of(after, "target/")
    assert all(online[name].tobytes() == target[name].tobytes() for name in online)
    assert any(online[name].tobytes() != before[f"online/{name}"].tobytes() for name in online)


def test_imitation_is_the_same_to_the_bit_and_draws_from_its_generator() -> None:
    judgement = judge(learned(1), SPAN)
    states = []
    for seed in (3, 3, 4):
        agent = learned(0)
        taught(agent, judgement, steps=3, seed=seed)
        states.append(b"".join(array.tobytes() for array in agent.genome().values()))
    assert states[0] == states[1] != states[2]


def test_an_agent_learns_on_after_imitation() -> None:
    """Gradients that imitation leaves behind would be added to the next update's."""
    agent = learned(0)
    taught(agent, judge(learned(1), SPAN), steps=2)
    assert all(parameter.grad is None for parameter in agent.networks.parameters())
    agent.update(*make_batch(0), BLOCK_DAYS, torch.Generator().manual_seed(0))
