"""An agent on a GPU: it acts as on a CPU, learns the same every time, and its state goes from one to the other."""

import numpy as np
import pytest
import torch

from eigen2.config import DDPGConfig
from eigen2.learning.agent import Agent, MarketView
from eigen2.trading.ledger import Slices
from tests.learning.small import AGENT, BLOCK_DAYS, RULES, make_agent, make_batch, small_market

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

MARKET = small_market()
SLICES = Slices(np.array([20, 90, 41]), 12, 6)
UPDATES = 5


def on_gpu(seed: int = 0) -> Agent:
    return Agent(AGENT, DDPGConfig(), RULES, MarketView.of(MARKET, RULES, torch.device("cuda")), seed)


def taught(agent: Agent, seed: int = 0) -> Agent:
    for number in range(UPDATES):
        agent.update(*make_batch(seed + number), BLOCK_DAYS, torch.Generator().manual_seed(number))
    return agent


def assert_close(one: Agent, other: Agent) -> None:
    for left, right in zip(one.act(SLICES), other.act(SLICES), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)


def test_it_starts_and_acts_as_on_a_cpu() -> None:
    cpu, gpu = make_agent(MARKET), on_gpu()
    assert {name: value.tobytes() for name, value in cpu.genome().items()} == {
        name: value.tobytes() for name, value in gpu.genome().items()
    }
    assert_close(cpu, gpu)


def test_it_learns_as_on_a_cpu_up_to_rounding() -> None:
    assert_close(taught(make_agent(MARKET)), taught(on_gpu()))


def test_it_learns_the_same_every_time_to_the_bit() -> None:
    one, again = taught(on_gpu()).state(), taught(on_gpu()).state()
    assert [name for name in one if one[name].tobytes() != again[name].tobytes()] == []


@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_its_state_goes_from_one_device_to_the_other_and_it_learns_on(home: str) -> None:
    first, second = (make_agent(MARKET), on_gpu(seed=1)) if home == "cpu" else (on_gpu(), make_agent(MARKET, seed=1))
    state = taught(first).state()
    second.load_state(state)
    arrived = second.state()
    assert [name for name in state if state[name].tobytes() != arrived[name].tobytes()] == []
    assert_close(taught(first, seed=10), taught(second, seed=10))
