"""The mean shadow of a wire across its centreline, and how wide its label is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Bools, Floats, finite_mean
from sfvd_pl.metrics.wire import skeleton

PROFILE_PX = 6.0
"""How far from the wire's centreline its shadow is looked at; the background begins at two thirds of it."""


def shadow_profile(frames: Floats, lines: Sequence[Bools]) -> tuple[float, float]:
    """Full width at half depth (px) and depth (share of the surroundings) of the mean shadow across a wire.

    Args:
        frames: (T, H, W) grey values.
        lines: The wire's centreline (H, W) in each frame.

    Returns:
        NaN where there is no line, or no shadow beneath it. Pixels are a pixel wide and so is the centreline: a
        shadow narrower than about 1.5 px isn't told apart.
    """
    bins = np.arange(0, PROFILE_PX + 0.5, 0.5)
    total, count = np.zeros(len(bins)), np.zeros(len(bins))
    for frame, line in zip(frames, lines, strict=True):
        if line.any():
            distance = ndimage.distance_transform_edt(~line)
            near = distance <= PROFILE_PX
            at = np.rint(2 * distance[near]).astype(int)
            total += np.bincount(at, frame[near], len(bins))
            count += np.bincount(at, minlength=len(bins))
    filled = count > 0.25 * count[0]  # distances that occur but at the wire's ends say nothing of its sides
    if not filled[0]:
        return float("nan"), float("nan")
    where, level = bins[filled], total[filled] / count[filled]
    far = where >= PROFILE_PX * 2 / 3
    around = float(np.average(level[far], weights=count[filled][far])) if far.any() else float("nan")
    shadow = around - level
    below = np.flatnonzero(shadow <= shadow[0] / 2)
    if not shadow[0] > 0 or not below.size:
        return float("nan"), float("nan")
    k = int(below[0])
    part = (shadow[k - 1] - shadow[0] / 2) / (shadow[k - 1] - shadow[k])
    return float(2 * (where[k - 1] + part * (where[k] - where[k - 1]))), float(shadow[0] / around)


@dataclass(frozen=True)
class WireShape:
    """Widths of a clip's wire; NaN where nothing could be measured.

    Attributes:
        width_px: Full width at half depth of the mean shadow.
        depth: Of the shadow, share of its surroundings.
        label_width_px: The label's area over the length of its centreline, mean over the frames.
        label_length_px: Length of that centreline, pixels of it, mean over the frames.
    """

    width_px: float
    depth: float
    label_width_px: float
    label_length_px: float


def wire_shape(frames: Floats, wire_mask: Array) -> WireShape:
    """Widths of the wire in pictures and label, over the frames with a wire.

    Args:
        frames: (T, H, W) grey values.
        wire_mask: (T, H, W), non-zero on the wire.
    """
    wire = np.asarray(wire_mask) != 0
    marked = np.flatnonzero(wire.any(axis=(1, 2)))
    lines = [skeleton(wire[k]) for k in marked]
    width, depth = shadow_profile(frames[marked], lines)
    lengths = np.array([float(line.sum()) for line in lines])
    areas = np.array([float(wire[k].sum()) for k in marked])
    return WireShape(width, depth, finite_mean(areas / lengths), finite_mean(lengths))
