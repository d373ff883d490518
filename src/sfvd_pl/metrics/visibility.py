"""Visibility of a wire: its contrast-to-noise ratio (CNR) against the ring of background around it."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Bools, Floats, Ints, require_axes, require_same_shape

INNER_PX = 2
OUTER_PX = 5
MIN_PIXELS = 8
VISIBILITY_EDGES: tuple[float, ...] = (float("-inf"), 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, float("inf"))
"""Limits of the bins of visibility (CNR); a bin holds its lower limit and not its upper one."""


def require_edges(edges: Sequence[int | float]) -> tuple[float, ...]:
    """Limits of bins, which ascend.

    Raises:
        MetricsError: If they don't, or there are fewer than two.
    """
    limits = tuple(float(edge) for edge in edges)
    if len(limits) < 2 or any(low >= high for low, high in zip(limits[:-1], limits[1:], strict=True)):
        raise MetricsError(
            "the bins of visibility have no width",
            key="visibility_edges",
            expected="at least two limits, ascending",
            found=limits,
            remedy="sort the limits and drop repeated ones",
        )
    return limits


def visibility_bins(visibility: Array, edges: Sequence[int | float] = VISIBILITY_EDGES) -> Ints:
    """Number of the bin that each visibility lies in, of any shape; -1 where it is unknown or in none."""
    values = np.asarray(visibility, dtype=np.float64)
    number = np.searchsorted(edges, values, side="right") - 1
    inside = np.isfinite(values) & (number >= 0) & (number < len(edges) - 1)
    return np.where(inside, number, -1).astype(np.int64)


def wire_ring(wire_mask: Array, *, inner: int | float = INNER_PX, outer: int | float = OUTER_PX) -> Bools:
    """Pixels whose Euclidean distance to the nearest wire pixel lies in ``(inner, outer]``.

    The gap of ``inner`` pixels keeps the blurred edge of the wire out of the background; ``outer`` keeps the
    ring local, so that ribs or the heart's border elsewhere do not count. Pixels beyond the border are
    not there.

    Args:
        wire_mask: (H, W), non-zero on the wire.
        inner: Pixels, at least 0.
        outer: Pixels, larger than ``inner``.

    Returns:
        (H, W), all False where the mask is empty.

    Raises:
        MetricsError: If the radii do not make a ring, or the mask is not (H, W).
    """
    require_axes(wire_mask, "H W", "wire_mask")
    if not 0 <= inner < outer:
        raise MetricsError(
            "the ring's radii do not make a ring",
            key="inner, outer",
            expected="0 <= inner < outer, in pixels",
            found=f"inner {inner}, outer {outer}",
            remedy="choose an outer radius beyond the inner one",
        )
    wire = np.asarray(wire_mask) != 0
    ring = np.zeros(wire.shape, dtype=np.bool_)
    rows, columns = np.flatnonzero(wire.any(axis=1)), np.flatnonzero(wire.any(axis=0))
    if rows.size == 0:
        return ring
    # The ring can't reach beyond this box, so the distance transform need not look there.
    reach = int(np.ceil(outer))
    box = (
        slice(max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1),
        slice(max(int(columns[0]) - reach, 0), int(columns[-1]) + reach + 1),
    )
    distance = ndimage.distance_transform_edt(~wire[box])
    ring[box] = (distance > inner) & (distance <= outer)
    return ring


def wire_visibility(
    image: Array,
    wire_mask: Array,
    *,
    ignore: Array | None = None,
    inner: int | float = INNER_PX,
    outer: int | float = OUTER_PX,
    min_pixels: int = MIN_PIXELS,
) -> float:
    """CNR of the wire in one frame: ``(mean(ring) - mean(wire)) / std(ring)``.

    Positive where the wire is darker than what surrounds it, as it is in a fluoroscopy frame of detector
    signal. It has no unit and does not change under ``a * image + b`` with ``a > 0``, so any intensity scale
    will do.

    Args:
        image: (H, W), any real or integer type. Pass the valid extent of a padded frame, since padding that
            repeats the edge has no noise of its own.
        wire_mask: (H, W), non-zero on the wire.
        ignore: (H, W), non-zero where pixels of the ring don't count; none without it.
        inner: Inner radius of the ring in pixels, itself excluded.
        outer: Outer radius of the ring in pixels, itself included.
        min_pixels: The least number of pixels, both on the wire and in the ring, that make a measurement.

    Returns:
        The CNR; NaN where the wire or its ring has fewer than ``min_pixels`` pixels, or the ring is constant.

    Raises:
        MetricsError: If the shapes are not (H, W) and equal, or the radii do not make a ring.
    """
    require_axes(image, "H W", "image")
    require_same_shape(wire_mask, image, "wire_mask", "image")
    ring = wire_ring(wire_mask, inner=inner, outer=outer)
    if ignore is not None:
        require_same_shape(ignore, image, "ignore", "image")
        ring &= np.asarray(ignore) == 0
    inside = np.asarray(image)[np.asarray(wire_mask) != 0].astype(np.float64)
    around = np.asarray(image)[ring].astype(np.float64)
    if inside.size < max(min_pixels, 1) or around.size < max(min_pixels, 1):
        return float("nan")
    # A constant ring measures no noise; the range finds that exactly, where a rounded std might not be 0.
    if float(np.ptp(around)) == 0.0:
        return float("nan")
    return float((around.mean() - inside.mean()) / around.std())


def wire_attenuation(image: Array, wire_mask: Array) -> float:
    """Attenuation of the wire in one frame: ``log(around / wire)``, mean over the wire's pixels.

    What would be there without the wire is the mean of the ring near by, weighted by a Gaussian of the ring's outer
    radius, so a background that grows darker along the wire is not taken for the wire's doing.

    Args:
        image: (H, W), detector signal in 0..1.
        wire_mask: (H, W), non-zero on the wire.

    Returns:
        The attenuation, 0.1 where the wire takes a tenth of the signal; NaN without a wire or a ring.
    """
    wire, ring = np.asarray(wire_mask) != 0, wire_ring(wire_mask)
    if not wire.any() or not ring.any():
        return float("nan")
    signal, weight = (
        ndimage.gaussian_filter(values, OUTER_PX, mode="constant") for values in (image * ring, ring.astype(float))
    )
    around = signal[wire] / np.maximum(weight[wire], 1e-9)
    return float(np.log(np.maximum(around, 1e-3) / np.maximum(np.asarray(image)[wire], 1e-3)).mean())


def clip_visibility(
    clip: Array,
    wire_mask: Array,
    *,
    ignore: Array | None = None,
    inner: int | float = INNER_PX,
    outer: int | float = OUTER_PX,
    min_pixels: int = MIN_PIXELS,
) -> Floats:
    """:func:`wire_visibility` of every frame of a clip.

    Args:
        clip: (T, H, W).
        wire_mask: (T, H, W), non-zero on the wire.
        ignore: (T, H, W); see :func:`wire_visibility`.
        inner: See :func:`wire_visibility`.
        outer: See :func:`wire_visibility`.
        min_pixels: See :func:`wire_visibility`.

    Returns:
        (T,) float64; NaN for frames that can't be measured, such as those without a label.

    Raises:
        MetricsError: If the shapes are not (T, H, W) and equal.
    """
    require_axes(clip, "T H W", "clip")
    require_same_shape(wire_mask, clip, "wire_mask", "clip")
    unknown = [None] * len(clip) if ignore is None else ignore
    return np.array(
        [
            wire_visibility(frame, wire, ignore=hidden, inner=inner, outer=outer, min_pixels=min_pixels)
            for frame, wire, hidden in zip(clip, wire_mask, unknown, strict=True)
        ],
        dtype=np.float64,
    )


def clip_median(visibility: Floats) -> float:
    """Median over the frames where it could be measured; NaN where it could in none."""
    known = visibility[np.isfinite(visibility)]
    return float(np.median(known)) if known.size else float("nan")
