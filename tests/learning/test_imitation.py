"""Crossover in the space of behaviour: judgements, what they agree on, and agents that learn what is best by it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eigen2.learning.agent import Agent
from eigen2.learning.genome import part_of
from eigen2.learning.imitation import SHARP, _level, block_of, imitate, judge
from eigen2.learning.judgement import CLEAR, TARGETS, Judgement, Lesson, agreement, lesson_of
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


def lesson_by(*seeds: int) -> Lesson:
    """What is best by the judgement of agents that have learned a little."""
    return lesson_of(agreement([judge(learned(seed), SPAN) for seed in seeds]))


def taught(agent: Agent, lesson: Lesson, steps: int = 150, seed: int = 0, lr: float = 0.01) -> float:
    return imitate(agent, lesson, steps, lr, BLOCK_DAYS, 1.0, torch.Generator().manual_seed(seed))


def distance(agent: Agent, lesson: Lesson) -> NDArray[np.float64]:
    """Mean square of what the agent does and judges otherwise: convictions before they are sharpened, targets,
    purchases, states."""
    own, days = judge(agent, SPAN), np.arange(SPAN.first, SPAN.last + 1)
    target = (agent.policy(days).target_pct - RULES.min_target_pct) / (RULES.max_target_pct - RULES.min_target_pct)
    taught_with = np.searchsorted(TARGETS, lesson.target)[..., None]
    purchase = np.take_along_axis(own.values, taught_with, axis=2)[..., 0]
    does = own.conviction / SHARP, target, purchase, own.state
    return np.array([np.square(left - right).mean() for left, right in zip(does, lesson[1:], strict=True)])


# --- judgements ---------------------------------------------------------------------------------------------------


def without_names(agent: Agent) -> Agent:
    """All columns have one name: nothing is said by it."""
    with torch.no_grad():
        agent.networks.encoder.column[:] = agent.networks.encoder.column[0].clone()
    return agent


def test_a_judgement_has_what_the_agent_wants_on_each_day() -> None:
    agent = without_names(learned(1))
    judged, days = judge(agent, SPAN), np.arange(SPAN.first, SPAN.last + 1)
    np.testing.assert_allclose(judged.conviction, agent.policy(days).conviction, atol=1e-5)
    assert judged.values.shape == (*judged.conviction.shape, len(TARGETS))
    assert judged.state.shape == days.shape


def test_a_judgement_values_purchases_with_each_target() -> None:
    agent = without_names(learned(1))
    judged, encoding = judge(agent, SPAN), agent.encode(torch.tensor([SPAN.first]), SPAN.days)
    stocks = encoding.columns[:, :, agent.market.stocks]
    for number, share in enumerate(TARGETS):
        target = torch.full(stocks.shape[:-1], share)
        value = agent.networks.critic.purchase(stocks, encoding.context, target)[:, 0].detach().numpy()
        np.testing.assert_allclose(judged.values[..., number], value, atol=1e-5)


def named(seed: int, width: float) -> Agent:
    """An agent whose columns' names differ widely, so that convictions do too."""
    agent = learned(seed)
    with torch.no_grad():
        agent.networks.encoder.column += width * torch.randn(
            agent.networks.encoder.column.shape, generator=torch.Generator().manual_seed(seed)
        )
    return agent


def test_what_a_judgement_leaves_out_is_one_number_a_stock() -> None:
    agent = named(1, width=0.3)
    wanted = agent.policy(np.arange(SPAN.first, SPAN.last + 1)).conviction
    left_out = wanted - judge(agent, SPAN).conviction
    assert left_out.mean(axis=0).std() > 10 * left_out.std(axis=0).max()
    assert abs(left_out.mean()) < 1e-5  # the level of all stocks stays


def test_a_judgement_leaves_out_the_luck_of_a_stock_and_not_what_its_days_say() -> None:
    """With wide names what is wanted of stocks differs mostly by these; what is judged of them, by their history."""
    agent = named(1, width=0.3)
    days = np.arange(SPAN.first, SPAN.last + 1)
    wanted, judged = agent.policy(days).conviction, judge(agent, SPAN).conviction
    plain = without_names(named(1, width=0.3)).policy(days).conviction

    def apart(of: NDArray[np.float32]) -> float:
        """By how much stocks differ in the mean of the days."""
        return float((of - plain).mean(axis=0).std())

    assert apart(judged) < apart(wanted) / 3


