"""The work of a generation, counted: passes of the encoder, operations, bytes and processes do not grow unnoticed."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from eigen2.config import config_from_dict
from eigen2.evaluation.slices import training_slices, validation_slices
from eigen2.learning.networks import Encoder
from eigen2.learning.replay import TRANSITION, BatchShape, Replay
from eigen2.randomness import stream
from eigen2.training.member import Member
from eigen2.training.runtime import LocalRuntime, Share
from eigen2.training.traffic import bytes_a_generation
from tests.training.small import MARKET, SMALL, make_member, run, small_config

UPDATES = 3
PLAY_PASSES = 4  # each of the three training slices, which are far apart, and all validation days at once
UPDATE_PASSES = 2  # online networks and target networks, for each micro-batch


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Days encoded by each pass so far."""
    found: list[int] = []
    encode = Encoder.forward

    def counted(self: Encoder, x: Any) -> Any:
        found.append(x.shape[0] * x.shape[1])
        return encode(self, x)

    monkeypatch.setattr(Encoder, "forward", counted)
    return found


def played(member: Member) -> Any:
    config = small_config()
    return member.play(0, training_slices(MARKET, config, 0), validation_slices(MARKET, config))


def updated(member: Member, **changed: Any) -> None:
    config = small_config(**changed)
    buffer = Replay(config.buffer_size)
    buffer.extend(played(make_member())[1])
    shape = BatchShape.of(config.ddpg, config.replay, config.slices.trading_days)
    sample = buffer.sample(UPDATES, shape, stream(0, 0, 0, "replay sample"))
    member.train(0, sample)


def test_playing_is_a_pass_for_each_stretch_of_days(passes: list[int]) -> None:
    played(make_member())
    assert len(passes) == PLAY_PASSES


def test_an_update_is_two_passes_a_micro_batch(passes: list[int]) -> None:
    updated(make_member())
    assert len(passes) - PLAY_PASSES == UPDATE_PASSES * UPDATES


def test_operations_of_play_and_updates() -> None:
    """By torch's own count; a change on purpose changes the figure here, and says why in its commit."""
    member = make_member()
    with FlopCounterMode(display=False) as play:
        played(member)
    with FlopCounterMode(display=False) as both:
        updated(member)
    updates = both.get_total_flops() - play.get_total_flops()
    assert play.get_total_flops() == 168_800
    assert updates == 419_712


def test_a_transition_takes_19_bytes() -> None:
    assert TRANSITION.itemsize == 19


def test_a_run_makes_its_members_a_replay_buffer_and_a_vault(tmp_path: Path) -> None:
    made: list[str] = []

    class Counting(LocalRuntime):
        def make(self, name: str, kind: type, share: Share, *args: Any) -> Any:
            made.append(kind.__name__)
            return super().make(name, kind, share, *args)

    run(tmp_path, runtime=Counting(), num_generations=2)
    assert sorted(made) == sorted(["Vault", "Replay", *["Member"] * 4]), "and none anew in the second generation"


def test_what_the_driver_is_sent_does_not_grow_with_the_networks(tmp_path: Path) -> None:
    small, large = (bytes_collected(tmp_path / str(hidden), hidden) for hidden in (4, 32))
    # a figure has more digits or fewer
    assert small == pytest.approx(large, rel=0.02)


def bytes_collected(path: Path, hidden_size: int) -> int:
    """Bytes of all answers that the driver of a run has asked for."""
    total = 0

    class Weighing(LocalRuntime):
        def collect(self, calls: Any, wait_s: float, told: Any = lambda _: None) -> list[Any]:
            nonlocal total
            answers = super().collect(calls, wait_s, told)
            total += sum(len(pickle.dumps(answer)) for answer in answers)
            return answers

    run(path, runtime=Weighing(), num_generations=1, hidden_size=hidden_size)
    return total


def test_bytes_between_nodes_grow_with_members_away_alone() -> None:
    config = config_from_dict(SMALL, "the test")
    assert bytes_a_generation(config, MARKET, 0) == 0
    assert bytes_a_generation(config, MARKET, 6) == 2 * bytes_a_generation(config, MARKET, 3)
