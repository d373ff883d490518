"""Weights of the objective, against the formulas and brute force."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from sfvd_pl.diffusion import (
    NoiseSchedule,
    Prediction,
    ScheduleConfig,
    min_snr_weight,
    weighted_mse,
    wire_band,
)
from sfvd_pl.errors import ConfigError

PLAIN = NoiseSchedule(ScheduleConfig(zero_terminal_snr=False))
ZERO = NoiseSchedule()


def test_min_snr_weights_by_the_paper() -> None:
    t = torch.arange(1000)
    snr = PLAIN.snr(t).double()
    limited = snr.clamp(max=5)
    expected = {"sample": limited, "epsilon": limited / snr, "v_prediction": limited / (snr + 1)}
    for kind, weight in expected.items():
        ours = min_snr_weight(PLAIN, t, kind, 5.0, floor=0.0)  # type: ignore[arg-type]
        torch.testing.assert_close(ours.double(), weight, rtol=1e-5, atol=1e-9)


def test_every_prediction_type_weighs_the_error_of_x0_alike() -> None:
    torch.manual_seed(0)
    t = torch.tensor([50, 300, 600, 800])
    x0, noise, guess = (torch.randn(4, 1, 6, 6, dtype=torch.float64).float() for _ in range(3))
    x_t = PLAIN.add_noise(x0, noise, t)
    losses = []
    for kind in ("sample", "epsilon", "v_prediction"):
        prediction = Prediction(PLAIN, kind)
        output, target = prediction.output_from_x0(guess, x_t, t), prediction.training_target(x0, noise, t)
        losses.append(weighted_mse(output, target, min_snr_weight(PLAIN, t, kind, 5.0, floor=0.0)))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-3, atol=0)
    torch.testing.assert_close(losses[2], losses[0], rtol=1e-3, atol=0)


def test_the_floor_trains_the_step_at_zero_snr() -> None:
    last = torch.tensor([999])
    assert min_snr_weight(ZERO, last, "v_prediction", 5.0, floor=0.0).item() == 0
    assert min_snr_weight(ZERO, last, "v_prediction", 5.0, floor=0.1).item() == pytest.approx(0.1)
    assert min_snr_weight(ZERO, last, "v_prediction").item() > 0
    assert min_snr_weight(ZERO, last, "epsilon").item() == 1
    first = torch.tensor([0])
    assert min_snr_weight(ZERO, first, "sample", 5.0, floor=0.1).item() == 5, (
        "the floor leaves the limit alone"
    )


def test_infinite_gamma_is_no_limit() -> None:
    t = torch.arange(0, 1000, 100)
    assert torch.equal(min_snr_weight(PLAIN, t, "epsilon", math.inf), torch.ones(10))
    torch.testing.assert_close(
        min_snr_weight(PLAIN, t, "v_prediction", math.inf, floor=0.0),
        PLAIN.alpha(t).square(),
        rtol=1e-5,
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("gamma", "floor", "key"),
    [(0.0, 0.0, "gamma"), (math.nan, 0.0, "gamma"), (5.0, -0.1, "floor"), (1.0, 2.0, "floor")],
)
def test_limits_out_of_order_are_refused(gamma: float, floor: float, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        min_snr_weight(PLAIN, torch.tensor([1]), "sample", gamma, floor=floor)
    assert caught.value.key == key


@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize("shape", [(2, 1, 9, 11), (2, 1, 3, 9, 11)])
def test_band_is_a_square_dilation_frame_by_frame(radius: int, shape: tuple[int, ...]) -> None:
    mask = (torch.rand(shape, generator=torch.Generator().manual_seed(radius)) > 0.97).float()
    mask[0, 0, ..., 0, 0] = 1  # a corner: nothing wraps around
    mask[1] = 0
    mask[1, 0].view(-1, 9, 11)[0, 4, 5] = 1  # the first frame only
    band = wire_band(mask, radius)
    square = torch.ones(2 * radius + 1, 2 * radius + 1).numpy()
    for frame, found in zip(mask.view(-1, 9, 11), band.view(-1, 9, 11), strict=True):
        expected = ndimage.binary_dilation(frame.numpy() > 0, square)
        assert torch.equal(found > 0, torch.from_numpy(expected))
    assert band.shape == mask.shape and ((band == 0) | (band == 1)).all()


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(ConfigError, match="negative radius"):
        wire_band(torch.zeros(1, 1, 4, 4), -1)


def brute_force(
    output: Tensor, target: Tensor, weight: Tensor, pixel_weight: Tensor, frame_valid: Tensor
) -> Tensor:
    b, c, t, h, w = output.shape
    losses = []
    for i in range(b):
        summed = count = 0.0
        for k in range(t):
            for j in range(c):
                for y in range(h):
                    for x in range(w):
                        if frame_valid[i, k]:
                            p = pixel_weight[i, 0, k, y, x].item()
                            summed += p * (output[i, j, k, y, x].item() - target[i, j, k, y, x].item()) ** 2
                            count += p
        losses.append(weight[i].item() * summed / count if count else 0.0)
    return torch.tensor(losses)


@given(seed=st.integers(0, 2**31), channels=st.integers(1, 2))
@settings(max_examples=10, deadline=None)
def test_masked_loss_equals_brute_force(seed: int, channels: int) -> None:
    g = torch.Generator().manual_seed(seed)
    shape = (3, channels, 3, 2, 4)
    output, target = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
    weight, pixel = torch.rand(3, generator=g), torch.rand((3, 1, 3, 2, 4), generator=g) + 0.1
    valid = torch.rand((3, 3), generator=g) > 0.4
    valid[0] = False
    valid[1] = True
    ours = weighted_mse(output, target, weight, pixel, valid)
    torch.testing.assert_close(ours, brute_force(output, target, weight, pixel, valid))
    assert ours[0] == 0


def test_padding_touches_neither_value_nor_gradient() -> None:
    g = torch.Generator().manual_seed(0)
    output, target = torch.randn(2, 1, 4, 3, 3, generator=g), torch.randn(2, 1, 4, 3, 3, generator=g)
    valid = torch.tensor([[True, True, False, False], [True, True, True, True]])
    short = weighted_mse(output[:1, :, :2], target[:1, :, :2])
    output[0, :, 2:], target[0, :, 2:] = math.nan, math.inf
    output.requires_grad_()
    loss = weighted_mse(output, target, frame_valid=valid)
    torch.testing.assert_close(loss[:1], short)
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    assert (gradient[0, :, 2:] == 0).all() and gradient.isfinite().all()
    assert (gradient[0, :, :2] != 0).all()


def test_plain_loss_is_the_mean_of_each_sample() -> None:
    g = torch.Generator().manual_seed(1)
    output, target = torch.randn(3, 2, 5, 5, generator=g), torch.randn(3, 2, 5, 5, generator=g)
    expected = (output - target).square().mean((1, 2, 3))
    torch.testing.assert_close(weighted_mse(output, target), expected)
    torch.testing.assert_close(
        weighted_mse(output, target, pixel_weight=torch.full((3, 1, 5, 5), 7.0)), expected
    )
    assert weighted_mse(output.bfloat16(), target.bfloat16()).dtype == torch.float32


def test_frame_flags_without_frames_are_refused() -> None:
    picture = torch.zeros(2, 1, 4, 4)
    with pytest.raises(ConfigError, match="only clips"):
        weighted_mse(picture, picture, frame_valid=torch.ones(2, 1, dtype=torch.bool))
