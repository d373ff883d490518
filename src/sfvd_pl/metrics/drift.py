"""Whether clips change as they go on: each measure by frame index, and late frames against early ones."""

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Floats, finite_mean, require_axes, require_same_shape
from sfvd_pl.metrics.noise import around_wire, residual
from sfvd_pl.metrics.rows import Values, padded
from sfvd_pl.metrics.visibility import clip_visibility

MAX_FRAMES = 64
"""Frames of a clip that are measured by their index."""
EDGE_PX = 1.5
"""Standard deviation of the Gaussian whose gradient says how sharp edges are."""
MEASURES = ("pixel_std", "residual_std", "sharpness", "cnr", "offset_px")


def frame_measures(
    clip: Array,
    wire_mask: Array,
    offset_by_frame: Floats,
    *,
    ignore: Array | None = None,
    intensity_max: int | float = 255,
) -> dict[str, Floats]:
    """Measures of each frame of a clip, by name.

    Args:
        clip: (T, H, W), the valid extent only.
        wire_mask: (T, H, W), non-zero on the wire; all 0 where it isn't known.
        offset_by_frame: (T,) distance of the dark line from the mask's; see ``displacement.py``.
        ignore: (T, H, W), pixels that count neither as the wire's surroundings nor as picture without wire.
        intensity_max: Deviations are given as a share of it.

    Returns:
        (T,) each: ``pixel_std``; ``residual_std`` away from the wire; ``sharpness``: root mean square gradient at
        ``EDGE_PX`` away from the wire over the pixels' deviation, per pixel (noise has gradients, too); ``cnr``;
        ``offset_px``.

    Raises:
        MetricsError: If axes or shapes are wrong.
    """
    require_axes(clip, "T H W", "clip")
    require_same_shape(wire_mask, clip, "wire_mask", "clip")
    hidden = wire_mask if ignore is None else np.maximum(wire_mask, ignore)
    values, kept = np.asarray(clip).astype(np.float64) / intensity_max, ~around_wire(hidden)
    grain = residual(values)
    spread = values.std(axis=(1, 2))
    slopes = [ndimage.gaussian_gradient_magnitude(frame, EDGE_PX, mode="nearest") for frame in values]
    edges = np.array([_rms(slope[k]) for slope, k in zip(slopes, kept, strict=True)])
    return {
        "pixel_std": spread,
        "residual_std": np.array([_rms(g[k]) for g, k in zip(grain, kept, strict=True)]),
        "sharpness": np.divide(edges, spread, out=np.full(len(edges), np.nan), where=spread > 0),
        "cnr": clip_visibility(values, wire_mask, ignore=ignore),
        "offset_px": np.asarray(offset_by_frame, np.float64),
    }


def _rms(values: Floats) -> float:
    return float(np.sqrt((values**2).mean())) if values.size else float("nan")


def drift_measures(by_frame: dict[str, Floats]) -> Values:
    """Mean over the last quarter of a clip's frames minus that over the first, each in its measure's unit.

    Returns:
        ``drift_NAME`` for each measure; NaN with fewer than four frames.
    """
    found: dict[str, float | Floats] = {}
    for name, curve in by_frame.items():
        quarter = len(curve) // 4
        found[f"drift_{name}"] = (
            finite_mean(curve[-quarter:]) - finite_mean(curve[:quarter]) if quarter else float("nan")
        )
    return found


def frame_curves(by_frame: dict[str, Floats], length: int) -> Values:
    """The curves with NaN behind the clip's end, so that clips of any length make one table."""
    return {name: padded(curve, min(length, MAX_FRAMES)) for name, curve in by_frame.items()}
