"""AdamW, decoupled weight decay (arXiv 1711.05101), by torch's fused kernel and with its moments in the open.

The classes of torch.optim import torch's compiler at their first step, in every process.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETAS = (0.9, 0.999)
EPSILON = 1e-8

Moments = dict[str, Tensor]  # step [], exp_avg and exp_avg_sq like their parameter


class AdamW:
    """Moves its parameters down their gradients.

    moments: by number of the parameter, for those that were moved at least once.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.moments: dict[int, Moments] = {}
        self._lr, self._weight_decay = lr, weight_decay

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, max_norm: float, lr_share: float = 1.0) -> float:
        """One step of `lr_share` of the learning rate, gradients clipped to `max_norm`; returns their norm before."""
        norm = nn.utils.clip_grad_norm_(self.parameters, max_norm)
        moved = [number for number, parameter in enumerate(self.parameters) if parameter.grad is not None]
        for number in moved:
            self.moments.setdefault(number, fresh_moments(self.parameters[number]))
        adamw(
            [self.parameters[number] for number in moved],
            [gradient for number in moved if (gradient := self.parameters[number].grad) is not None],
            [self.moments[number]["exp_avg"] for number in moved],
            [self.moments[number]["exp_avg_sq"] for number in moved],
            [],
            [self.moments[number]["step"] for number in moved],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self._lr * lr_share,
            weight_decay=self._weight_decay,
            eps=EPSILON,
            maximize=False,
        )
        return float(norm)


def fresh_moments(parameter: Tensor) -> Moments:
    """The moments of a parameter before its first step."""
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return {"step": step, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
