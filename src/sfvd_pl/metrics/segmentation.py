"""Measures of one predicted wire mask against its label: overlap, surfaces, length, parts that are no wire.

Conventions where a mask is empty, for every overlap measure here: both empty is right and scores 1 (a
distance: 0), one empty is wrong and scores 0 (a distance: the diagonal of the frame, the largest error that
it holds). Nothing is left out of a mean because a network failed on it. See ``docs/metrics.md``.

Each measure takes two masks or, where one label meets many predictions, two :class:`~sfvd_pl.metrics.wire.Wire`.
"""

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Floats, require_axes, require_same_shape
from sfvd_pl.metrics.wire import EIGHT, Wire

THRESHOLD = 0.5
NEAR_PX = 2
"""A predicted part this close to the label is a piece of its wire, however little the two overlap."""


def dice(predicted: Array, label: Array) -> float:
    """Dice overlap ``2 |P and L| / (|P| + |L|)``, in 0..1; 1 where both are empty.

    Args:
        predicted: Any shape, non-zero on the wire.
        label: The same shape.

    Raises:
        MetricsError: If the shapes differ.
    """
    require_same_shape(predicted, label, "predicted", "label")
    found, wire = np.asarray(predicted) != 0, np.asarray(label) != 0
    return _dice(int((found & wire).sum()), int(found.sum()) + int(wire.sum()))


def iou(predicted: Array, label: Array) -> float:
    """Intersection over union, in 0..1; 1 where both are empty. Arguments and errors as :func:`dice`."""
    require_same_shape(predicted, label, "predicted", "label")
    found, wire = np.asarray(predicted) != 0, np.asarray(label) != 0
    return _iou(int((found & wire).sum()), int(found.sum()) + int(wire.sum()))


def overlap_scores(found: Wire, label: Wire) -> tuple[float, float]:
    """:func:`dice` and :func:`iou` of two wires."""
    common, total = found.overlap(label), found.area + label.area
    return _dice(common, total), _iou(common, total)


def _dice(common: int, total: int) -> float:
    return 2.0 * common / total if total else 1.0


def _iou(common: int, total: int) -> float:
    return common / (total - common) if total else 1.0


def cldice(predicted: Array | Wire, label: Array | Wire) -> float:
    """Centreline Dice: the harmonic mean of the two centrelines' shares that lie within the other mask.

    Shit et al., "clDice", CVPR 2021, equation 3, with scikit-image's thinning as the skeleton. It asks
    whether the course of the wire is found, whatever its thickness.

    Args:
        predicted: (H, W), non-zero on the wire.
        label: (H, W).

    Returns:
        0..1; 1 where both are empty, 0 where one is.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    found, wire = wire_pair(predicted, label)
    if not found or not wire:
        return float(bool(found) == bool(wire))
    precision = float(wire.holds(found.line_points).mean())
    sensitivity = float(found.holds(wire.line_points).mean())
    total = precision + sensitivity
    return 0.0 if total == 0.0 else 2.0 * precision * sensitivity / total


def surface_distances(predicted: Array | Wire, label: Array | Wire) -> tuple[float, float]:
    """95th percentile Hausdorff distance and average symmetric surface distance, in pixels.

    A surface is the mask's pixels that have a 4-neighbour outside it. HD95 is the larger of the two directed
    95th percentiles; ASSD is the mean over both surfaces' pixels together.

    Args:
        predicted: (H, W), non-zero on the wire.
        label: (H, W).

    Returns:
        ``(hd95, assd)``; 0 where both are empty, the frame's diagonal where one is.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    found, wire = wire_pair(predicted, label)
    if not found or not wire:
        error = 0.0 if bool(found) == bool(wire) else wire.diagonal
        return error, error
    to_wire, to_found = _nearest(found, wire)
    hd95 = max(float(np.percentile(to_wire, 95)), float(np.percentile(to_found, 95)))
    return hd95, float(np.concatenate([to_wire, to_found]).mean())


def _nearest(found: Wire, wire: Wire) -> tuple[Floats, Floats]:
    """Distances of each surface's pixels to the other surface.

    A wire has few surface pixels in a large box, which a tree of them makes use of; a mask full of holes has so
    many that the distance transform of the box is faster. Both are exact.
    """
    a, b = found.surface, wire.surface
    low = np.minimum(a.min(axis=0), b.min(axis=0))
    box = np.maximum(a.max(axis=0), b.max(axis=0)) - low + 1
    if _PIXELS_PER_POINT * (len(a) + len(b)) < box.prod():
        from scipy.spatial import cKDTree

        return cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    maps = []
    for points in (a, b):
        away = np.ones(box, dtype=np.bool_)
        away[tuple((points - low).T)] = False
        maps.append(ndimage.distance_transform_edt(away))
    return maps[1][tuple((a - low).T)], maps[0][tuple((b - low).T)]


_PIXELS_PER_POINT = 8
"""Where the two ways of finding the nearest surface pixel take the same time (``tests/bench/bench_scores.py``)."""


def length_ratio(predicted: Array | Wire, label: Array | Wire) -> float:
    """Length of the predicted centreline over that of the label's (:attr:`~sfvd_pl.metrics.wire.Wire.length`).

    Returns:
        1 is right, below 1 is a wire found in part, above 1 too much of it; 0 where nothing was predicted; NaN
        where the label is empty, whose false wires :func:`false_components` counts.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    found, wire = wire_pair(predicted, label)
    return found.length / wire.length if wire else float("nan")


def false_components(predicted: Array | Wire, label: Array | Wire, *, near_px: int = NEAR_PX) -> int:
    """Parts of the prediction that are no wire: 8-connected, with no pixel within ``near_px`` of the label's.

    Args:
        predicted: (H, W), non-zero on the wire.
        label: (H, W).
        near_px: Euclidean distance in pixels up to which a part belongs to the label's wire.

    Returns:
        0 where nothing was predicted; all parts where the label is empty.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    found, wire = wire_pair(predicted, label)
    if not found:
        return 0
    part, count = ndimage.label(found.pixels, structure=EIGHT)
    if not wire:
        return int(count)
    # Of the label only what lies within reach of the prediction's box matters, and the other way round.
    low = wire.origin - near_px
    reach = np.pad(wire.pixels, near_px)
    disc = np.hypot(*np.indices((2 * near_px + 1,) * 2) - near_px) <= near_px
    near = Wire(ndimage.binary_dilation(reach, structure=disc))
    points = np.argwhere(found.pixels)
    hit = near.holds(points + found.origin - low)
    return int(count) - len(np.unique(part[tuple(points[hit].T)]))


def wire_pair(predicted: Array | Wire, label: Array | Wire) -> tuple[Wire, Wire]:
    """Two masks as wires, in frames of one shape.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    for key, mask in (("predicted", predicted), ("label", label)):
        if not isinstance(mask, Wire):
            require_axes(mask, "H W", key)
    found = predicted if isinstance(predicted, Wire) else Wire(predicted)
    wire = label if isinstance(label, Wire) else Wire(label)
    if found.shape != wire.shape:
        require_same_shape(np.empty(found.shape, bool), np.empty(wire.shape, bool), "predicted", "label")
    return found, wire