def test_days_on_which_a_stock_is_not_seen_have_no_part_in_what_is_left_out() -> None:
    by_name = np.random.default_rng(0).normal(size=(6, 3, 2)).astype(np.float32)
    seen = np.ones((6, 3), dtype=bool)
    seen[:4, 0] = False
    level = _level(by_name, seen)
    expected = np.stack([by_name[4:, 0].mean(axis=0), by_name[:, 1].mean(axis=0), by_name[:, 2].mean(axis=0)])
    np.testing.assert_allclose(level, expected - expected.mean(axis=0), atol=1e-6)


def test_a_stock_that_is_never_seen_has_a_judgement_too() -> None:
    by_name, seen = np.ones((6, 2, 1), np.float32), np.ones((6, 2), dtype=bool)
    seen[:, 1] = False
    assert np.isfinite(_level(by_name, seen)).all()


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
    lesson = lesson_by(1)
    conviction, _, _, state = block_of(lesson, torch.tensor([SPAN.first + 3, SPAN.first]), 5, torch.device("cpu"))
    np.testing.assert_array_equal(conviction[:, 0], lesson.conviction[3:8])
    np.testing.assert_array_equal(state[:, 1], lesson.state[:5])


def test_an_agreement_of_equals_is_their_mean() -> None:
    one = judge(learned(1), SPAN)
    other = one._replace(conviction=-one.conviction, values=-one.values, state=one.state + 2)
    agreed = agreement([one, other])
    np.testing.assert_allclose(agreed.conviction, 0, atol=1e-6)
    np.testing.assert_allclose(agreed.state, one.state + 1, atol=1e-6)
    np.testing.assert_allclose(agreed.values, 0, atol=1e-6)
    assert agreed.first == SPAN.first
    assert {array.dtype for array in agreed[1:]} == {np.dtype(np.float32)}


def test_who_sees_twice_the_difference_between_stocks_has_four_times_the_say() -> None:
    one = judge(learned(1), SPAN)
    other = one._replace(values=2 * one.values, conviction=one.conviction + 5)
    agreed = agreement([one, other])
    say = 4 / 5
    np.testing.assert_allclose(agreed.conviction, one.conviction + 5 * say, rtol=1e-3)


def test_who_only_keeps_judgements_does_without_torch() -> None:
    """The vault, through which they go to the heir."""
    code = "import sys, eigen2.training.vault, eigen2.learning.judgement; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- lessons ------------------------------------------------------------------------------------------------------


def agreed_values(values: list[list[float]]) -> Judgement:
    """One day of stocks that nobody has a conviction of, with their values by target."""
    array = np.array([values], dtype=np.float32)
    return Judgement(0, np.zeros(array.shape[:2], np.float32), array, np.zeros(1, np.float32))


def test_a_purchase_has_the_target_of_the_highest_value_and_that_value() -> None:
    lesson = lesson_of(agreed_values([[1, 2, 3, 2, 1], [5, 4, 3, 2, 1], [-3, -3, -3, -3, -1]]))
    assert lesson.target.tolist() == [[0.5, 0, 1]]
    assert lesson.purchase.tolist() == [[3, 5, -1]]


def test_convictions_rise_by_what_is_clearly_worth_it_and_fall_by_what_is_not() -> None:
    lesson = lesson_of(agreed_values([[9.0] * 5, [0.0] * 5, [-9.0] * 5, [0.2] * 5, [-0.2] * 5]))
    good, nothing, bad, little, minus = lesson.conviction[0].tolist()
    assert [good, nothing, bad] == pytest.approx([CLEAR, 0, -CLEAR])
    assert 0 < little < CLEAR / 9
    assert minus == -little


def test_of_two_clear_values_convictions_say_which_comes_first() -> None:
    agreed = agreed_values([[8.0] * 5, [9.0] * 5, [-9.0] * 5, [-9.0] * 5])
    lesson = lesson_of(agreed._replace(conviction=np.array([[1, -1, 0, 0]], np.float32)))
    np.testing.assert_allclose(lesson.conviction, [[1 + CLEAR, -1 + CLEAR, -CLEAR, -CLEAR]])


def test_values_that_are_clear_of_all_alike_say_nothing() -> None:
    """Their level is untrue where nearly all days buy at full size: nothing tells the purchase's from the day's."""
    agreed = agreed_values([[8.0] * 5, [9.0] * 5, [7.0] * 5])
    lesson = lesson_of(agreed._replace(conviction=np.array([[1, -2, 0.5]], np.float32)))
    np.testing.assert_allclose(lesson.conviction, [[1, -2, 0.5]], atol=1e-6)


