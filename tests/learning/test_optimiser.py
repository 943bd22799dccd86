"""The optimiser: the steps of torch.optim.AdamW, to the bit."""

import subprocess
import sys

import torch
from torch import nn

from eigen2.learning.optimiser import BETAS, EPSILON, AdamW


def networks() -> tuple[nn.Module, nn.Module]:
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        made.append(nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 2)))
    return made[0], made[1]


def loss_of(network: nn.Module, step: int) -> torch.Tensor:
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
    return 10 * network(inputs).square().mean()


def test_steps_are_those_of_torch_to_the_bit() -> None:
    ours, theirs = networks()
    optimiser = AdamW(ours.parameters(), lr=0.01, weight_decay=0.1)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, betas=BETAS, eps=EPSILON, fused=True)
    for step in range(20):
        lr_share = 1.0 if step < 10 else 0.3
        optimiser.zero_grad()
        loss_of(ours, step).backward()
        norm = optimiser.step(max_norm=1.0, lr_share=lr_share)
        reference.param_groups[0]["lr"] = 0.01 * lr_share
        reference.zero_grad()
        loss_of(theirs, step).backward()
        assert norm == float(nn.utils.clip_grad_norm_(theirs.parameters(), 1.0))
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_has_no_gradient_is_left_alone() -> None:
    network, _ = networks()
    before = network[2].weight.clone()
    optimiser = AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
    network[0](torch.ones(1, 6)).sum().backward()
    optimiser.step(max_norm=1.0)
    assert torch.equal(network[2].weight, before)
    assert sorted(optimiser.moments) == [0, 1]


def test_a_step_does_not_load_torchs_compiler() -> None:
    code = (
        "import sys, torch; from eigen2.learning.optimiser import AdamW; p = torch.nn.Parameter(torch.ones(2)); "
        "o = AdamW([p], 0.1, 0.0); p.sum().backward(); o.step(1.0); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
