import math

import pytest
import torch
from toy import random_condition

from sfvd_pl.networks import ScalarEmbedding, WireCondition
from sfvd_pl.networks.condition import VISIBILITY_SCALE


def _parts(batch: int = 3, frames: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    wire_mask = (torch.rand(batch, 1, frames, 8, 8) < 0.3).float()
    return wire_mask, torch.rand(batch, 1, frames, 8, 8), torch.rand(batch, frames) * 4


def test_channels_are_nearness_mask_flag_and_visibility_on_the_wire() -> None:
    wire_mask, nearness, visibility = _parts()
    known = torch.ones(3, 2, dtype=torch.bool)
    condition = WireCondition.build(wire_mask, nearness, known, visibility)
    assert torch.equal(condition.channels[:, :1], nearness)
    assert torch.equal(condition.channels[:, 1:2], wire_mask)
    assert torch.equal(condition.channels[:, 2:3], torch.ones_like(wire_mask))
    for sample in range(3):
        for frame in range(2):
            expected = wire_mask[sample, 0, frame] * visibility[sample, frame] / VISIBILITY_SCALE
            assert torch.allclose(condition.channels[sample, 3, frame], expected)
    assert torch.equal(condition.visibility, visibility)


def test_an_unlabelled_frame_has_the_null_condition() -> None:
    wire_mask, nearness, visibility = _parts()
    known = torch.tensor([[True, False], [False, True], [True, True]])
    condition = WireCondition.build(wire_mask, nearness, known, visibility)
    null = condition.null()
    for sample in range(3):
        for frame in range(2):
            same = torch.equal(condition.channels[sample, :, frame], null.channels[sample, :, frame])
            assert same == (not known[sample, frame])
            assert bool(condition.visibility[sample, frame].isnan()) == (not known[sample, frame])


def test_an_unknown_visibility_of_a_known_label_is_0_on_the_wire() -> None:
    wire_mask, nearness, visibility = _parts()
    visibility[1, 0] = math.nan
    condition = WireCondition.build(wire_mask, nearness, torch.ones(3, 2, dtype=torch.bool), visibility)
    assert torch.isfinite(condition.channels).all()
    assert not condition.channels[1, 3, 0].any()
    assert condition.channels[1, 2, 0].all()
    assert condition.visibility[1, 0].isnan()


def test_null_says_nothing() -> None:
    null = random_condition(2, 3).null()
    assert not null.channels.any()
    assert null.visibility.isnan().all()


def test_drop_makes_the_chosen_samples_null_and_leaves_the_others() -> None:
    condition = random_condition(4, 2)
    dropped = torch.tensor([True, False, False, True])
    after = condition.drop(dropped)
    for sample in range(4):
        if dropped[sample]:
            assert not after.channels[sample].any()
            assert after.visibility[sample].isnan().all()
        else:
            assert torch.equal(after.channels[sample], condition.channels[sample])
            assert torch.equal(after.visibility[sample], condition.visibility[sample])


def test_frames_and_cat_keep_channels_and_visibility_together() -> None:
    condition = random_condition(2, 5)
    part = condition.frames(slice(1, 4))
    assert torch.equal(part.channels, condition.channels[:, :, 1:4])
    assert torch.equal(part.visibility, condition.visibility[:, 1:4])
    both = part.cat(part.null())
    assert torch.equal(both.channels[:2], part.channels)
    assert not both.channels[2:].any()
    assert both.visibility[2:].isnan().all()
    assert torch.equal(both.visibility[:2], part.visibility)


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


def test_nearby_visibilities_are_told_apart_over_the_whole_range() -> None:
    embedding = ScalarEmbedding(32, scale=8.0)
    values = torch.arange(0.0, 8.0, 0.25)
    out = embedding(values)
    distance = torch.cdist(out, out) + torch.eye(len(values)) * 1e9
    assert distance.min() > 1e-3
