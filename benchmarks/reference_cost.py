"""What the same work costs in the shape of the reference: `python -m benchmarks.reference_cost`.

The reference encodes each column of each observation anew: a Conv1d over the window and a BiLSTM of two layers. It acts
on one observation at a time and learns from batches of full windows. This measures a network of that shape on this
machine. It is a re-measurement of the shape, not the original program.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.sizes import SIZES, Size
from eigen2.config import Config

INPUTS, CONV, HIDDEN, LAYERS = 5, 32, 128, 2
MEASURED_COLUMNS = 20  # the cost is linear in the columns, each of which is encoded by itself
REPEATS = 3


class Network(nn.Module):
    """[B, C, days, INPUTS] -> [B, C]: the encoder of one column's window and a head on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(INPUTS, CONV, 3, padding=1)
        self.lstm = nn.LSTM(CONV, HIDDEN, LAYERS, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * HIDDEN, 1)

    def forward(self, windows: Tensor) -> Tensor:
        batch, columns = windows.shape[:2]
        rows = self.conv(windows.flatten(0, 1).transpose(1, 2)).relu().transpose(1, 2)
        out: Tensor = self.head(self.lstm(rows)[0][:, -1])
        return out.view(batch, columns)


@dataclass(frozen=True)
class ReferenceCost:
    """Seconds of one action and of one transition's share of an update, on all columns of a size."""

    action_s: float
    update_s: float

    def play_s(self, config: Config) -> float:
        """A member's play of a generation: an action for each trading day of all slices."""
        slices = config.slices
        return (slices.training_slices + slices.validation_slices) * slices.trading_days * self.action_s

    def train_s(self, config: Config) -> float:
        """A member's updates of a generation, with the same effective batch."""
        return config.ddpg.gradient_steps_per_generation * transitions_an_update(config) * self.update_s


def transitions_an_update(config: Config) -> int:
    return config.ddpg.batch_size * config.ddpg.gradient_accumulation_steps


def measure(size: Size, batch: int = 2) -> ReferenceCost:
    """Both costs, on all threads of torch; medians, scaled from the columns measured to those of the size."""
    columns = min(size.columns, MEASURED_COLUMNS)
    scale = size.columns / columns
    actor, critic = Network(), Network()
    seen = torch.randn(batch, columns, size.context_days, INPUTS)
    return ReferenceCost(
        action_s=scale * median_s(lambda: _act(actor, seen[:1])),
        update_s=scale * median_s(lambda: _update(actor, critic, seen)) / batch,
    )


@torch.no_grad()
def _act(actor: Network, seen: Tensor) -> None:
    actor(seen)


def _update(actor: Network, critic: Network, seen: Tensor) -> None:
    """The passes of one DDPG update, with an encoder each for actor and critic, and their targets'."""
    with torch.no_grad():
        target = actor(seen) + critic(seen)
    (critic(seen) - target).square().mean().backward()
    with torch.no_grad():
        value = critic(seen)  # the action enters after the encoder: nothing of it is differentiated
    (actor(seen) * value).mean().backward()


def median_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of a piece of work, after a warm-up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a network of the reference's shape on this machine.")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    console = Console()
    for name in parser.parse_args().sizes:
        cost = measure(SIZES[name])
        console.print(f"{name}: {cost.action_s:.4f} s an action, {cost.update_s:.3f} s a transition of an update")


if __name__ == "__main__":
    main()
