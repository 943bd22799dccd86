"""The agent: acts on days, learns from transitions by DDPG with a per-stock critic.

DDPG is Lillicrap et al. 2015 (arXiv 1509.02971). Because the market does not react to the agent, it departs from the
paper in three points: the reward of a purchase is credited to the day of its decision; the critic values the one stock
that was bought instead of the whole action; the actor's loss sees the purchase as a soft choice over the convictions.
"""

import copy
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from eigen2.arrays import Arrays, require_like
from eigen2.config import AgentConfig, DDPGConfig, RulesConfig
from eigen2.learning.genome import ONLINE, genome_of, part_of
from eigen2.learning.networks import Encoding, Networks
from eigen2.learning.optimiser import AdamW, fresh_moments
from eigen2.learning.replay import Sample
from eigen2.market.market import Market
from eigen2.trading.ledger import Slices


class Actions(NamedTuple):
    """What an agent wants on K slices of D days: conviction and target_pct [K, D, S], attention [C]."""

    conviction: NDArray[np.float32]
    target_pct: NDArray[np.float32]
    attention: NDArray[np.float32]


class Policy(NamedTuple):
    """What an agent wants on N days, in order: days [N]; conviction, target_pct [N, S]; attention [N, C]."""

    days: NDArray[np.int64]
    conviction: NDArray[np.float32]
    target_pct: NDArray[np.float32]
    attention: NDArray[np.float32]

    def on(self, slices: Slices) -> Actions:
        """What it wants on slices whose trading days are among its days."""
        place = np.searchsorted(self.days, slices.trading)
        return Actions(self.conviction[place], self.target_pct[place], self.attention[place].mean(axis=(0, 1)))


class MarketView(NamedTuple):
    """The market as an agent sees it: inputs [T, C, F] on its device, stocks [S] column numbers.

    credit_scale: credits are divided by it, so that critics learn values near 1.
    """

    inputs: Tensor
    stocks: Tensor
    credit_scale: float

    @classmethod
    def of(cls, market: Market, rules: RulesConfig, device: torch.device) -> "MarketView":
        """The view of a market; on a CPU it shares the market's memory."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            inputs = torch.as_tensor(market.features, device=device)
        return cls(inputs, torch.tensor(market.stocks, device=device), credit_scale(market, rules))

    def window(self, first_days: Tensor, days: int, history: int) -> Tensor:
        """Inputs of blocks that start on `first_days` [B], with the history before them: [history + days, B, C, F]."""
        offsets = torch.arange(-history, days, device=first_days.device)
        return self.inputs[first_days[None, :] + offsets[:, None]]


def credit_scale(market: Market, rules: RulesConfig) -> float:
    """A typical credit: the std of a stock's move over the holding period on training days, at full size."""
    span, close = market.splits.training, market.stock_prices.close
    days = np.arange(span.first, span.last + 1 - rules.max_holding_period)
    move_pct = 100 * (close[days + rules.max_holding_period] / close[days] - 1)
    return float(np.nanstd(move_pct)) * rules.max_coefficient * (1 + rules.loss_penalty_multiplier) / 2


