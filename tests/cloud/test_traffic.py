"""What is said to travel between nodes covers what does."""

from eigen2.training.traffic import STATE, bytes_a_generation
from tests.training.small import MARKET, make_member, small_config


def size(arrays: object) -> int:
    return sum(array.nbytes for array in arrays.values())  # type: ignore[attr-defined]


def test_a_state_is_as_large_as_said() -> None:
    member = make_member()
    genome, state = size(member.genome()), size(member.state())
    assert genome < state <= STATE * genome * 1.01 + 1000


def test_only_members_elsewhere_send_anything() -> None:
    one = bytes_a_generation(small_config(), MARKET, 1)
    assert one > 10 * size(make_member().genome())
    assert bytes_a_generation(small_config(), MARKET, 0) == 0
    assert bytes_a_generation(small_config(), MARKET, 3) == 3 * one
