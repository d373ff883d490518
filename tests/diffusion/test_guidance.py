"""Guidance: the gradient against finite differences, the band, what the sign does, and that rounding stays rounding."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvd_pl.diffusion import (
    NoiseSchedule,
    Prediction,
    Sampler,
    SamplerConfig,
    SegmentationGuidance,
    guidance_active,
    sample_noise,
    wire_band,
)
from sfvd_pl.errors import ConfigError


def wire(*shape: int) -> Tensor:
    """A slanted line in each frame, at another place in each."""
    mask = torch.zeros(shape)
    for i, frame in enumerate(mask.view(-1, *shape[-2:])):
        for row in range(2, shape[-2] - 2):
            frame[row, (row // 2 + i + 3) % shape[-1]] = 1
    return mask


def dark_is_wire(x0: Tensor) -> Tensor:
    """A segmenter by hand, nonlinear in a small neighbourhood: dark against its surroundings is wire."""
    return 3 * torch.tanh(2 * (F.avg_pool2d(x0, 3, 1, 1) - x0)) - 0.5 * x0


def denoiser(x: Tensor, t: Tensor) -> Tensor:
    """Smooth, and mixing pixels."""
    return torch.tanh(0.7 * x + 0.4 * x.roll(1, -1)) + (t.reshape(-1, *[1] * (x.ndim - 1)) / 1000) * 0.1 * x


def picture(*shape: int) -> Tensor:
    return sample_noise(0, range(shape[0]), shape[1:], "x0")


def rms(values: Tensor, band: Tensor) -> Tensor:
    return (values.square().flatten(1).sum(1) / band.flatten(1).sum(1)).sqrt()


def test_direction_is_the_gradient_of_the_summed_cross_entropy_as_large_as_the_guide_s_error() -> None:
    mask, x0 = wire(2, 1, 8, 9), picture(2, 1, 8, 9)
    scale = torch.tensor([0.3, -0.2])
    found = SegmentationGuidance(dark_is_wire, mask, scale, 1).direction(x0)
    band, x64 = wire_band(mask, 1).double(), x0.double()
    target = torch.stack([mask[0], torch.zeros_like(mask[1])]).double()  # fainter is towards no wire at all

    def loss(x: Tensor) -> float:
        p = dark_is_wire(x).sigmoid()
        return -float(((target * p.log() + (1 - target) * (1 - p).log()) * band).sum())

    gradient = torch.zeros_like(x64)
    for i in range(x64.numel()):
        shift = torch.zeros_like(x64)
        shift.view(-1)[i] = 1e-5
        gradient.view(-1)[i] = (loss(x64 + shift) - loss(x64 - shift)) / 2e-5
    gradient *= band
    error = rms((dark_is_wire(x64).sigmoid() - target) * band, band)
    expected = -gradient * (error / rms(gradient, band)).reshape(2, 1, 1, 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 1, 12, 14), (3, 1, 4, 12, 14)])
def test_only_the_band_moves_by_the_scale_times_the_error(shape: tuple[int, ...]) -> None:
    mask, x0 = wire(*shape), picture(*shape)
    mask[2] = 0  # a sample without a wire: nothing to guide
    moved = SegmentationGuidance(dark_is_wire, mask, torch.tensor([0.3, -0.2, 0.5]), 2)(x0, 5, 10) - x0
    band = wire_band(mask, 2)
    assert not moved[band == 0].any() and not moved[2].any()
    p = dark_is_wire(x0.reshape(-1, 1, 12, 14)).sigmoid().reshape(shape)
    error = rms((p - mask * torch.tensor([1.0, 0.0, 0.0]).reshape(3, *[1] * (len(shape) - 1))) * band, band)
    torch.testing.assert_close(rms(moved, band)[:2], error[:2] * torch.tensor([0.3, 0.2]), rtol=1e-3, atol=0)


@pytest.mark.parametrize("shape", [(2, 1, 12, 14), (2, 1, 3, 12, 14)])
def test_positive_is_clearer_and_negative_fainter_over_a_whole_trajectory(shape: tuple[int, ...]) -> None:
    mask = wire(*shape)
    sampler = Sampler(Prediction(NoiseSchedule()), SamplerConfig("ddim", 20, 0.0))
    found = []
    for scale in (-0.5, 0.0, 0.5):
        guide = SegmentationGuidance(dark_is_wire, mask, torch.full((2,), scale), 2)
        x0 = sampler.sample(denoiser, picture(*shape), x0_guidance=guide)
        found.append((dark_is_wire(x0.reshape(-1, 1, 12, 14)).sigmoid().reshape(shape) * mask).flatten(1).sum(1))
    assert (found[0] < 0.95 * found[1]).all() and (found[1] < 0.95 * found[2]).all()


def test_a_content_guide_moves_nothing_measurable() -> None:
    mask, x0 = wire(1, 1, 12, 14), picture(1, 1, 12, 14)

    def content(x: Tensor) -> Tensor:
        return 40 * (2 * mask - 1) + dark_is_wire(x)

    moved = SegmentationGuidance(content, mask, torch.ones(1), 2)(x0, 5, 10) - x0
    assert moved.abs().max() < 1e-6
    flat = SegmentationGuidance(lambda x: x * 0, mask, torch.ones(1))
    assert torch.equal(flat(x0, 5, 10), x0), "a guide that sees nothing moves nothing either"


@pytest.mark.parametrize("confidence", [0.0, 5.0, 12.0, 40.0])
def test_rounding_is_not_made_large(confidence: float) -> None:
    """Another processor's rounding, or another batch's, must not become pixels."""
    mask, start = wire(1, 1, 12, 14), picture(1, 1, 12, 14)
    sampler = Sampler(Prediction(NoiseSchedule()), SamplerConfig("ddim", 10, 0.0))

    def sure(x: Tensor) -> Tensor:
        return confidence * (2 * mask - 1) + dark_is_wire(x)

    guide = SegmentationGuidance(sure, mask, torch.full((1,), 0.2), 2)
    here, there = (
        sampler.sample(denoiser, x, x0_guidance=guide)
        for x in (start, start * (1 + 1e-6 * sample_noise(1, [0], (1, 12, 14), "rounding")))
    )
    assert (here - there).abs().max() < 2e-5


def test_outside_the_interval_nothing_happens_and_a_scale_of_zero_costs_nothing() -> None:
    seen: list[Tensor] = []

    def watched(x0: Tensor) -> Tensor:
        seen.append(x0)
        return dark_is_wire(x0)

    mask, x0 = wire(2, 1, 8, 9), picture(2, 1, 8, 9)
    guide = SegmentationGuidance(watched, mask, torch.tensor([0.4, 0.0]), interval=(0.3, 0.6))
    for step in range(10):
        assert torch.equal(guide(x0, step, 10), x0) == (step not in (3, 4, 5))
    assert len(seen) == 3
    assert SegmentationGuidance(watched, mask, torch.zeros(2))(x0, 5, 10) is x0 and len(seen) == 3


def test_the_segmenter_sees_the_frames_of_a_clip_one_by_one() -> None:
    mask, x0, seen = wire(2, 1, 3, 8, 9), picture(2, 1, 3, 8, 9), []

    def watched(frames: Tensor) -> Tensor:
        seen.append(frames.detach().clone())
        return dark_is_wire(frames)

    SegmentationGuidance(watched, mask, torch.ones(2))(x0, 5, 10)
    assert torch.equal(seen[0], torch.stack([x0[b, :, t] for b in range(2) for t in range(3)]))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off_and_leaves_no_trace(mode: type) -> None:
    torch.manual_seed(0)
    segmenter = nn.Conv2d(1, 1, 3, padding=1)
    sampler = Sampler(Prediction(NoiseSchedule()), SamplerConfig("dpmpp_2m", 10))

    def guided() -> Tensor:
        guide = SegmentationGuidance(segmenter, wire(1, 1, 8, 9), torch.full((1,), 0.5), interval=(0.0, 1.0))
        return sampler.sample(denoiser, picture(1, 1, 8, 9), x0_guidance=guide)

    expected = guided()
    with mode():
        found = guided()
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad and all(p.grad is None for p in segmenter.parameters())
    assert (expected - sampler.sample(denoiser, picture(1, 1, 8, 9))).abs().max() > 0.05


@pytest.mark.parametrize(
    ("num_steps", "interval", "active"),
    [(25, (0.2, 0.8), range(5, 20)), (10, (0.0, 1.0), range(10)), (4, (0.0, 0.5), range(2)), (1, (0.2, 0.8), range(1))],
)
def test_guidance_interval(num_steps: int, interval: tuple[float, float], active: range) -> None:
    assert [s for s in range(num_steps) if guidance_active(s, num_steps, interval)] == list(active)


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.8, 0.2), (-0.1, 0.5), (0.5, 1.1)])
def test_an_interval_that_is_none_is_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="not a part of the trajectory"):
        SegmentationGuidance(dark_is_wire, wire(1, 1, 8, 9), torch.ones(1), interval=interval)


def test_one_scale_a_sample_is_demanded() -> None:
    with pytest.raises(ConfigError, match="one scale per sample"):
        SegmentationGuidance(dark_is_wire, wire(2, 1, 8, 9), torch.ones(3))