def test_where_nothing_has_a_value_convictions_stay() -> None:
    agreed = agreed_values([[0.0] * 5, [0.0] * 5])
    lesson = lesson_of(agreed._replace(conviction=np.array([[1, -2]], np.float32)))
    assert lesson.conviction.tolist() == [[1, -2]]
    assert {array.dtype for array in lesson[1:]} == {np.dtype(np.float32)}


# --- imitation ----------------------------------------------------------------------------------------------------


def test_an_agent_learns_what_is_best_by_what_others_agree_on() -> None:
    agent, lesson = learned(0), lesson_by(1, 2)
    before = distance(agent, lesson)
    loss = taught(agent, lesson, steps=300)
    assert (distance(agent, lesson) < before / 2).all()
    assert loss < taught(learned(0), lesson, steps=1)


def test_who_learned_a_lesson_buys_all_or_nothing() -> None:
    agent, lesson = learned(0), lesson_by(1, 2)
    taught(agent, lesson, steps=300)
    sizes = torch.sigmoid(torch.tensor(judge(agent, SPAN).conviction))
    meant = torch.sigmoid(torch.tensor(lesson.conviction))
    between = [((of > 0.1) & (of < 0.9)).float().mean().item() for of in (sizes, meant)]
    assert between[0] < between[1] / 2


def test_what_is_sharper_than_the_lesson_is_softened_to_its_scale_first() -> None:
    """From lesson to lesson convictions would grow otherwise."""
    agent, lesson = learned(0), lesson_by(1)
    agent.networks.actor.scale_convictions(1e3)
    for _ in range(2):
        taught(agent, lesson, steps=0)
        assert judge(agent, SPAN).conviction.std() == pytest.approx(SHARP * lesson.conviction.std(), rel=1e-3)


def test_an_agent_that_wants_little_begins_as_it_is() -> None:
    agent = learned(0)
    before = judge(agent, SPAN).conviction
    lesson = lesson_by(1)
    assert before.std() < lesson.conviction.std()
    taught(agent, lesson, steps=0)
    np.testing.assert_allclose(judge(agent, SPAN).conviction, SHARP * before, rtol=1e-3, atol=1e-4)


def test_the_level_of_the_days_values_does_not_outweigh_what_is_wanted() -> None:
    """It grows with the discount's horizon, and no action depends on it."""
    lesson = lesson_by(1)
    convictions = []
    for level in (0, 20):
        agent = learned(0)
        taught(agent, lesson._replace(state=lesson.state + level))
        convictions.append(distance(agent, lesson)[0])
    assert convictions[1] < 2 * convictions[0]


def test_days_on_which_stocks_are_all_alike_do_not_outweigh_the_others() -> None:
    lesson = lesson_by(1)
    alike = lesson.conviction.copy()
    alike[: len(alike) // 2] = alike.mean()
    agent = learned(0)
    taught(agent, lesson._replace(conviction=alike))
    wrong = np.square(judge(agent, SPAN).conviction / SHARP - alike)[len(alike) // 2 :].mean()
    assert wrong < 0.65 * alike[len(alike) // 2 :].var()


def test_targets_follow_at_once_and_optimisers_stay() -> None:
    agent = learned(0)
    before = agent.state()
    taught(agent, lesson_by(1), steps=2)
    after = agent.state()
    assert all(after[name].tobytes() == before[name].tobytes() for name in after if "adam" in name)
    online, target = part_of(after, "online/"), part_of(after, "target/")
    assert all(online[name].tobytes() == target[name].tobytes() for name in online)
    assert any(online[name].tobytes() != before[f"online/{name}"].tobytes() for name in online)


def test_imitation_is_the_same_to_the_bit_and_draws_from_its_generator() -> None:
    lesson = lesson_by(1)
    states = []
    for seed in (3, 3, 4):
        agent = learned(0)
        taught(agent, lesson, steps=3, seed=seed)
        states.append(b"".join(array.tobytes() for array in agent.genome().values()))
    assert states[0] == states[1] != states[2]


def test_an_agent_learns_on_after_imitation() -> None:
    """Gradients that imitation leaves behind would be added to the next update's."""
    agent = learned(0)
    taught(agent, lesson_by(1), steps=2)
    assert all(parameter.grad is None for parameter in agent.networks.parameters())
    agent.update(*make_batch(0), BLOCK_DAYS, torch.Generator().manual_seed(0))
