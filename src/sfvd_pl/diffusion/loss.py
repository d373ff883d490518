"""The training objective's weights: over time, over pixels, over valid frames."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sfvd_pl.diffusion.prediction import PredictionType
from sfvd_pl.diffusion.schedule import NoiseSchedule
from sfvd_pl.errors import ConfigError


def min_snr_weight(
    schedule: NoiseSchedule,
    timesteps: Int64[Tensor, " B"],
    prediction_type: PredictionType,
    gamma: float = 5.0,
    *,
    floor: float = 0.05,
) -> Float[Tensor, " B"]:
    """Min-SNR weight of each sample's squared error (arXiv 2303.09556).

    In terms of the error of x0 the weight is ``min(snr, gamma)``. An error of v is ``snr + 1`` times, one of
    epsilon ``snr`` times the squared error of x0, hence

    ``sample: clamp(snr)``, ``v_prediction: clamp(snr) / (snr + 1)``, ``epsilon: min(snr, gamma) / snr``.

    The paper's weights for x0 and v vanish with the SNR, so with zero terminal SNR the very step at which
    sampling starts would never be trained. ``clamp`` therefore also keeps the SNR from falling below
    ``floor`` (this project's addition; 0 gives the paper's weights). The weight for epsilon tends to 1 and
    needs none.

    Args:
        schedule: The noise schedule.
        timesteps: (B,).
        prediction_type: What the network predicts.
        gamma: Largest SNR that counts, 5 in the paper; infinity switches the limit off.
        floor: Smallest SNR that counts.

    Raises:
        ConfigError: ``gamma`` not positive or ``floor`` outside 0..gamma.
    """
    if not gamma > 0:
        raise ConfigError("gamma limits the SNR from above", key="gamma", expected="> 0", found=gamma)
    if not 0 <= floor <= gamma:
        raise ConfigError("floor limits the SNR from below", key="floor", expected="0..gamma", found=floor)
    snr = schedule.snr(timesteps)
    if prediction_type == "epsilon":
        # min(snr, gamma) / snr, written so that it stays 1 where the SNR is 0.
        return torch.where(snr > gamma, gamma / snr, torch.ones_like(snr))
    clamped = snr.clamp(min=floor, max=None if math.isinf(gamma) else gamma)
    return clamped if prediction_type == "sample" else clamped / (snr + 1)


def wire_band(wire_mask: Float[Tensor, "B 1 *S"], radius: int) -> Float[Tensor, "B 1 *S"]:
    """The wire and what lies within ``radius`` pixels of it, by rows and columns (a square dilation).

    Args:
        wire_mask: 0/1, (B, 1, H, W) or (B, 1, T, H, W); a clip is dilated frame by frame.
        radius: Pixels; 0 gives the mask back.

    Raises:
        ConfigError: A negative radius.
    """
    if radius < 0:
        raise ConfigError("a band cannot have a negative radius", key="radius", expected=">= 0", found=radius)
    if radius == 0:
        return wire_mask
    frames = wire_mask.flatten(0, -3).unsqueeze(1)  # every frame by itself: (N, 1, H, W)
    return F.max_pool2d(frames, 2 * radius + 1, stride=1, padding=radius).reshape(wire_mask.shape)


def weighted_mse(
    output: Float[Tensor, "B C *S"],
    target: Float[Tensor, "B C *S"],
    weight: Float[Tensor, " B"] | None = None,
    pixel_weight: Float[Tensor, "B 1 *S"] | None = None,
    frame_valid: Bool[Tensor, "B T"] | None = None,
) -> Float[Tensor, " B"]:
    """Mean squared error of each sample over its valid pixels.

    ``weight * sum(w (output - target)^2) / sum(w)`` with ``w = pixel_weight`` on valid frames and 0 on
    padding: the mean is taken over what counts, so neither padding nor the size of the wire's band scales the
        loss.

    Args:
        output: (B, C, H, W) or (B, C, T, H, W).
        target: Like ``output``.
        weight: One factor a sample, such as :func:`min_snr_weight`; it is not divided out.
        pixel_weight: Non-negative, one channel; 1 everywhere if left out.
        frame_valid: False where a frame is padding, for clips only. Whatever padding holds, NaN included,
            touches neither the value nor the gradient.

    Returns:
        (B,), float32; 0 for a sample without any valid weight.

    Raises:
        ConfigError: ``frame_valid`` for pictures without a time axis.
    """
    difference = output.float() - target.float()
    pixel = torch.ones_like(difference[:, :1]) if pixel_weight is None else pixel_weight.float()
    if frame_valid is not None:
        if output.ndim != 5:
            raise ConfigError(
                "only clips have frames that can be padding",
                key="frame_valid",
                expected="a clip (B, C, T, H, W)",
                found=tuple(output.shape),
            )
        valid = frame_valid[:, None, :, None, None]
        # where, not a product: 0 * NaN is NaN, and the gradient would be too.
        difference = torch.where(valid, difference, 0.0)
        pixel = torch.where(valid, pixel, 0.0)
    summed = (pixel * difference.square()).flatten(1).sum(1)
    count = pixel.flatten(1).sum(1) * output.shape[1]
    mean = torch.where(count > 0, summed / torch.where(count > 0, count, 1.0), 0.0)
    return mean if weight is None else weight * mean
