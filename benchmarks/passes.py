"""What a member does, timed in this process on one thread: play, updates, passes of the encoder, a saved buffer."""

import resource
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.reference_cost import measure, median_s, transitions_an_update
from benchmarks.sizes import Figures, Size
from eigen2.config import Config
from eigen2.evaluation.slices import training_slices, validation_slices
from eigen2.learning.networks import Networks
from eigen2.learning.replay import TRANSITION, BatchShape, Replay
from eigen2.randomness import stream
from eigen2.training.checkpoint import Archive
from eigen2.training.member import Member

ROUNDS = 5  # of the limit: machines are noisy, so work and limit are measured in turns
PLAYED_DAYS = 500  # of a stretch that is encoded at once
MEASURED_UPDATES = {"quickstart": 48, "skinny": 2, "full": 1}  # of which the cost of all is told


def phases(size: Size) -> Figures:
    """What one member's play and updates take in this process, on one thread, and what the same is in the reference's
    shape."""
    config = size.config(threads_per_member=1)
    play_s, train_s, played = member_s(size, config, gpu_share=0.0)
    torch.set_num_threads(1)
    cost = measure(size)
    steps = config.ddpg.gradient_steps_per_generation * transitions_an_update(config)
    return {
        "size": f"{size.name}, {size.columns} x {size.context_days}",
        "play, s a member": play_s,
        "train, s a member": train_s,
        "transitions played a s": played / play_s,
        "transitions trained a s": steps / train_s,
        "reference's shape: play, s": cost.play_s(config),
        "reference's shape: train, s": cost.train_s(config),
        "times faster, play": cost.play_s(config) / play_s,
        "times faster, generation": (cost.play_s(config) + cost.train_s(config)) / (play_s + train_s),
        "peak memory of a member, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def member_s(size: Size, config: Config, gpu_share: float) -> tuple[float, float, int]:
    """Seconds of a member's play and of all its updates of a generation, and how many transitions it played."""
    market = size.market(config)
    member = Member(0, config, market, gpu_share)
    slices, checked = training_slices(market, config, 0), validation_slices(market, config)
    play_s = median_s(lambda: member.play(0, slices, checked), 2)
    _, rows = member.play(0, slices, checked)
    buffer = Replay(config.buffer_size)
    buffer.extend(rows)
    updates = MEASURED_UPDATES[size.name]
    shape = BatchShape.of(config.ddpg, config.replay, config.slices.trading_days)
    sample = buffer.sample(updates, shape, stream(0, 0, 0, "replay sample"))
    train_s = median_s(lambda: member.train(0, sample), 1) / updates * config.ddpg.gradient_steps_per_generation
    return play_s, train_s, len(rows)


def on_gpu(size: Size) -> Figures:
    """A member alone on the GPU against a member on one thread of the same machine: play, updates, memory."""
    config = size.config(threads_per_member=1)
    cpu_play_s, cpu_train_s, _ = member_s(size, config, gpu_share=0.0)
    play_s, train_s, _ = member_s(size, config, gpu_share=1.0)
    free, total = torch.cuda.mem_get_info()
    return {
        "size": f"{size.name}, {size.columns} x {size.context_days}",
        "gpu": torch.cuda.get_device_name(),
        "play, s a member: one thread": cpu_play_s,
        "play, s a member: GPU": play_s,
        "train, s a member: one thread": cpu_train_s,
        "train, s a member: GPU": train_s,
        "times faster than a thread, play": cpu_play_s / play_s,
        "times faster than a thread, train": cpu_train_s / train_s,
        "peak GB of tensors on the GPU": torch.cuda.max_memory_allocated() / 2**30,
        "GB that the process takes of the GPU": (total - free) / 2**30,
    }


def limit(size: Size) -> Figures:
    """The share of torch.mm's rate that the encoder reaches on one thread: forward on a stretch of days as in play,
    forward and backward on the blocks of an update."""
    torch.set_num_threads(1)
    side = 1_024
    left, right = torch.randn(side, side), torch.randn(side, side)
    config = size.config()
    stocks = torch.arange(size.columns)
    encoder = Networks(10, size.columns, stocks, config.agent.hidden_size, size.context_days).encoder
    shape = BatchShape.of(config.ddpg, config.replay, config.slices.trading_days)
    played = torch.randn(encoder.history + PLAYED_DAYS, 1, size.columns, 10)
    learned = torch.randn(encoder.history + shape.days, shape.blocks, size.columns, 10)

    def forward() -> None:
        with torch.no_grad():
            encoder(played)

    def both() -> None:
        encoder(learned).context.sum().backward()

    shares, peaks = {}, []
    for name, work in (("forward", forward), ("forward and backward", both)):
        with FlopCounterMode(display=False) as counter:
            work()
        found = []
        for _ in range(ROUNDS):
            peaks.append(2 * side**3 / median_s(lambda: torch.mm(left, right), 9))
            found.append(100 * counter.get_total_flops() / median_s(work, 5) / peaks[-1])
        shares[f"{name}, % of torch.mm"] = statistics.median(found)
    return {"size": size.name, "torch.mm, GFLOP/s": statistics.median(peaks) / 1e9, **shares}


def storage() -> Figures:
    """What a full replay buffer of 25 000 transitions takes on disk, and how long it takes to save."""
    buffer = Replay(25_000)
    buffer.extend(np.zeros(25_000, TRANSITION))
    with tempfile.TemporaryDirectory() as name:
        archive = Archive(Path(name), keep=2)
        done = iter(range(1, 100))
        seconds = median_s(lambda: archive.save(next(done), {"best": None}, ["replay"], buffer.state()), 5)
    return {"bytes a transition": TRANSITION.itemsize, "saving 25 000, s": seconds}