class Agent:
    """One learner. Its genome is its networks' parameters; targets and optimisers are the rest of its state."""

    def __init__(self, agent: AgentConfig, ddpg: DDPGConfig, rules: RulesConfig, market: MarketView, seed: int) -> None:
        self._config, self._ddpg, self._rules, self._market = agent, ddpg, rules, market
        self._device = market.inputs.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._online = Networks(
                features=market.inputs.shape[2],
                columns=market.inputs.shape[1],
                stocks=market.stocks,
                hidden=agent.hidden_size,
                context_days=agent.context_days,
            ).to(self._device)
        self._start_learning()

    @property
    def networks(self) -> Networks:
        """The networks that act and learn."""
        return self._online

    @property
    def market(self) -> MarketView:
        """The market as the agent sees it."""
        return self._market

    def _start_learning(self) -> None:
        """Fresh targets and optimisers for the networks as they are."""
        self._target = copy.deepcopy(self._online).requires_grad_(False)
        decay = self._ddpg.weight_decay
        value_networks = [*self._online.encoder.parameters(), *self._online.critic.parameters()]
        self._critic_optimiser = AdamW(value_networks, self._ddpg.critic_lr, decay)
        self._actor_optimiser = AdamW(self._online.actor.parameters(), self._ddpg.actor_lr, decay)

    # --- acting ---------------------------------------------------------------------------------------------------

    def act(self, slices: Slices, noise: float = 0.0, rng: np.random.Generator | None = None) -> Actions:
        """Actions for every trading day of the slices.

        noise: std of exploration as a share of each action's range, drawn from `rng`.
        """
        wanted = self.policy(np.unique(slices.trading)).on(slices)
        return wanted if rng is None or noise <= 0 else self._explored(wanted, noise, rng)

    def policy(self, days: NDArray[np.int64]) -> Policy:
        """What the agent wants on days, given in order and each once; days that are close share an encoder pass."""
        runs = runs_of(days, self._online.encoder.history_cost)
        parts = [self._policy_of(run) for run in runs]
        return Policy(days, *(np.concatenate(arrays) for arrays in zip(*(part[1:] for part in parts), strict=True)))

    @torch.no_grad()
    def _policy_of(self, days: NDArray[np.int64]) -> Policy:
        first, count = int(days[0]), int(days[-1] - days[0]) + 1
        encoding = self._encode(self._online, torch.tensor([first], device=self._device), count)
        wanted = torch.as_tensor(days - first, device=self._device)
        stocks = encoding.columns[wanted][:, 0, self._market.stocks]
        conviction, share = self._online.actor(stocks, encoding.context[wanted, 0])
        low, high = self._rules.min_target_pct, self._rules.max_target_pct
        target_pct = low + share * (high - low)
        return Policy(days, *(_numpy(part) for part in (conviction, target_pct, encoding.attention[wanted, 0])))

    def encode(self, first_days: Tensor, days: int, noise: Tensor | None = None) -> Encoding:
        """What the encoder makes of blocks of days that start on `first_days` [B]; noise: on the blocks' inputs."""
        return self._encode(self._online, first_days, days, noise)

    def _explored(self, actions: Actions, noise: float, rng: np.random.Generator) -> Actions:
        low, high = self._rules.min_target_pct, self._rules.max_target_pct

        def drawn(width: float) -> NDArray[np.float32]:
            return rng.normal(0, noise * width, actions.conviction.shape).astype(np.float32)

        conviction = actions.conviction + drawn(self._config.conviction_range)
        target_pct = np.clip(actions.target_pct + drawn(high - low), low, high)
        return Actions(conviction, target_pct, actions.attention)

    def _encode(self, networks: Networks, first_days: Tensor, days: int, noise: Tensor | None = None) -> Encoding:
        window = self._market.window(first_days, days, networks.encoder.history)
        encoding: Encoding = networks.encoder(window if noise is None else window + noise)
        return encoding

    # --- learning -------------------------------------------------------------------------------------------------

    def learn(self, sample: Sample, block_days: int, rng: torch.Generator, lr_share: float = 1.0) -> dict[str, float]:
        """One update for each of the sample's U batches; returns the mean of each training metric.

        rng: draws the noise on what the updates see, on the CPU; lr_share: of the learning rates, that the steps take.
        """
        totals: dict[str, float] = {}
        for first_days, rows in zip(sample.first_days, sample.rows, strict=True):
            for name, value in self.update(first_days, rows, block_days, rng, lr_share).items():
                totals[name] = totals.get(name, 0.0) + value / len(sample.rows)
        return totals

    def update(
        self,
        first_days: NDArray[np.int64],
        rows: NDArray[np.void],
        block_days: int,
        rng: torch.Generator,
        lr_share: float = 1.0,
    ) -> dict[str, float]:
        """One DDPG update from [B, m] transitions in B blocks of days: the mean over all of them, clipped once."""
        batches = list(self._micro_batches(first_days, rows, self.input_noise(len(rows), block_days, rng)))
        share = [len(batch.rows) / len(rows) for batch in batches]

        self._critic_optimiser.zero_grad()
        losses, values, encodings = [], [], []
        for batch, weight in zip(batches, share, strict=True):
            encoding, loss, value = self._critic_loss(batch, block_days)
            (loss * weight).backward()
            encodings.append(Encoding(*(part.detach() for part in encoding)))
            losses.append(loss.item() * weight)
            values.append(value.item() * weight)
        grad_norm = self._critic_optimiser.step(self._ddpg.max_grad_norm, lr_share)

        self._actor_optimiser.zero_grad()
        self._online.critic.requires_grad_(False)
        actor_losses = []
        for encoding, weight in zip(encodings, share, strict=True):
            loss = self._actor_loss(encoding)
            (loss * weight).backward()
            actor_losses.append(loss.item() * weight)
        self._online.critic.requires_grad_(True)
        self._actor_optimiser.step(self._ddpg.max_grad_norm, lr_share)

        self._move_targets()
        return {
            "actor_loss": sum(actor_losses),
            "critic_loss": sum(losses),
            "q_mean": sum(values),
            "grad_norm": grad_norm,
        }

    def input_noise(self, blocks: int, block_days: int, rng: torch.Generator) -> Tensor:
        """Noise on what one update sees of its blocks, [history + days, B, C, F]; none on whether a column is seen.

        It keeps the networks from learning the training days by heart: they are few, and a day's bars are unlike any
        other's (Bishop 1995, training with noise is Tikhonov regularisation).
        """
        shape = (self._online.encoder.history + block_days, blocks, *self._market.inputs.shape[1:])
        noise = torch.randn(shape, generator=rng) * self._ddpg.input_noise
        noise[..., -1] = 0
        return noise

    def _micro_batches(
        self, first_days: NDArray[np.int64], rows: NDArray[np.void], noise: Tensor
    ) -> Iterator["_Batch"]:
        pieces = min(self._ddpg.micro_batches, len(rows))
        for part in np.array_split(np.arange(len(rows)), pieces):
            yield _Batch.of(first_days[part], rows[part], noise[:, part], self._device)

    def _critic_loss(self, batch: "_Batch", block_days: int) -> tuple[Encoding, Tensor, Tensor]:
        """(Q(s, a) - y)^2 with y = credit + gamma * Q'(s', mu'(s')) (equation 5 of the paper)."""
        encoding = self._encode(self._online, batch.first_days, block_days, batch.noise)
        q = self._value_of_purchases(encoding, batch)
        with torch.no_grad():
            y = batch.credit / self._market.credit_scale
            y = y + self._ddpg.gamma * ~batch.done * self._next_value(batch, block_days)
        return encoding, F.mse_loss(q, y), q.detach().mean()

    def _value_of_purchases(self, encoding: Encoding, batch: "_Batch") -> Tensor:
        """Q of the executed actions: their size times the bought stock's value, plus the day's own value; [B, m]."""
        block = torch.arange(len(batch.rows), device=self._device)[:, None]
        column = self._market.stocks[batch.stock.clamp(min=0)]
        own = encoding.columns[batch.offset, block, column]
        context = encoding.context[batch.offset, block]
        low, high = self._rules.min_target_pct, self._rules.max_target_pct
        target = (batch.target_pct - low) / max(high - low, 1e-6)
        size = batch.coefficient / self._rules.max_coefficient
        purchase = self._online.critic.purchase(own.unsqueeze(-2), context, target.unsqueeze(-1)).squeeze(-1)
        return size * purchase + self._online.critic.state(context)

    def _next_value(self, batch: "_Batch", block_days: int) -> Tensor:
        """Q'(s', mu'(s')) of the day after each transition, [B, m]."""
        encoding = self._encode(self._target, batch.first_days + 1, block_days)
        stocks = encoding.columns[:, :, self._market.stocks]
        conviction, target = self._target.actor(stocks, encoding.context)
        value = self._soft_choice(conviction, stocks, encoding, target, self._target)
        value = value + self._target.critic.state(encoding.context)
        return value[batch.offset, torch.arange(len(batch.rows), device=self._device)[:, None]]

    def _soft_choice(
        self, conviction: Tensor, stocks: Tensor, encoding: Encoding, target: Tensor, networks: Networks
    ) -> Tensor:
        """Expected value of a purchase drawn by softmax over the convictions, [n, B]."""
        value = networks.critic.purchase(stocks, encoding.context, target)
        seen = encoding.attention[..., self._market.stocks] > 0
        choice = conviction.masked_fill(~seen, torch.finfo(conviction.dtype).min).softmax(dim=-1)
        return (choice * torch.sigmoid(conviction) * value).sum(dim=-1)

    def _actor_loss(self, encoding: Encoding) -> Tensor:
        """-Q(s, mu(s)) over all days of the blocks (equation 6 of the paper), and a light pull on the convictions."""
        stocks = encoding.columns[:, :, self._market.stocks]
        conviction, target = self._online.actor(stocks, encoding.context)
        value = self._soft_choice(conviction, stocks, encoding, target, self._online)
        return self._ddpg.conviction_l2 * conviction.square().mean() - value.mean()

    @torch.no_grad()
    def _move_targets(self) -> None:
        """theta' <- tau * theta + (1 - tau) * theta'."""
        torch._foreach_lerp_(list(self._target.parameters()), list(self._online.parameters()), self._ddpg.tau)

    @torch.no_grad()
    def settle_targets(self) -> None:
        """theta' <- theta: for networks that were moved by other means than updates."""
        torch._foreach_copy_(list(self._target.parameters()), list(self._online.parameters()))

    # --- state ----------------------------------------------------------------------------------------------------

    def genome(self) -> Arrays:
        """A copy of the parameters, name -> array."""
        return _arrays_of(self._online)

    def load_genome(self, genome: Arrays) -> None:
        """Take on a genome; targets and optimisers stay. Raises RunError naming the array that does not fit."""
        require_like(genome, self.genome())
        _load_arrays(self._online, genome)

    def state(self) -> Arrays:
        """Everything that decides how the agent acts and learns on, name -> array."""
        state = {f"{ONLINE}{name}": value for name, value in _arrays_of(self._online).items()}
        state |= {f"target/{name}": value for name, value in _arrays_of(self._target).items()}
        for name, optimiser in self._optimisers():
            for number, moments in optimiser.moments.items():
                state |= {f"{name}/{number}/{key}": _numpy(value) for key, value in moments.items()}
        return state

    def load_state(self, state: Arrays) -> None:
        """Restore what `state` gave. Raises RunError naming the array that does not fit."""
        require_like(state, self._needed(state))
        _load_arrays(self._online, genome_of(state))
        self._start_learning()
        _load_arrays(self._target, part_of(state, "target/"))
        for name, optimiser in self._optimisers():
            for key, value in part_of(state, f"{name}/").items():
                number, _, moment = key.partition("/")
                optimiser.moments.setdefault(int(number), {})[moment] = torch.tensor(value, device=self._device)

    def _needed(self, state: Arrays) -> Arrays:
        """Arrays like those that `state` is to hold: an optimiser has moments only of what it has moved."""
        needed = {f"{kind}/{name}": value for kind in ("online", "target") for name, value in self.genome().items()}
        for name, optimiser in self._optimisers():
            for number, parameter in enumerate(optimiser.parameters):
                if f"{name}/{number}/step" in state:
                    moments = fresh_moments(parameter)
                    needed |= {f"{name}/{number}/{key}": _numpy(value) for key, value in moments.items()}
        return needed

    def _optimisers(self) -> list[tuple[str, AdamW]]:
        return [("critic_adam", self._critic_optimiser), ("actor_adam", self._actor_optimiser)]


