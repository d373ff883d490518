"""Whether a rendered wire moves as the mask that drove it does."""

from dataclasses import dataclass

import numpy as np

from sfvd_pl.metrics.arrays import Array, Bools, Floats, require_axes, require_same_shape
from sfvd_pl.metrics.bootstrap import Interval, sums_interval
from sfvd_pl.metrics.ridge import Path, mask_positions, ridge_positions, smooth_path

SEARCH_PX = 4.0
"""How far from a mask's line the picture's line is looked for, to either side. A piece of wire that moves further
between two frames isn't followed and doesn't count; further out, other dark lines would be taken for it more often."""
FAR_PX = 1.0
"""A displacement that is off by more was found on something else, or the wire didn't follow."""
LEAST_MOTION_PX = 0.05
"""Masks that move less than this (standard deviation) say nothing of a correlation."""


@dataclass(frozen=True)
class Displacement:
    """Displacements across the wire between consecutive frames, one a piece of wire and pair of frames.

    Attributes:
        mask: (n,) of the mask, pixels.
        picture: (n,) of the dark line in the picture, pixels.
        offset: (m,) of the dark line from the mask's, in the same frame, pixels; more than n, as a pair of frames
            needs both.
        offset_by_frame: (T,) mean size of ``offset`` in each frame; NaN where there is none.
    """

    mask: Floats
    picture: Floats
    offset: Floats
    offset_by_frame: Floats


def wire_offsets(clip: Array, wire_mask: Array, *, search_px: float = SEARCH_PX) -> list[Floats]:
    """Signed offsets across the wire from the mask's line to the picture's dark line, an array a frame, pixels."""
    found = []
    for frame, wire in zip(clip, wire_mask, strict=True):
        path = smooth_path(wire)
        gap = np.empty(0) if path is None else _offsets(frame, wire, path, search_px)
        found.append(gap[np.isfinite(gap)])
    return found


def _offsets(frame: Array, wire: Array, path: Path, search_px: float) -> Floats:
    return ridge_positions(frame, path, search_px) - mask_positions(wire, path, search_px)


def wire_displacement(
    clip: Array, wire_mask: Array, annotated: Bools | None = None, *, search_px: float = SEARCH_PX
) -> Displacement:
    """Follow the dark line and the mask, both along the normals of the mask's line in the earlier frame.

    In both frames the line is looked for around where the *earlier* mask lies, so nothing of the later mask decides
    what is found in the later picture: without a wire the two displacements are unrelated, and their correlation is
    0. Motion along the wire has no part in this; the tip's position is measured apart (``tip.py``).

    Args:
        clip: (T, H, W).
        wire_mask: (T, H, W), non-zero on the wire.
        annotated: (T,), frames whose mask is known; all without it.
        search_px: See ``SEARCH_PX``.

    Returns:
        Empty where no wire is long enough.

    Raises:
        MetricsError: If axes or shapes are wrong.
    """
    require_axes(clip, "T H W", "clip")
    require_same_shape(wire_mask, clip, "wire_mask", "clip")
    known = np.ones(len(clip), np.bool_) if annotated is None else np.asarray(annotated, np.bool_)
    mask, picture = [np.empty(0)], [np.empty(0)]
    offsets, by_frame = [np.empty(0)], np.full(len(clip), np.nan)
    for t in range(len(clip)):
        path = smooth_path(wire_mask[t]) if known[t] else None
        if path is None:
            continue
        own = mask_positions(wire_mask[t], path, search_px)
        here = ridge_positions(clip[t], path, search_px)
        gap = (here - own)[np.isfinite(here - own)]
        offsets.append(gap)
        by_frame[t] = np.abs(gap).mean() if gap.size else np.nan
        if t + 1 < len(clip) and known[t + 1] and np.any(wire_mask[t + 1]):
            moved = _moved(clip[t + 1], wire_mask[t + 1], path, own, here, search_px)
            mask.append(moved[0])
            picture.append(moved[1])
    return Displacement(np.concatenate(mask), np.concatenate(picture), np.concatenate(offsets), by_frame)


def _moved(frame: Array, wire: Array, path: Path, own: Floats, here: Floats, search_px: float) -> Floats:
    """Displacements (2, n) of mask and picture from the earlier frame to this one, where both are known."""
    both = np.stack(
        [mask_positions(wire, path, search_px) - own, ridge_positions(frame, path, search_px) - here]
    )
    return both[:, np.isfinite(both).all(axis=0)]


def displacement_sums(found: Displacement) -> Floats:
    """Sums (6,) from which :func:`displacement_correlation` is pooled: 1, x, y, xx, yy, xy; x the mask's."""
    x, y = found.mask, found.picture
    return np.array([len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y])


def displacement_correlation(sums: Floats, groups: list[str], *, seed: int = 0) -> Interval:
    """Pearson correlation of all clips' displacements together, with its interval over the groups."""
    return sums_interval(sums, groups, _correlation, seed=seed)


def _correlation(sums: Floats) -> Floats:
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        vx, vy = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
        found: Floats = (xy / n - x * y / n**2) / np.sqrt(vx * vy)
    return np.where((vx > LEAST_MOTION_PX**2) & (vy > 0), np.clip(found, -1, 1), np.nan)
