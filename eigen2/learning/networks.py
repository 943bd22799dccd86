"""The networks of an agent.

Tensors are time-major, [n, B, C, ...]: n consecutive days, B blocks of days, C columns. A tap of a causal
convolution is then a contiguous slice of days.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# names that start small say nothing of a column until that pays: wide ones let columns' days be learned by heart
NAME_STD = 0.07
NAME_PACE = 4.0  # a name moves by as many times what a weight moves: a column has few days of its own to learn it from
# a wide query looks at few columns from the start: an even average over them hides what one column says
QUERY_STD = 2.0
KERNEL = 4  # taps of a convolution: with dilations 16, 4, 1 it sees 64 days
# rows of features that pass through the layers together: as many stay in a processor's cache; to a GPU each piece is
# launches, and small ones leave it idle
ROWS = {"cpu": 8_192, "cuda": 524_288}


def dilations(context_days: int) -> list[int]:
    """Dilations of the layers whose receptive field is the largest that fits `context_days`, the widest first.

    They differ by the kernel's size, so no day is skipped; the widest takes what is left. After a wide layer there is
    little history left to compute: in the other order all of it would pass through most layers.
    """
    left, dilation, found = context_days - 1, 1, []
    while left >= KERNEL - 1:
        step = min(dilation, left // (KERNEL - 1))
        found.append(step)
        left -= step * (KERNEL - 1)
        dilation *= KERNEL
    return found[::-1]


class CausalTaps(torch.autograd.Function):
    """A causal convolution as one product a tap, each added to the same result.

    As a product of joined taps it computes the same, but copies each input once a tap, and each gradient back.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        """x: [n, ..., H]; weight: [O, KERNEL * H], taps from the oldest; bias: [O] -> [n - span, ..., O]."""
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        taps = _taps_of(x, dilation)
        out = torch.addmm(bias, taps[0], _by_tap(weight)[0].t())
        for tap, by in zip(taps[1:], _by_tap(weight)[1:], strict=True):
            torch.addmm(out, tap, by.t(), out=out)
        return out.view(x.shape[0] - dilation * (KERNEL - 1), *x.shape[1:-1], len(bias))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad = grads[0].reshape(-1, weight.shape[0])
        grad_x = torch.zeros_like(x)
        for tap, by in zip(_taps_of(grad_x, ctx.dilation), _by_tap(weight), strict=True):
            torch.addmm(tap, grad, by, out=tap)
        grad_weight = torch.cat([grad.t() @ tap for tap in _taps_of(x, ctx.dilation)], dim=1)
        return grad_x, grad_weight, grad.sum(dim=0), None


def _taps_of(x: Tensor, dilation: int) -> list[Tensor]:
    """What each tap reads of contiguous x, [n, ..., H], as views [rows, H]."""
    days = x.shape[0] - dilation * (KERNEL - 1)
    return [x[k * dilation : k * dilation + days].view(-1, x.shape[-1]) for k in range(KERNEL)]


def _by_tap(weight: Tensor) -> tuple[Tensor, ...]:
    return weight.chunk(KERNEL, dim=1)


