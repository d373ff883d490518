"""Guidance: the gradient against finite differences, the band, and what the sign of the scale does."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfvd_pl.diffusion import (
    GuidanceContext,
    NoiseSchedule,
    Prediction,
    Sampler,
    SamplerConfig,
    ScheduleConfig,
    SegmentationGuidance,
    band_loss,
    classifier_free,
    guidance_active,
    sample_noise,
    wire_band,
)
from sfvd_pl.diffusion.guidance import unit_rms_within
from sfvd_pl.errors import ConfigError

ZERO = NoiseSchedule()
PLAIN = NoiseSchedule(ScheduleConfig(zero_terminal_snr=False))
KINDS = ["epsilon", "v_prediction", "sample"]


def wire(*shape: int) -> Tensor:
    """A slanted line in each frame, at another place in each."""
    mask = torch.zeros(shape)
    frames = mask.view(-1, *shape[-2:])
    for i, frame in enumerate(frames):
        for row in range(2, shape[-2] - 2):
            frame[row, (row // 2 + i + 3) % shape[-1]] = 1
    return mask


def dark_is_wire(x0: Tensor) -> Tensor:
    """A segmenter by hand, nonlinear in a small neighbourhood: dark against its surroundings is wire."""
    return 3 * torch.tanh(2 * (F.avg_pool2d(x0, 3, 1, 1) - x0)) - 0.5 * x0


def denoiser(x: Tensor, t: Tensor) -> Tensor:
    """Smooth, and mixing pixels, so that a gradient through it differs from one that stops at it."""
    rolled = x.roll(1, -1) + 0.5 * x.roll(1, -2)
    return torch.tanh(0.7 * x + 0.4 * rolled) + (t.reshape(-1, *[1] * (x.ndim - 1)) / 1000) * 0.1 * x


def context(kind: str, x: Tensor, step: int = 5, schedule: NoiseSchedule = PLAIN) -> GuidanceContext:
    t = torch.full((len(x),), 500)
    return GuidanceContext(denoiser, Prediction(schedule, kind), x, t, step, 10)


def double_loss(guide: SegmentationGuidance, x0: Tensor) -> Tensor:
    """The guide's summed loss, written anew in float64."""
    mask, band = (y.double().reshape(-1, *y.shape[-2:]) for y in (guide.wire_mask, guide.band))
    frames = x0.reshape(-1, 1, *x0.shape[-2:])
    total = torch.zeros((), dtype=torch.float64)
    for logit, m, b in zip(dark_is_wire(frames)[:, 0], mask, band, strict=True):
        p = 1 / (1 + torch.exp(-logit))
        inside = b > 0
        if inside.any():
            bce = -(m * p.log() + (1 - m) * (1 - p).log())[inside].mean()
            dice = 1 - (2 * (p * m)[inside].sum() + 1) / (p[inside].sum() + m[inside].sum() + 1)
            total = total + bce + dice
    return total


