"""How smoothly pictures follow one another: optical flow's warp error, and flicker."""

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Bools, Floats, finite_mean, require_axes, require_same_shape
from sfvd_pl.metrics.noise import around_wire
from sfvd_pl.metrics.rows import Values
from sfvd_pl.metrics.spectrum import FINE_PATCH_PX, noise_spectrum

LOW_PASS_PX = 2.0
"""Standard deviation of the blur before the flow is sought. White noise keeps 1/7 of its deviation, which for the
doses of fluoroscopy brings it below most anatomy's contrast; structure finer than about 5 px isn't judged."""
FILL_PX = 4.0
"""Standard deviation of the Gaussian that fills the wire's band in, before the flow is sought."""
FLICKER_PX = 8.0
"""Standard deviation of the blur behind which local brightness is looked at."""
PAIRS_PER_CLIP = 3
"""Pairs of consecutive frames whose flow is sought, spread evenly over a clip."""
NOISE_BANDS = (0.03, 1.5 / FINE_PATCH_PX, 2.5 / FINE_PATCH_PX)
"""The noise's power density is read from the upper band, the lowest one above what the blur lets pass: grain is seldom
white, and anatomy that moves is mostly in the lower band."""
SMOOTHNESS = ("warp_error", "still_error", "noise_floor", "warp_ratio", "flicker", "local_flicker")
_LEAST_SIDE_PX = 24


def flow_between(earlier: Floats, later: Floats) -> Floats:
    """Displacement (2, H, W) in rows and columns, such that ``later`` at ``x + flow(x)`` looks like ``earlier``.

    Iterative Lucas-Kanade (Le Besnerais and Champagnat, 2005) of scikit-image, on grey values of unit deviation,
    because it takes small gradients for none at all.
    """
    from skimage.registration import optical_flow_ilk

    scale = float(earlier.std())
    if scale <= 0:
        return np.zeros((2, *earlier.shape))
    flow: Floats = optical_flow_ilk(earlier / scale, later / scale, radius=7, num_warp=5, dtype=np.float64)
    return flow


def warp(frame: Array, flow: Floats, *, order: int = 1) -> Floats:
    """``frame`` (H, W) at ``x + flow(x)``; NaN outside."""
    grid = np.indices(frame.shape, dtype=np.float64) + flow
    moved: Floats = ndimage.map_coordinates(
        np.asarray(frame, np.float64), grid, order=order, mode="constant", cval=np.nan
    )
    return moved


def warp_measures(clip: Floats, near_wire: Bools, *, pairs: int = PAIRS_PER_CLIP) -> Values:
    """Flow-warp error of a clip outside the wire's band, and what noise alone would give.

    Args:
        clip: (T, H, W) as a share of full scale.
        near_wire: (T, H, W), where pixels don't count.
        pairs: See ``PAIRS_PER_CLIP``.

    Returns:
        ``warp_error``: root mean square of the low-passed earlier frame minus the warped low-passed later one.
        ``still_error``: the same without the warp. ``noise_floor``: what a still scene with this clip's noise would
        give in ``still_error``, from the noise's power density in the upper of ``NOISE_BANDS``, taken as constant
        below it. ``warp_ratio``: ``warp_error`` over ``noise_floor``; about 1 or a little less (the flow fits some of
        the noise) where nothing but noise is left.
    """
    errors: list[tuple[float, float]] = []
    if len(clip) >= 2 and min(clip.shape[1:]) >= _LEAST_SIDE_PX:
        starts = np.unique(np.linspace(0, len(clip) - 2, min(pairs, len(clip) - 1)).round().astype(int))
        errors = [_pair_errors(clip[t], clip[t + 1], near_wire[t] | near_wire[t + 1]) for t in starts]
    floor = _noise_floor(clip, near_wire)
    warped, still = (finite_mean(np.array([pair[k] for pair in errors])) for k in range(2))
    return {
        "warp_error": warped,
        "still_error": still,
        "noise_floor": floor,
        "warp_ratio": warped / floor if floor > 0 else float("nan"),
    }


