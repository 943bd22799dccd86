"""A member: how it plays, what it is bred into, and what it refuses."""

import numpy as np
import pytest

from eigen2.arrays import Arrays
from eigen2.errors import RunError
from eigen2.evolution.operators import diversity, mutate
from eigen2.evolution.plan import Champion, Cross, Keep, Mutate
from eigen2.learning.genome import ONLINE, genome_of, part_of
from eigen2.learning.imitation import SHARP
from eigen2.learning.judgement import TARGETS, Judgement, agreement, lesson_of
from eigen2.learning.replay import BatchShape, Replay, Sample
from eigen2.randomness import stream
from eigen2.training.member import Member, noise_in
from tests.training.small import MARKET, SMALL, assert_identical, make_member, play, small_config


def make_sample(member: Member) -> Sample:
    replay, config = Replay(500), small_config()
    replay.extend(play(member)[1])
    return replay.sample(
        3, BatchShape.of(config.ddpg, config.replay, config.slices.trading_days), np.random.default_rng(0)
    )


@pytest.fixture
def member() -> Member:
    """Member 2, which has learned a little."""
    member = make_member(2)
    member.train(0, make_sample(member))
    return member


def state_of(number: int) -> Arrays:
    """The state of a member that has learned a little."""
    member = make_member(number)
    member.train(0, make_sample(member))
    return member.state()


FIRST, SECOND = state_of(0), state_of(1)
UNTRAINED = make_member(3).state()


def test_members_start_from_genomes_of_their_own() -> None:
    first, second = make_member(0).genome(), make_member(1).genome()
    assert_identical(make_member(1).genome(), second)
    assert all(first[name].tobytes() != second[name].tobytes() for name in first if name.endswith("out.weight"))


def test_a_play_is_the_same_every_time_and_explores_anew_each_generation(member: Member) -> None:
    (outcome, rows), (again, same_rows) = play(member), play(member)
    assert rows.tobytes() == same_rows.tobytes()
    assert outcome.fitness == again.fitness
    later, other_rows = play(member, generation=1)
    assert rows.tobytes() != other_rows.tobytes()
    assert later.validation_fitness == outcome.validation_fitness
    assert later.validation == outcome.validation


def test_a_play_returns_a_row_a_trading_day_of_every_training_slice(member: Member) -> None:
    outcome, rows = play(member)
    assert len(rows) == SMALL["training_slices"] * SMALL["trading_days"]
    assert rows["done"].sum() == SMALL["training_slices"]
    assert rows["day"].max() <= MARKET.splits.training.last
    assert outcome.importance.shape == (len(MARKET.columns),)


def test_keep_changes_nothing_at_all(member: Member) -> None:
    before = member.state()
    member.breed(0, Keep())
    assert_identical(member.state(), before)


def judgement_of(member: Member) -> Judgement:
    return member.judge(0)[1]


def make_learned(number: int) -> Member:
    member = make_member(number)
    member.load_state([FIRST, SECOND][number])
    return member


def test_a_judgement_is_of_every_training_day_and_stock(member: Member) -> None:
    span, stocks = MARKET.splits.training, len(MARKET.stocks)
    judged = judgement_of(member)
    assert judged.first == span.first
    shapes = [(span.days, stocks), (span.days, stocks, len(TARGETS)), (span.days,)]
    assert [array.shape for array in judged[1:]] == shapes


def test_a_crossed_member_learns_what_is_best_by_what_its_parents_agree_on(member: Member) -> None:
    parents = [judgement_of(make_learned(number)) for number in (0, 1)]
    wanted = lesson_of(agreement(parents)).conviction
    before = np.square(judgement_of(member).conviction - wanted).mean()
    member = make_member(2, crossover_steps=200, crossover_lr=0.01)
    member.breed(0, Cross((0, 1)), *parents)
    assert np.square(judgement_of(member).conviction / SHARP - wanted).mean() < before / 2


