"""The networks: what an encoding depends on, and what it does not."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from eigen2.learning.networks import (
    KERNEL,
    NAME_PACE,
    ROWS,
    Actor,
    CausalTaps,
    Critic,
    Encoder,
    Encoding,
    attention_prior,
    dilations,
)

torch.set_num_threads(1)
COLUMNS, FEATURES, HIDDEN = 3, 4, 8
CONTEXTS = [2, 3, 4, 5, 8, 16, 17, 30, 64, 100]


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def make_encoder(context_days: int = 16) -> Encoder:
    return Encoder(FEATURES, COLUMNS, torch.arange(COLUMNS), HIDDEN, context_days)


def make_inputs(days: int, blocks: int = 1) -> Tensor:
    """Noise of [days, B, C, F], all columns seen."""
    inputs = torch.randn(days, blocks, COLUMNS, FEATURES)
    inputs[..., -1] = 1
    return inputs


def days_that_matter(encoder: Encoder, days: int, day: int) -> list[int]:
    """Input days on which the columns or the context of the encoding's `day` depend, by their gradient."""
    inputs = make_inputs(encoder.history + days).requires_grad_()
    encoding = encoder(inputs)
    weights = torch.randn_like(encoding.columns[day])  # a plain sum over a normed layer would have no gradient
    ((encoding.columns[day] * weights).sum() + encoding.context[day].sum()).backward()
    assert inputs.grad is not None
    return torch.nonzero(inputs.grad.abs().amax(dim=(1, 2, 3))).flatten().tolist()


def receptive_field(context_days: int) -> int:
    return 1 + sum((KERNEL - 1) * dilation for dilation in dilations(context_days))


def test_the_receptive_field_is_the_largest_that_fits_the_context() -> None:
    for context_days in range(2, 600):
        assert context_days - (KERNEL - 1) < receptive_field(context_days) <= context_days


def test_64_days_are_covered_exactly_by_three_layers() -> None:
    assert dilations(64) == [16, 4, 1]
    assert receptive_field(64) == 64


@pytest.mark.parametrize("context_days", CONTEXTS)
def test_an_encoding_sees_its_own_day_and_every_day_of_the_history_before_it(context_days: int) -> None:
    encoder = make_encoder(context_days)
    assert encoder.history + 1 == receptive_field(context_days)
    for day in (0, 3):
        seen = days_that_matter(encoder, days=5, day=day)
        assert seen == list(range(day, day + encoder.history + 1))


@pytest.mark.parametrize("at", [-1, 0])
def test_only_a_change_within_the_history_changes_an_encoding(at: int) -> None:
    encoder, days = make_encoder(), 6
    inputs = make_inputs(encoder.history + days)
    before = encoder(inputs)
    changed = inputs.clone()
    changed[at, :, :, :-1] += 1  # the first day counts for encoding 0 alone, the last for the last alone
    after = encoder(changed)
    kept, moved = (slice(1, None), 0) if at == 0 else (slice(None, -1), -1)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old[kept], new[kept])
        assert not torch.equal(old[moved], new[moved])


def test_an_encoding_does_not_depend_on_how_days_are_cut_into_blocks() -> None:
    encoder, days = make_encoder(), 9
    inputs = make_inputs(encoder.history + days)
    whole = encoder(inputs)
    singly = torch.cat([inputs[day : day + encoder.history + 1] for day in range(days)], dim=1)
    halves = [encoder(inputs[: encoder.history + 4]), encoder(inputs[4:])]
    for part, one_by_one, first, second in zip(whole, encoder(singly), *halves, strict=True):
        torch.testing.assert_close(part[:, 0], one_by_one[0])
        torch.testing.assert_close(part, torch.cat([first, second]))


