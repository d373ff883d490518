import math

import pytest
import torch
from toy import random_condition

from sfvd_pl.networks import ScalarEmbedding, WireCondition


def _parts(batch: int = 3, frames: int = 2) -> tuple[torch.Tensor, ...]:
    """Wire mask, nearness, known, x0, region."""
    generator = torch.Generator().manual_seed(0)
    mask, nearness, known, x0, region = torch.rand(5, batch, 1, frames, 8, 8, generator=generator)
    return (mask < 0.3).float(), nearness, (known < 0.7).float(), 3 * x0 - 1, (region < 0.4).float()


def test_channels_say_where_the_wire_is_where_that_is_known_and_what_is_given() -> None:
    wire_mask, nearness, known, x0, region = _parts()
    channels = WireCondition.build(wire_mask, nearness, known, x0, region).channels
    assert channels.shape == (3, 5, 2, 8, 8)
    unknown, drawn = known[:, 0] == 0, region[:, 0] == 1
    assert torch.equal(channels[:, 0][~unknown], nearness[:, 0][~unknown])
    assert torch.equal(channels[:, 1][~unknown], wire_mask[:, 0][~unknown])
    assert not channels[:, :3].transpose(0, 1)[:, unknown].any(), "what nobody knows is not told"
    assert torch.equal(channels[:, 2], known[:, 0])
    assert torch.equal(channels[:, 3][~drawn], x0[:, 0][~drawn])
    assert not channels[:, 3][drawn].any(), "what is to be drawn is not shown"
    assert torch.equal(channels[:, 4], region[:, 0])


def test_a_fresh_frame_is_given_nothing_and_known_everywhere() -> None:
    wire_mask, nearness, *_ = _parts()
    condition = WireCondition.fresh(wire_mask, nearness)
    assert torch.equal(condition.wire_mask, wire_mask) and torch.equal(condition.channels[:, :1], nearness)
    assert condition.channels[:, 2].all() and condition.region.all() and not condition.background.any()


def test_without_wire_asks_for_none_and_leaves_the_rest() -> None:
    condition = random_condition(2, 3)
    bare = condition.without_wire()
    assert not bare.channels[:, :2].any() and condition.wire_mask.any()
    assert torch.equal(bare.channels[:, 2:], condition.channels[:, 2:])


def test_frames_and_cat() -> None:
    condition = random_condition(2, 5)
    assert torch.equal(condition.frames(slice(1, 4)).channels, condition.channels[:, :, 1:4])
    assert torch.equal(condition.frames([0, 0, 3]).channels, condition.channels[:, :, [0, 0, 3]])
    both = condition.cat(condition.without_wire())
    assert torch.equal(both.channels[:2], condition.channels) and not both.wire_mask[2:].any()


def test_scalar_embedding_matches_its_formula() -> None:
    embedding = ScalarEmbedding(6, scale=8.0)
    value = 2.5
    phase = [value / 8.0 * math.pi * 2.0**k for k in range(-1, 5)]
    features = torch.tensor([[*map(math.sin, phase), *map(math.cos, phase)]])
    expected = embedding.linear_2(torch.nn.functional.silu(embedding.linear_1(features)))
    assert torch.allclose(embedding(torch.tensor([value])), expected, atol=1e-6)


def test_unknown_selects_the_learned_vector_and_its_gradient_stays_finite() -> None:
    embedding = ScalarEmbedding(6, scale=8.0)
    with torch.no_grad():
        embedding.unknown.copy_(torch.arange(6.0))
    out = embedding(torch.tensor([math.nan, 1.0]))
    assert torch.equal(out[0], torch.arange(6.0))
    assert not torch.allclose(out[1], out[0])
    out.sum().backward()
    for parameter in embedding.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    assert embedding.unknown.grad is not None
    assert torch.equal(embedding.unknown.grad, torch.ones(6))


@pytest.mark.parametrize("zero_init", [True, False])
def test_zero_init_adds_nothing(zero_init: bool) -> None:
    out = ScalarEmbedding(6, scale=1.0, zero_init=zero_init)(torch.tensor([0.0, 0.3, math.nan]))
    assert bool(out.any()) == (not zero_init)


def test_nearby_values_are_told_apart_over_the_whole_range() -> None:
    embedding = ScalarEmbedding(32, scale=8.0)
    values = torch.arange(0.0, 8.0, 0.25)
    out = embedding(values)
    distance = torch.cdist(out, out) + torch.eye(len(values)) * 1e9
    assert distance.min() > 1e-3