def test_a_crossed_member_keeps_its_optimisers_and_its_targets_follow_it_at_once(member: Member) -> None:
    before = member.state()
    member.breed(0, Cross((0, 1)), judgement_of(make_learned(0)), judgement_of(make_learned(1)))
    after = member.state()
    moved = {name for name in after if after[name].tobytes() != before[name].tobytes()}
    assert {name for name in moved if "adam/" in name} == set()
    assert_identical(genome_of(after), part_of(after, "target/"))
    assert moved


def test_a_cross_draws_from_the_stream_of_its_generation_and_slot() -> None:
    taught = judgement_of(make_learned(1))
    states = []
    for generation in (4, 4, 5):
        member = make_learned(0)
        member.breed(generation, Cross((1,)), taught)
        states.append(member.state())
    assert_identical(states[0], states[1])
    assert states[0]["online/encoder.query"].tobytes() != states[2]["online/encoder.query"].tobytes()


def test_a_judgement_without_numbers_is_named(member: Member) -> None:
    parameter = dict(member._agent.networks.named_parameters())["critic.head.out.bias"]
    parameter.data[0] = np.nan
    with pytest.raises(RunError, match=r"^member 2 put out NaN or infinity in generation 3"):
        member.judge(3)


def test_mutate_draws_from_the_stream_of_its_generation_and_slot(member: Member) -> None:
    recipe, genome = Mutate(0, 0.5, 0.1), genome_of(FIRST)
    member.breed(4, recipe, FIRST)
    ordered = {name: genome[name] for name in member.genome()}
    assert_identical(member.genome(), mutate(ordered, 0.5, 0.1, stream(SMALL["seed"], 4, 2, "mutation")))
    mutant = member.genome()
    member.breed(5, recipe, FIRST)
    assert member.genome()["encoder.query"].tobytes() != mutant["encoder.query"].tobytes()


def test_a_mutant_inherits_targets_and_optimisers_as_they_are(member: Member) -> None:
    member.breed(0, Mutate(0, 0.5, 0.1), FIRST)
    state = member.state()
    assert {n for n in state if state[n].tobytes() != FIRST[n].tobytes()} <= {n for n in state if n.startswith(ONLINE)}
    assert state.keys() == FIRST.keys()


def test_the_champion_comes_back_whole(member: Member) -> None:
    member.breed(0, Champion(), FIRST)
    assert_identical(member.state(), FIRST)


def test_clones_have_no_diversity_and_strangers_do() -> None:
    assert diversity([genome_of(FIRST)] * 2) == 0
    assert diversity([genome_of(FIRST), genome_of(SECOND)]) > 0.1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["encoder.embed.weight", "actor.head.out.bias"])
def test_networks_that_put_out_no_numbers_are_named_and_not_scored(member: Member, name: str, value: float) -> None:
    parameter = dict(member._agent.networks.named_parameters())[name]
    parameter.data.view(-1)[0] = value
    with pytest.raises(RunError, match=r"^member 2 put out NaN or infinity in generation 1, which is not scored"):
        play(member, generation=1)


def test_a_loss_that_is_no_number_is_named(member: Member) -> None:
    sample = make_sample(member)
    sample.rows["credit"][0, 0, 0] = np.nan
    with pytest.raises(RunError, match=r"^member 2 put out NaN or infinity in generation 5"):
        member.train(5, sample)


def test_learning_rates_fall_by_lr_decay_a_generation() -> None:
    ddpg = small_config().ddpg
    falling, steady = make_member(lr_decay=0.5), make_member()
    low = make_member(actor_lr=ddpg.actor_lr / 4, critic_lr=ddpg.critic_lr / 4)
    for member in (falling, low, steady):
        member.train(2, make_sample(member))
    assert_identical(falling.genome(), low.genome())
    assert diversity([falling.genome(), steady.genome()]) > 0


def test_exploration_fades_with_the_days_played_to_its_least() -> None:
    config = small_config(noise_scale=0.2, noise_decay=0.99, min_noise=0.05)
    days = SMALL["training_slices"] * SMALL["trading_days"]
    assert noise_in(config, 0) == 0.2
    assert noise_in(config, 1) == pytest.approx(0.2 * 0.99**days)
    assert noise_in(config, 100) == 0.05
