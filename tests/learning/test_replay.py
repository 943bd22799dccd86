"""The replay buffer: a ring that keeps the newest, and samples of blocks of days."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eigen2.config import DDPGConfig, ReplayConfig, RulesConfig
from eigen2.errors import RunError
from eigen2.learning.replay import TRANSITION, BatchShape, Replay, Sample, rows_of
from eigen2.trading.ledger import NO_STOCK, Slices
from eigen2.trading.rules import settle
from tests.learning.small import make_rows
from tests.synthetic import make_market

FEW = settings(max_examples=60, deadline=None)


def numbered(*days: int) -> NDArray[np.void]:
    """Rows that are told apart by their day."""
    return make_rows(np.array(days, dtype=np.int64))


def held(replay: Replay) -> list[int]:
    return replay.state()["day"].tolist()


def same_sample(left: Sample, right: Sample) -> bool:
    return left.first_days.tobytes() == right.first_days.tobytes() and left.rows.tobytes() == right.rows.tobytes()


def test_a_transition_is_small() -> None:
    assert TRANSITION.itemsize <= 64
    assert make_rows(np.arange(1000)).nbytes <= 64_000


def test_the_ring_keeps_the_order_of_arrival_until_it_is_full() -> None:
    replay = Replay(5)
    assert replay.size == 0
    assert replay.extend(numbered(3, 1, 2)) == replay.size == 3
    assert held(replay) == [3, 1, 2]


def test_a_full_ring_overwrites_the_oldest_first() -> None:
    replay = Replay(5)
    replay.extend(numbered(0, 1, 2, 3))
    assert replay.extend(numbered(4, 5, 6)) == 5
    assert held(replay) == [5, 6, 2, 3, 4]


def test_more_rows_than_fit_are_refused_before_any_is_overwritten() -> None:
    replay = Replay(3)
    replay.extend(numbered(0, 1))
    with pytest.raises(ValueError, match="4 transitions at once do not fit into a replay buffer of 3"):
        replay.extend(numbered(2, 3, 4, 5))
    assert held(replay) == [0, 1]


@FEW
@given(st.integers(1, 12), st.data())
def test_the_ring_holds_what_a_list_of_the_newest_would(capacity: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, capacity), max_size=8))
    rows = make_rows(np.arange(sum(sizes)))
    replay = Replay(capacity)
    for batch in np.split(rows, np.cumsum(sizes)[:-1]) if sizes else []:
        replay.extend(batch)
    newest = rows[-capacity:] if len(rows) else rows
    assert sorted(held(replay)) == newest["day"].tolist()
    assert replay.size == len(newest)


def test_what_a_generation_overwrites_is_spread_over_members_and_days() -> None:
    """8 members play 500 days each into a ring of 6 000: the second generation overwrites half of the first."""
    members, days = 8, 500
    replay = Replay(6_000)

    def generation(number: int) -> None:
        batches = [numbered(*range(days)) for _ in range(members)]
        for member, batch in enumerate(batches):
            batch["stock"], batch["credit"] = member, number
        replay.extend_shuffled(np.random.default_rng(number), *batches)

    generation(0)
    assert replay.size == members * days
    generation(1)
    rows = replay.state()
    newest = rows["credit"] == 1
    assert np.bincount(rows["stock"][newest], minlength=members).tolist() == [days] * members
    left = rows["stock"][~newest]
    assert len(left) == 2_000
    # 250 a member are expected; 5 standard deviations of a draw without replacement are 52
    assert np.abs(np.bincount(left, minlength=members) - 250).max() < 52
    assert abs(rows["day"][~newest].mean() - (days - 1) / 2) < 5 * days / np.sqrt(12 * 2_000)


def test_the_order_of_a_generation_follows_from_its_random_stream() -> None:
    def filled_by(seed: int) -> list[int]:
        replay = Replay(20)
        replay.extend_shuffled(np.random.default_rng(seed), numbered(*range(10)), numbered(*range(10, 20)))
        return held(replay)

    assert filled_by(1) == filled_by(1) != filled_by(2)
    assert sorted(filled_by(1)) == list(range(20))


def test_rows_are_kept_whole() -> None:
    rows, replay = make_rows(np.arange(7)), Replay(7)
    replay.extend(rows)
    state = replay.state()
    for name in TRANSITION.names or ():
        assert state[name].tobytes() == np.ascontiguousarray(rows[name]).tobytes()


SHAPES = st.builds(BatchShape, blocks=st.integers(1, 5), per_block=st.integers(1, 9), days=st.integers(1, 16))
RUNS_OF_DAYS = st.lists(st.tuples(st.integers(0, 300), st.integers(16, 40)), min_size=1, max_size=4)


def filled(runs: list[tuple[int, int]], capacity: int = 500) -> Replay:
    """A ring that knows some runs of days, each from `first` on."""
    replay = Replay(capacity)
    for first, days in runs:
        replay.extend(make_rows(np.arange(first, first + days), seed=first))
    return replay


@FEW
@given(RUNS_OF_DAYS, SHAPES, st.integers(0, 1000))
def test_sampled_rows_lie_in_their_blocks_and_blocks_in_the_days_known(
    runs: list[tuple[int, int]], shape: BatchShape, seed: int
) -> None:
    replay = filled(runs)
    sample = replay.sample(3, shape, np.random.default_rng(seed))
    assert sample.first_days.shape == (3, shape.blocks)
    assert sample.rows.shape == (3, shape.blocks, shape.per_block)
    offset = sample.rows["day"] - sample.first_days[..., None]
    assert offset.min() >= 0
    assert offset.max() < shape.days
    assert sample.first_days.min() >= min(held(replay))
    assert (sample.first_days + shape.days - 1).max() <= max(held(replay))


@FEW
@given(RUNS_OF_DAYS, SHAPES, st.integers(0, 1000))
def test_sampled_rows_are_rows_of_the_ring(runs: list[tuple[int, int]], shape: BatchShape, seed: int) -> None:
    replay = filled(runs)
    known = {bytes(row.tobytes()) for first, days in runs for row in make_rows(np.arange(first, first + days), first)}
    sample = replay.sample(2, shape, np.random.default_rng(seed))
    assert {row.tobytes() for row in sample.rows.reshape(-1)} <= known


def test_every_row_is_sampled_sooner_or_later() -> None:
    replay = filled([(10, 60)])
    sample = replay.sample(100, BatchShape(4, 8, 16), np.random.default_rng(0))
    assert set(sample.rows["day"].reshape(-1).tolist()) == set(range(10, 70))


def test_the_same_stream_draws_the_same_sample_and_another_another() -> None:
    replay, shape = filled([(0, 40), (100, 40)]), BatchShape(3, 8, 8)
    one, again, other = (replay.sample(4, shape, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert same_sample(one, again)
    assert not same_sample(one, other)


def test_sampling_an_empty_ring_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Replay(5).sample(1, BatchShape(1, 1, 1), np.random.default_rng(0))


@pytest.mark.parametrize("added", [30, 50, 130])
def test_a_restored_ring_goes_on_as_the_saved_one(added: int) -> None:
    saved, restored = Replay(50), Replay(50)
    for rows in np.split(make_rows(np.arange(added)), range(50, added, 50)):
        saved.extend(rows)
    restored.load_state(saved.state())
    for replay in (saved, restored):
        replay.extend(make_rows(np.arange(added, added + 30), seed=1))
    assert held(restored) == held(saved)
    shape = BatchShape(3, 8, 8)
    assert same_sample(*(ring.sample(4, shape, np.random.default_rng(3)) for ring in (saved, restored)))


def test_a_state_is_a_copy() -> None:
    replay = Replay(3)
    replay.extend(numbered(0, 1, 2))
    state = replay.state()
    replay.extend(numbered(7))
    assert state["day"].tolist() == [0, 1, 2]


def test_a_state_of_another_capacity_is_refused() -> None:
    replay = Replay(50)
    replay.extend(make_rows(np.arange(50)))
    with pytest.raises(RunError, match="50 transitions saved, but 20 expected"):
        Replay(20).load_state(replay.state())


def test_the_rows_of_a_ledger_tell_what_was_decided_and_what_it_earned() -> None:
    market, rng = make_market(stocks=3), np.random.default_rng(0)
    slices = Slices(np.array([50, 20]), 12, 6)
    conviction = rng.normal(-1, 2, (2, 12, 3))
    target = rng.uniform(2, 8, (2, 12, 3))
    rules = RulesConfig(max_holding_period=5, min_target_pct=2)
    ledger = settle(market.stock_prices, slices, conviction, target, rules, gamma=0.9)
    rows = rows_of(ledger)
    assert rows.dtype == TRANSITION
    assert rows["day"].tolist() == [*range(50, 62), *range(20, 32)]
    assert np.flatnonzero(rows["done"]).tolist() == [11, 23]
    assert rows["stock"].tolist() == ledger.stock.reshape(-1).tolist()
    for name, expected in (
        ("coefficient", ledger.coefficient),
        ("target_pct", ledger.target_pct),
        ("credit", ledger.credits),
    ):
        np.testing.assert_allclose(rows[name], expected.reshape(-1), rtol=1e-6)
    assert 0 < (rows["stock"] == NO_STOCK).sum() < 24


@pytest.mark.parametrize(
    ("batch_size", "accumulated", "block_transitions", "shape"),
    [
        (32, 2, 48, BatchShape(2, 32, 16)),
        (48, 1, 48, BatchShape(1, 48, 16)),
        (49, 1, 48, BatchShape(2, 25, 16)),
        (1, 1, 48, BatchShape(1, 1, 16)),
        (5, 2, 3, BatchShape(4, 3, 16)),
        (96, 4, 1, BatchShape(384, 1, 16)),
    ],
)
def test_a_batch_is_cut_into_equal_blocks(
    batch_size: int, accumulated: int, block_transitions: int, shape: BatchShape
) -> None:
    ddpg = DDPGConfig(batch_size=batch_size, gradient_accumulation_steps=accumulated)
    assert BatchShape.of(ddpg, ReplayConfig(block_days=16, block_transitions=block_transitions), 125) == shape


def test_a_block_is_no_longer_than_a_slice() -> None:
    assert [BatchShape.of(DDPGConfig(), ReplayConfig(block_days=64), days).days for days in (63, 65)] == [63, 64]


@FEW
@given(st.integers(1, 200), st.integers(1, 8), st.integers(1, 100))
def test_a_batch_is_never_smaller_than_asked_nor_larger_by_a_row_a_block(size: int, steps: int, most: int) -> None:
    shape = BatchShape.of(
        DDPGConfig(batch_size=size, gradient_accumulation_steps=steps), ReplayConfig(block_transitions=most), 125
    )
    assert shape.per_block <= most
    assert size * steps <= shape.blocks * shape.per_block < size * steps + shape.blocks