@pytest.mark.parametrize("through_denoiser", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_equals_finite_differences(kind: str, through_denoiser: bool) -> None:
    mask = wire(2, 1, 8, 9)
    x = sample_noise(0, [0, 1], (1, 8, 9), "x")
    guide = SegmentationGuidance(dark_is_wire, mask, torch.ones(2), 1, through_denoiser=through_denoiser)
    found = guide.direction(context(kind, x))

    t = torch.tensor([500, 500])
    alpha, sigma = (
        math.sqrt(v) for v in (PLAIN.alphas_cumprod[500].item(), 1 - PLAIN.alphas_cumprod[500].item())
    )

    def x0_of(x_t: Tensor, output: Tensor) -> Tensor:
        if kind == "epsilon":
            return (x_t - sigma * output) / alpha
        return output if kind == "sample" else alpha * x_t - sigma * output

    x64 = x.double()
    constant = denoiser(x64, t)

    def loss(x_t: Tensor) -> float:
        if through_denoiser:
            return double_loss(guide, x0_of(x_t, denoiser(x_t, t))).item()
        # For `sample` a constant output has no slope in x_t at all; the direction is then that in x0.
        moved = constant + (x_t - x64) if kind == "sample" else x0_of(x_t, constant)
        return double_loss(guide, moved).item()

    step, gradient = 1e-5, torch.zeros_like(x64)
    for i in range(x64.numel()):
        shift = torch.zeros_like(x64)
        shift.view(-1)[i] = step
        gradient.view(-1)[i] = (loss(x64 + shift) - loss(x64 - shift)) / (2 * step)
    expected = -gradient * guide.band
    rms = (expected.square().sum((1, 2, 3)) / guide.band.sum((1, 2, 3))).sqrt()
    torch.testing.assert_close(found.double(), expected / rms.reshape(2, 1, 1, 1), rtol=1e-3, atol=1e-3)


def test_the_two_modes_differ() -> None:
    mask, x = wire(1, 1, 8, 9), sample_noise(0, [0], (1, 8, 9), "x")
    directions = [
        SegmentationGuidance(dark_is_wire, mask, torch.ones(1), 1, through_denoiser=mode).direction(
            context("v_prediction", x)
        )
        for mode in (False, True)
    ]
    assert (directions[0] - directions[1]).abs().max() > 0.1


@pytest.mark.parametrize("through_denoiser", [False, True])
@pytest.mark.parametrize("shape", [(3, 1, 12, 14), (3, 1, 4, 12, 14)])
def test_only_the_band_moves_and_by_the_scale(shape: tuple[int, ...], through_denoiser: bool) -> None:
    mask = wire(*shape)
    mask[2] = 0  # a sample without a wire: nothing to guide
    scale = torch.tensor([0.3, -0.2, 0.5])
    guide = SegmentationGuidance(dark_is_wire, mask, scale, 2, through_denoiser=through_denoiser)
    state = context("v_prediction", sample_noise(1, range(3), shape[1:], "x"))
    moved = guide(state) - state.x0
    band = wire_band(mask, 2)
    assert (moved[band == 0] == 0).all()
    rms = [(moved[i].square().sum() / band[i].sum()).sqrt().item() for i in (0, 1)]
    assert rms == pytest.approx([0.3, 0.2], rel=1e-3)
    assert (moved[2] == 0).all() and moved.isfinite().all()


@pytest.mark.parametrize("through_denoiser", [False, True])
@pytest.mark.parametrize("shape", [(2, 1, 12, 14), (2, 1, 3, 12, 14)])
def test_positive_scale_makes_the_wire_clearer_and_negative_fainter(
    shape: tuple[int, ...], through_denoiser: bool
) -> None:
    mask = wire(*shape)
    sampler = Sampler(Prediction(ZERO), SamplerConfig("ddim", 20, 0.0))
    start = sample_noise(2, range(2), shape[1:], "x_T")
    losses = []
    for scale in (-0.3, 0.0, 0.3):
        guide = SegmentationGuidance(
            dark_is_wire, mask, torch.full((2,), scale), 2, through_denoiser=through_denoiser
        )
        x0 = sampler.sample(denoiser, start, x0_guidance=guide)
        losses.append(guide.losses(x0).reshape(2, -1).sum(1))
    assert (losses[0] > losses[1]).all() and (losses[1] > losses[2]).all()


def test_one_guided_step_lowers_the_loss_of_each_sample_by_its_own_scale() -> None:
    mask, x = wire(3, 1, 12, 14), sample_noise(3, range(3), (1, 12, 14), "x")
    guide = SegmentationGuidance(dark_is_wire, mask, torch.tensor([0.05, -0.05, 0.0]), 2)
    state = context("v_prediction", x)
    change = guide.losses(guide(state)) - guide.losses(state.x0)
    assert change[0] < 0 < change[1] and change[2] == 0


@pytest.mark.parametrize("scale", [0.4, -0.4])
def test_outside_the_interval_nothing_happens(scale: float) -> None:
    mask, x = wire(1, 1, 8, 9), sample_noise(0, [0], (1, 8, 9), "x")
    guide = SegmentationGuidance(dark_is_wire, mask, torch.tensor([scale]), interval=(0.3, 0.6))
    for step in range(10):
        state = context("v_prediction", x, step)
        assert torch.equal(guide(state), state.x0) == (step not in (3, 4, 5))


def test_a_scale_of_zero_costs_nothing() -> None:
    seen: list[Tensor] = []

    def watched(x0: Tensor) -> Tensor:
        seen.append(x0)
        return dark_is_wire(x0)

    mask, x = wire(2, 1, 8, 9), sample_noise(0, [0, 1], (1, 8, 9), "x")
    state = context("v_prediction", x)
    assert SegmentationGuidance(watched, mask, torch.zeros(2))(state) is state.x0 and not seen
    SegmentationGuidance(watched, mask, torch.tensor([0.0, 0.1]))(state)
    assert len(seen) == 1


def test_the_segmenter_sees_the_frames_of_a_clip_one_by_one() -> None:
    mask, x0 = wire(2, 1, 3, 8, 9), sample_noise(0, [0, 1], (1, 3, 8, 9), "x0")
    seen: list[Tensor] = []

    def watched(frames: Tensor) -> Tensor:
        seen.append(frames)
        return dark_is_wire(frames)

    losses = SegmentationGuidance(watched, mask, torch.ones(2)).losses(x0)
    assert torch.equal(seen[0], torch.stack([x0[b, :, t] for b in range(2) for t in range(3)]))
    for t in range(3):
        alone = SegmentationGuidance(dark_is_wire, mask[:, :, t], torch.ones(2)).losses(x0[:, :, t])
        torch.testing.assert_close(losses[t::3], alone)


@pytest.mark.parametrize("through_denoiser", [False, True])
def test_one_call_of_the_denoiser_a_step(through_denoiser: bool) -> None:
    calls: list[bool] = []

    def counting(x: Tensor, t: Tensor) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return denoiser(x, t)

    guide = SegmentationGuidance(
        dark_is_wire, wire(1, 1, 8, 9), torch.ones(1), through_denoiser=through_denoiser
    )
    sampler = Sampler(Prediction(ZERO), SamplerConfig("dpmpp_2m", 10))
    sampler.sample(counting, sample_noise(0, [0], (1, 8, 9), "x_T"), x0_guidance=guide)
    assert len(calls) == 10
    assert calls == [through_denoiser and 2 <= step < 8 for step in range(10)]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("through_denoiser", [False, True])
def test_it_works_where_gradients_are_off_and_leaves_no_trace(mode: type, through_denoiser: bool) -> None:
    torch.manual_seed(0)
    segmenter, network = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)

    def network_denoiser(x: Tensor, t: Tensor) -> Tensor:
        moved: Tensor = network(x)
        return moved

    start = sample_noise(0, [0], (1, 8, 9), "x_T")
    sampler = Sampler(Prediction(ZERO), SamplerConfig("ddim", 10, 0.0))

    def draw() -> Tensor:
        guide = SegmentationGuidance(
            segmenter, wire(1, 1, 8, 9), torch.full((1,), 0.5), through_denoiser=through_denoiser
        )
        return sampler.sample(network_denoiser, start.clone(), x0_guidance=guide)

    expected = draw()
    with mode():
        found = draw()
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    assert all(p.grad is None for m in (segmenter, network) for p in m.parameters())
    unguided = sampler.sample(network_denoiser, start)
    assert (expected - unguided).abs().max() > 0.05