class CausalBlock(nn.Module):
    """A residual causal convolution over days: output day t reads days t, t-d, t-2d, t-3d (van den Oord 2016)."""

    def __init__(self, hidden: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.span = dilation * (KERNEL - 1)
        self.norm = nn.LayerNorm(hidden)
        self.taps = nn.Linear(KERNEL * hidden, hidden)
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[n, ..., H] -> [n - span, ..., H]."""
        heard = CausalTaps.apply(self.norm(x), self.taps.weight, self.taps.bias, self.dilation)
        return self.mix(F.gelu(heard)).add_(x[self.span :])


class Encoding(NamedTuple):
    """What the encoder makes of n days: [n, B, C, H] features of every column, [n, B, H] context of the market,
    [n, B, C] attention over the columns."""

    columns: Tensor
    context: Tensor
    attention: Tensor


class Encoder(nn.Module):
    """Causal convolutions over time, the same for every column, then attention with one learned query over columns.

    A learned name a column, added to its features after the convolutions, lets columns be told apart; what is read from
    history is the same for all. The last input feature says whether a column is seen.

    history: days that are read before the first day encoded; history_cost: the work they take, in days encoded.
    """

    def __init__(self, features: int, columns: int, stocks: Tensor, hidden: int, context_days: int) -> None:
        super().__init__()
        self.register_buffer("prior", attention_prior(columns, stocks), persistent=False)
        self.embed = nn.Linear(features, hidden)
        self.column = nn.Parameter(torch.randn(columns, hidden) * NAME_STD / NAME_PACE)
        self.blocks = nn.Sequential(*(CausalBlock(hidden, d) for d in dilations(context_days)))
        self.norm = nn.LayerNorm(hidden)
        self.query = nn.Parameter(torch.randn(hidden) * QUERY_STD)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden)
        ahead = [sum(KERNEL * d - d for d in dilations(context_days)[layer:]) for layer in range(len(self.blocks) + 1)]
        self.history = ahead[0]
        self.history_cost = sum(ahead[1:]) / max(len(self.blocks), 1)

    def forward(self, x: Tensor) -> Encoding:
        """[history + n, B, C, F] -> the encoding of the last n days."""
        seen = x[self.history :, ..., -1] > 0
        columns = self._history(x).add_(NAME_PACE * self.column)
        # keys and values are linear: the query meets the weights of the key once, and the value is of the mean
        scores = columns @ (self.query @ self.key.weight) * columns.shape[-1] ** -0.5 + self.prior
        attention = scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(dim=-1)
        context = self.value(torch.einsum("nbc,nbch->nbh", attention, columns))
        return Encoding(columns, context, attention)

    def unnamed(self, features: Tensor, columns: Tensor) -> Tensor:
        """Encoded features [..., S, H] of some columns [S], where each has the mean of their names for its own."""
        names = NAME_PACE * self.column[columns]
        return features - (names - names.mean(dim=0))

    def _history(self, x: Tensor) -> Tensor:
        """[history + n, B, C, F] -> what each column's history says, [n, B, C, H]; a few columns at a time."""
        piece = max(1, ROWS[x.device.type] // (x.shape[0] * x.shape[1]))
        encoded = [self.norm(self.blocks(self.embed(inputs))) for inputs in x.split(piece, dim=2)]
        return encoded[0] if len(encoded) == 1 else torch.cat(encoded, dim=2)


def attention_prior(columns: int, stocks: Tensor) -> Tensor:
    """What is added to the attention's scores, [C]: columns that can't be bought, if any, have half of it at first.

    A column is in the data to be bought or to be read; among many stocks the few to be read would not be found.

    stocks: [S] numbers of the columns that may be bought.
    """
    prior = torch.zeros(columns, device=stocks.device)
    others = columns - len(stocks)
    if others:
        prior += math.log(len(stocks) / others)
        prior[stocks] = 0
    return prior


class StockHead(nn.Module):
    """A small network of one stock: [own features, market context, extra inputs] -> outputs.

    The context shifts and scales what the own features say (FiLM, arXiv 1709.07871): whether a sign of the market is
    good for a stock depends on the stock.
    """

    def __init__(self, hidden: int, extra: int, outputs: int) -> None:
        super().__init__()
        self.own = nn.Linear(hidden + extra, hidden)
        self.shift = nn.Linear(hidden, hidden)
        self.scale = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, own: Tensor, context: Tensor) -> Tensor:
        """[..., S, H + extra], [..., H] -> [..., S, outputs]."""
        scale, shift = 1 + self.scale(context).unsqueeze(-2), self.shift(context).unsqueeze(-2)
        return self.out(F.gelu(self.own(own) * scale + shift))


class Actor(nn.Module):
    """Per stock: conviction, unbounded, and the sale target in 0..1 of its range."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.head = StockHead(hidden, extra=0, outputs=2)

    def forward(self, stocks: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """[..., S, H], [..., H] -> conviction [..., S], target [..., S]."""
        out = self.head(stocks, context)
        return out[..., 0], torch.sigmoid(out[..., 1])

    @torch.no_grad()
    def scale_convictions(self, factor: float) -> None:
        """Multiply all convictions by a factor from now on."""
        self.head.out.weight[0] *= factor
        self.head.out.bias[0] *= factor


class Critic(nn.Module):
    """Per stock: value of a purchase at full size, given its target; and the value of the day itself."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.head = StockHead(hidden, extra=1, outputs=1)
        self.day = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def purchase(self, stocks: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """[..., S, H], [..., H], [..., S] -> [..., S]."""
        own = torch.cat([stocks, target.unsqueeze(-1)], dim=-1)
        return self.head(own, context).squeeze(-1)

    def state(self, context: Tensor) -> Tensor:
        """[..., H] -> [...]."""
        return self.day(context).squeeze(-1)


class Networks(nn.Module):
    """Encoder, actor and critic of one agent; their parameters are its genome.

    stocks: [S] numbers of the columns that may be bought.
    """

    def __init__(self, features: int, columns: int, stocks: Tensor, hidden: int, context_days: int) -> None:
        super().__init__()
        self.encoder = Encoder(features, columns, stocks, hidden, context_days)
        self.actor = Actor(hidden)
        self.critic = Critic(hidden)
