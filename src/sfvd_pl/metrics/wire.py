"""Geometry of a wire in a mask: its centreline, its two ends, and the error of its tip."""

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Bools, Floats, Ints, require_axes, require_same_shape

GAP_PX = 5.0
"""Breaks of the centreline up to this long do not divide a wire."""
BORDER_PX = 2
"""An end this close to the border is where the wire leaves the picture, not a tip."""
_EIGHT = np.ones((3, 3), dtype=np.bool_)


def crop_to(wire: Bools) -> tuple[slice, slice]:
    """The smallest box that holds every True pixel of ``wire`` (H, W), which has at least one."""
    rows, columns = np.flatnonzero(wire.any(axis=1)), np.flatnonzero(wire.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def skeleton(wire_mask: Array) -> Bools:
    """Centreline of a mask by scikit-image's thinning (Zhang and Suen, 1984).

    Args:
        wire_mask: (H, W), non-zero on the wire.

    Returns:
        (H, W), one pixel wide, 8-connected where the mask is.
    """
    from skimage.morphology import skeletonize

    require_axes(wire_mask, "H W", "wire_mask")
    wire = np.asarray(wire_mask) != 0
    line: Bools = np.zeros_like(wire)
    if wire.any():
        # Thinning is local: the box gives what the whole frame gives, in a fraction of the time.
        box = crop_to(wire)
        line[box] = skeletonize(np.pad(wire[box], 1))[1:-1, 1:-1]
    return line


def wire_ends(wire_mask: Array, *, gap_px: int | float = GAP_PX) -> Floats:
    """The two ends of the wire in a mask.

    The centreline's pixels make a graph: neighbours are joined, and so are the nearest pixels of two
    components no further apart than ``gap_px``. In its largest part, the ends are the two end points that lie
    furthest apart along the graph. Where it has fewer than two end points, as a ring has, any pixels that lie
    far apart along it serve.

    Args:
        wire_mask: (H, W), non-zero on the wire.
        gap_px: Longest break that is bridged, in pixels.

    Returns:
        (2, 2) float64 rows of (row, column), twice the same where the wire is one pixel; (0, 2) for an empty
        mask.
    """
    path = wire_path(wire_mask, gap_px=gap_px)
    return path[[0, -1]] if len(path) else path


def wire_path(wire_mask: Array, *, gap_px: int | float = GAP_PX) -> Floats:
    """The pixels of the centreline from one end of the wire to the other, in order; see :func:`wire_ends`.

    Args:
        wire_mask: (H, W), non-zero on the wire.
        gap_px: Longest break that is bridged, in pixels.

    Returns:
        (K, 2) float64 rows of (row, column); (0, 2) for an empty mask.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, dijkstra
    from scipy.spatial import cKDTree

    line = skeleton(wire_mask)
    points = np.argwhere(line)
    if len(points) == 0:
        return np.empty((0, 2), dtype=np.float64)
    component = ndimage.label(line, structure=_EIGHT)[0][line]
    pairs = cKDTree(points).query_pairs(max(gap_px, 1.5), output_type="ndarray")
    length = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    joined = np.concatenate([np.flatnonzero(length < 1.5), _bridges(component[pairs], length, gap_px)])
    pairs, length = pairs[joined], length[joined]
    graph = coo_array((length, (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points))).tocsr()
    part = connected_components(graph, directed=False)[1]
    largest = part == np.bincount(part).argmax()
    degree = np.bincount(pairs.ravel(), minlength=len(points))
    candidates = np.flatnonzero(largest & (degree == 1))
    if len(candidates) < 2:
        candidates = np.flatnonzero(largest)
    # Two sweeps find the longest path of a tree exactly, which a centreline all but always is.
    first = candidates[0]
    for _ in range(2):
        start = first
        distance, previous = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
        first = candidates[distance[candidates].argmax()]
    order = [int(first)]
    while order[-1] != start:
        order.append(int(previous[order[-1]]))
    return points[order[::-1]].astype(np.float64)


def _bridges(components: Array, length: Floats, gap_px: int | float) -> Ints:
    """Rows of the shortest link, no longer than ``gap_px``, between each two components.

    Args:
        components: (K, 2) the components at both ends of each link.
        length: (K,) in pixels.
        gap_px: Longest break that is bridged, in pixels.
    """
    apart = np.flatnonzero((components[:, 0] != components[:, 1]) & (length <= gap_px))
    apart = apart[np.argsort(length[apart], kind="stable")]
    _, shortest = np.unique(np.sort(components[apart], axis=1), axis=0, return_index=True)
    return apart[shortest]


def tip_error(
    predicted: Array, label: Array, *, border_px: int = BORDER_PX, gap_px: int | float = GAP_PX
) -> float:
    """Distance between the label's tip and the predicted one, in pixels.

    A mask does not say which of a wire's ends is its tip. So both ends of the label are matched to both ends
    of the prediction, in the way that makes the sum of the two distances least, and the error is the mean
    distance over those of the label's ends that lie inside the picture; an end within ``border_px`` of the
    border is where the wire leaves it, and says nothing of a tip.

    Args:
        predicted: (H, W), non-zero on the wire.
        label: (H, W).
        border_px: Pixels between an end and the border up to which the end does not count.
        gap_px: See :func:`wire_ends`.

    Returns:
        Pixels; NaN where the label has no tip in view (an empty one, too); the frame's diagonal where a tip
        is in view and nothing was predicted, so that a network gains nothing by missing wires.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    require_axes(predicted, "H W", "predicted")
    require_same_shape(predicted, label, "predicted", "label")
    truth = wire_ends(label, gap_px=gap_px)
    height, width = label.shape
    in_view = np.all((truth >= border_px) & (truth <= np.array([height - 1, width - 1]) - border_px), axis=1)
    if not in_view.any():
        return float("nan")
    found = wire_ends(predicted, gap_px=gap_px)
    if len(found) == 0:
        return float(np.hypot(height, width))
    straight = np.linalg.norm(truth - found, axis=1)
    crossed = np.linalg.norm(truth - found[::-1], axis=1)
    best = straight if straight.sum() <= crossed.sum() else crossed
    return float(best[in_view].mean())