def test_an_encoding_does_not_depend_on_how_many_columns_pass_together(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_encoder()
    inputs = make_inputs(encoder.history + 4, blocks=2)
    together = encoder(inputs)
    for rows in (1, 2 * inputs.shape[0] * inputs.shape[1]):
        monkeypatch.setitem(ROWS, "cpu", rows)
        for one, other in zip(together, encoder(inputs), strict=True):
            torch.testing.assert_close(one, other)


def test_the_cost_of_a_history_is_that_of_its_days_in_all_layers() -> None:
    encoder = make_encoder(64)  # dilations 16, 4, 1: layers that give 15, 3 and 0 days of the 63 on
    assert encoder.history == 63
    assert encoder.history_cost == (15 + 3 + 0) / 3


def test_blocks_of_a_batch_do_not_touch_each_other() -> None:
    encoder = make_encoder()
    inputs = make_inputs(encoder.history + 2, blocks=2)
    changed = inputs.clone()
    changed[:, 1, :, :-1] += 1
    for old, new in zip(encoder(inputs), encoder(changed), strict=True):
        torch.testing.assert_close(old[:, 0], new[:, 0])


def encode_with_unseen(column: int) -> Encoding:
    encoder = make_encoder()
    inputs = make_inputs(encoder.history + 4, blocks=2)
    inputs[-1, 0, column] = 0  # unseen on the last day of the first block alone
    encoding: Encoding = encoder(inputs)
    return encoding


def test_attention_sums_to_one_and_skips_unseen_columns() -> None:
    attention = encode_with_unseen(1).attention
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(4, 2))
    unseen = torch.zeros_like(attention, dtype=torch.bool)
    unseen[-1, 0, 1] = True
    assert (attention[unseen] == 0).all()
    assert (attention[~unseen] > 0).all()


def test_days_on_which_nothing_is_seen_stay_finite() -> None:
    encoder = make_encoder()
    for part in encoder(torch.zeros(encoder.history + 3, 1, COLUMNS, FEATURES)):
        assert torch.isfinite(part).all()


def test_columns_with_the_same_inputs_differ_by_their_names_alone() -> None:
    encoder = make_encoder()
    inputs = make_inputs(encoder.history + 1)
    inputs[:] = inputs[:, :, :1]
    columns = encoder(inputs).columns[0, 0]
    assert not torch.allclose(columns[0], columns[1])
    names = NAME_PACE * encoder.column
    torch.testing.assert_close(columns[0] - names[0], columns[1] - names[1])


@pytest.mark.parametrize("stocks", [[1], [0, 2], [1, 3, 4, 5, 6, 7]])
def test_columns_that_cannot_be_bought_have_half_of_an_even_attention(stocks: list[int]) -> None:
    attention = attention_prior(8, torch.tensor(stocks)).softmax(dim=0)
    assert float(attention[stocks].sum()) == pytest.approx(0.5)
    assert attention[stocks].unique().numel() == 1


def test_where_every_column_can_be_bought_none_is_preferred() -> None:
    assert attention_prior(3, torch.arange(3)).tolist() == [0, 0, 0]


def test_the_prior_is_added_to_the_scores() -> None:
    encoder = Encoder(FEATURES, COLUMNS, torch.tensor([0, 1]), HIDDEN, context_days=16)
    with torch.no_grad():
        encoder.query.zero_()
    attention = encoder(make_inputs(encoder.history + 1)).attention[0, 0]
    torch.testing.assert_close(attention, torch.tensor([0.25, 0.25, 0.5]))


def test_the_heads_treat_every_stock_alike() -> None:
    actor, critic = Actor(HIDDEN), Critic(HIDDEN)
    stocks, context, target = torch.randn(5, 2, 4, HIDDEN), torch.randn(5, 2, HIDDEN), torch.rand(5, 2, 4)
    order = torch.tensor([2, 0, 3, 1])
    for straight, permuted in zip(actor(stocks, context), actor(stocks[:, :, order], context), strict=True):
        torch.testing.assert_close(straight[..., order], permuted)
    value = critic.purchase(stocks, context, target)
    torch.testing.assert_close(value[..., order], critic.purchase(stocks[:, :, order], context, target[..., order]))
    assert critic.state(context).shape == (5, 2)


def test_targets_are_shares_of_their_range() -> None:
    _, target = Actor(HIDDEN)(100 * torch.randn(50, 1, 4, HIDDEN), torch.randn(50, 1, HIDDEN))
    assert target.min() >= 0
    assert target.max() <= 1


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_product_a_tap_is_the_product_of_joined_taps_and_has_its_gradients(dilation: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    x, weight, bias = drawn(KERNEL * dilation + 2, 2, 3, 5), drawn(4, KERNEL * 5), drawn(4)
    days = len(x) - (KERNEL - 1) * dilation
    joined = torch.cat([x[k * dilation : k * dilation + days] for k in range(KERNEL)], dim=-1)
    found = CausalTaps.apply(x, weight, bias, dilation)
    torch.testing.assert_close(found, torch.nn.functional.linear(joined, weight, bias))
    assert torch.autograd.gradcheck(CausalTaps.apply, (x, weight, bias, dilation))