def _pair_errors(earlier: Floats, later: Floats, hole: Bools) -> tuple[float, float]:
    # A wire's own motion would drag the flow along around it. So it is filled in first, in both frames wherever it
    # is in either: a hole that moved would be a motion of its own.
    first, second = (
        ndimage.gaussian_filter(_filled(frame, hole), LOW_PASS_PX, mode="nearest") for frame in (earlier, later)
    )
    flow = flow_between(first, second)
    gap = first - warp(second, flow)
    counts = ~hole & (warp(hole, flow, order=0) == 0) & np.isfinite(gap)
    if not counts.any():
        return float("nan"), float("nan")
    return float(np.sqrt((gap[counts] ** 2).mean())), float(np.sqrt(((first - second)[counts] ** 2).mean()))


def _filled(frame: Floats, hole: Bools) -> Floats:
    """The frame with the hole's pixels replaced by a Gaussian mean of those around it."""
    if not hole.any() or hole.all():
        return frame
    share = ndimage.gaussian_filter((~hole).astype(np.float64), FILL_PX, mode="nearest")
    around = ndimage.gaussian_filter(np.where(hole, 0.0, frame), FILL_PX, mode="nearest")
    return np.where(hole, around / np.maximum(share, 1e-12), frame)


def _noise_floor(clip: Floats, near_wire: Bools) -> float:
    found = noise_spectrum(
        clip, near_wire, bands=NOISE_BANDS, patch_px=FINE_PATCH_PX, stride=FINE_PATCH_PX // 2
    )
    # A Gaussian of sigma s passes 1 / (4 pi s^2) of white noise's variance; two frames are subtracted.
    return float(np.sqrt(2 * found.power[-1] / (4 * np.pi * LOW_PASS_PX**2)))


def flicker_measures(clip: Floats, near_wire: Bools) -> Values:
    """Change of brightness from frame to frame, outside the wire's band.

    Args:
        clip: (T, H, W) as a share of full scale.
        near_wire: (T, H, W), where pixels don't count.

    Returns:
        ``flicker``: root mean square change of the frame's mean. ``local_flicker``: the same of the brightness
        blurred by ``FLICKER_PX``, once the mean's change is taken off; what moves slowly is in it, too. NaN with fewer
        than two frames.
    """
    means, local = [], []
    for t in range(len(clip) - 1):
        counts = ~(near_wire[t] | near_wire[t + 1])
        if not counts.any():
            continue
        change = clip[t + 1] - clip[t]
        mean = float(change[counts].mean())
        share = ndimage.gaussian_filter(counts.astype(np.float64), FLICKER_PX, mode="nearest")
        slow = ndimage.gaussian_filter(np.where(counts, change - mean, 0.0), FLICKER_PX, mode="nearest")
        means.append(mean**2)
        local.append(float(((slow[counts] / share[counts]) ** 2).mean()))
    return {
        "flicker": float(np.sqrt(finite_mean(np.array(means)))),
        "local_flicker": float(np.sqrt(finite_mean(np.array(local)))),
    }


def smoothness_measures(clip: Array, wire_mask: Array, *, intensity_max: int | float = 255) -> Values:
    """:func:`warp_measures` and :func:`flicker_measures` of a clip.

    Args:
        clip: (T, H, W), the valid extent only.
        wire_mask: (T, H, W), non-zero on the wire; all 0 where it isn't known.
        intensity_max: Errors are given as a share of it.

    Raises:
        MetricsError: If axes or shapes are wrong.
    """
    require_axes(clip, "T H W", "clip")
    require_same_shape(wire_mask, clip, "wire_mask", "clip")
    values, near = np.asarray(clip).astype(np.float64) / intensity_max, around_wire(wire_mask)
    return {**warp_measures(values, near), **flicker_measures(values, near)}
