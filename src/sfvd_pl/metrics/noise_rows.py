"""Noise of one set of clips beside others: how much, how white, and for how many frames it is remembered."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfvd_pl.metrics.arrays import Array, require_axes, require_same_shape
from sfvd_pl.metrics.noise import around_wire, residual_autocorrelation, residual_std
from sfvd_pl.metrics.rows import Values
from sfvd_pl.metrics.spectrum import FINE_BANDS, FINE_PATCH_PX, noise_spectrum

ROW_LAGS = (1, 2, 3, 4, 5, 6, 7)
"""Frames between the pictures whose residuals are compared; a shorter clip leaves the long ones out."""
OVERLAP_BELOW_PX = 192
"""Frames with a shorter side are cut into patches that overlap by half, so that enough lie clear of the wire."""


def clip_noise(
    clip: Array, wire_mask: Array, *, intensity_max: int | float = 255, lags: Sequence[int] = ROW_LAGS
) -> Values:
    """Noise of a clip, by name.

    Args:
        clip: (T, H, W), the valid extent only: padding has no noise.
        wire_mask: (T, H, W), non-zero on the wire; all 0 where it isn't known, then nothing is left out.
        intensity_max: Deviations are given as a share of it.
        lags: Frames.

    Returns:
        ``pixel_std``, ``residual_std``, ``noise_std`` (of frame differences, over sqrt 2), the curve
        ``autocorrelation`` (one a lag) and the curve ``spectrum`` (one a band of ``FINE_BANDS``, 1 for white noise).

    Raises:
        MetricsError: If axes or shapes are wrong.
    """
    require_axes(clip, "T H W", "clip")
    require_same_shape(wire_mask, clip, "wire_mask", "clip")
    values = np.asarray(clip).astype(np.float64) / intensity_max
    near = around_wire(wire_mask)
    stride = FINE_PATCH_PX // 2 if min(clip.shape[1:]) < OVERLAP_BELOW_PX else FINE_PATCH_PX
    noise = noise_spectrum(values, near, bands=FINE_BANDS, patch_px=FINE_PATCH_PX, stride=stride)
    return {
        "pixel_std": float(values.std()),
        "residual_std": residual_std(values, exclude=near),
        "noise_std": noise.std,
        "autocorrelation": residual_autocorrelation(values, lags, exclude=near),
        "spectrum": noise.shape,
    }


def noise_rows_section(
    reference: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, lags: Sequence[int] = ROW_LAGS
) -> dict[str, Any]:
    """What the section ``noise`` of a metrics file holds beside the comparison of two sets."""
    return {
        "lags": list(lags),
        "frequencies": [0.5 * (a + b) for a, b in zip(FINE_BANDS, FINE_BANDS[1:], strict=False)],
        "reference": dict(reference),
        "rows": [dict(row) for row in rows],
    }