def test_zero_snr_is_guided_too() -> None:
    x = sample_noise(0, [0], (1, 8, 9), "x")
    last = GuidanceContext(denoiser, Prediction(ZERO), x, torch.tensor([999]), 0, 10)
    guide = SegmentationGuidance(dark_is_wire, wire(1, 1, 8, 9), torch.ones(1), interval=(0.0, 1.0))
    assert guide(last).isfinite().all() and not torch.equal(guide(last), last.x0)


def test_tiny_and_vanishing_gradients() -> None:
    band = torch.ones(3, 1, 2, 2)
    band[:, :, 0, 0] = 0
    values = torch.tensor([1e-30, 0.0, 3.0]).reshape(3, 1, 1, 1).expand(3, 1, 2, 2)
    unit = unit_rms_within(values, band)
    torch.testing.assert_close(unit[0], band[0])
    torch.testing.assert_close(unit[2], band[2])
    assert (unit[1] == 0).all()
    flat = SegmentationGuidance(lambda x0: x0 * 0, wire(1, 1, 8, 9), torch.ones(1))
    state = context("v_prediction", sample_noise(0, [0], (1, 8, 9), "x"))
    assert torch.equal(flat(state), state.x0), "a guide that is indifferent moves nothing"


def test_band_loss_sees_the_band_only() -> None:
    mask = wire(2, 1, 8, 9)
    mask[1] = 0
    band = wire_band(mask, 1)
    logits = sample_noise(0, [0, 1], (1, 8, 9), "logits")
    loss = band_loss(logits, mask, band)
    assert loss[0] > 0 and loss[1] == 0
    elsewhere = logits + 50 * (1 - band)
    torch.testing.assert_close(band_loss(elsewhere, mask, band), loss)
    perfect = band_loss((mask * 2 - 1) * 20, mask, band)
    assert perfect[0] < 1e-4