def runs_of(days: NDArray[np.int64], gap: float) -> list[NDArray[np.int64]]:
    """Cut days, in order, where more than `gap` of them are left out."""
    return np.split(days, np.flatnonzero(np.diff(days) - 1 > gap) + 1)


class _Batch(NamedTuple):
    """[B] first days of the blocks and [B, m] transitions, as tensors; offset is the day within its block.

    noise: on the blocks' inputs, [history + days, B, C, F].
    """

    first_days: Tensor
    noise: Tensor
    rows: NDArray[np.void]
    offset: Tensor
    stock: Tensor
    coefficient: Tensor
    target_pct: Tensor
    credit: Tensor
    done: Tensor

    @classmethod
    def of(cls, first_days: NDArray[np.int64], rows: NDArray[np.void], noise: Tensor, device: torch.device) -> "_Batch":
        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.as_tensor(array.copy(), device=device)

        return cls(
            first_days=tensor(first_days),
            noise=noise.to(device),
            rows=rows,
            offset=tensor(rows["day"] - first_days[:, None]),
            stock=tensor(rows["stock"].astype(np.int64)),
            coefficient=tensor(rows["coefficient"]),
            target_pct=tensor(rows["target_pct"]),
            credit=tensor(rows["credit"]),
            done=tensor(rows["done"]),
        )


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy().copy()
    return array


def _arrays_of(networks: Networks) -> Arrays:
    return {name: _numpy(value) for name, value in networks.named_parameters()}


@torch.no_grad()
def _load_arrays(networks: Networks, arrays: Arrays) -> None:
    for name, parameter in networks.named_parameters():
        parameter.copy_(torch.from_numpy(np.array(arrays[name])))