def test_classifier_free_guidance() -> None:
    cond, uncond = torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 1, 1), 1.0)
    assert classifier_free(cond, uncond, 1.0).flatten().tolist() == [3, 3]
    assert classifier_free(cond, uncond, 0.0).flatten().tolist() == [1, 1]
    assert classifier_free(cond, uncond, 2.0).flatten().tolist() == [5, 5]
    assert classifier_free(cond, uncond, torch.tensor([1.0, 3.0])).flatten().tolist() == [3, 7]


@pytest.mark.parametrize("kind", KINDS)
def test_classifier_free_guidance_means_the_same_for_every_type(kind: str) -> None:
    x_t, a, b = (sample_noise(0, [0, 1], (1, 4, 4), name) for name in ("x_t", "a", "b"))
    t = torch.tensor([300, 600])
    prediction = Prediction(PLAIN, kind)
    outputs = [prediction.output_from_x0(x0, x_t, t) for x0 in (a, b)]
    x0 = prediction.x0_from_output(classifier_free(outputs[0], outputs[1], 2.5), x_t, t)
    torch.testing.assert_close(x0, classifier_free(a, b, 2.5), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("num_steps", "interval", "active"),
    [
        (25, (0.2, 0.8), range(5, 20)),
        (10, (0.0, 1.0), range(10)),
        (4, (0.0, 0.5), range(2)),
        (1, (0.2, 0.8), range(1)),
    ],
)
def test_guidance_interval(num_steps: int, interval: tuple[float, float], active: range) -> None:
    assert [s for s in range(num_steps) if guidance_active(s, num_steps, interval)] == list(active)


@pytest.mark.parametrize("interval", [(0.5, 0.5), (0.8, 0.2), (-0.1, 0.5), (0.5, 1.1)])
def test_an_interval_that_is_none_is_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="not a part of the trajectory"):
        guidance_active(0, 10, interval)
    with pytest.raises(ConfigError, match="not a part of the trajectory"):
        SegmentationGuidance(dark_is_wire, wire(1, 1, 8, 9), torch.ones(1), interval=interval)


@pytest.mark.parametrize("scales", [1, 3])
def test_one_scale_a_sample_is_demanded(scales: int) -> None:
    with pytest.raises(ConfigError, match="one scale a sample"):
        SegmentationGuidance(dark_is_wire, wire(2, 1, 8, 9), torch.ones(scales))


def test_sizes_that_do_not_fit_are_refused() -> None:
    guide = SegmentationGuidance(dark_is_wire, wire(1, 1, 8, 9), torch.ones(1))
    with pytest.raises(ConfigError, match="does not fit") as caught:
        guide(context("v_prediction", torch.zeros(1, 1, 8, 10)))
    assert caught.value.key == "wire_mask"
    sampler = Sampler(Prediction(ZERO), SamplerConfig("ddim", 10, 0.0))
    with pytest.raises(ConfigError, match="does not fit"):
        sampler.sample(denoiser, torch.zeros(1, 1, 2, 8, 9), x0_guidance=guide)
