"""Geometry of a wire in a mask: its centreline and surface, its length, its two ends, and the error of its tip."""

from functools import cached_property

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Bools, Floats, Ints, require_axes, require_same_shape

GAP_PX = 5.0
"""Breaks of the centreline up to this long do not divide a wire."""
BORDER_PX = 2
"""An end this close to the border is where the wire leaves the picture, not a tip."""
FEW_ENDS = 16
"""With up to so many end points all pairs are tried; a wire has 2, and few more with its spurs and breaks."""
EIGHT = np.ones((3, 3), dtype=np.bool_)
"""Pixels are neighbours across corners, too."""


def crop_to(wire: Bools) -> tuple[slice, slice]:
    """The smallest box that holds every True pixel of ``wire`` (H, W), which has at least one."""
    rows, columns = np.flatnonzero(wire.any(axis=1)), np.flatnonzero(wire.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


class Wire:
    """A mask's wire and its geometry, each part of which is worked out when it is first asked for, and then kept.

    Only the box around the wire is held, so the labels of a long clip cost little, and a label that is scored
    against many predictions is thinned once.

    Args:
        wire_mask: (H, W), non-zero on the wire.

    Attributes:
        shape: ``(H, W)`` of the frame.
        origin: (2,) row and column of the box's first pixel.
        pixels: The box, (h, w); (0, 0) where the mask is empty.

    Raises:
        MetricsError: If the mask is not (H, W).
    """

    def __init__(self, wire_mask: Array) -> None:
        require_axes(wire_mask, "H W", "wire_mask")
        wire = np.asarray(wire_mask) != 0
        self.shape: tuple[int, int] = (wire.shape[0], wire.shape[1])
        self.origin: Ints = np.zeros(2, dtype=np.int64)
        self.pixels: Bools = np.zeros((0, 0), dtype=np.bool_)
        if wire.any():
            box = crop_to(wire)
            self.origin = np.array([box[0].start, box[1].start], dtype=np.int64)
            self.pixels = wire[box].copy()

    def __bool__(self) -> bool:
        """Whether there is a wire at all."""
        return self.pixels.size > 0

    @property
    def diagonal(self) -> float:
        """Of the frame, in pixels: the largest error that it holds."""
        return float(np.hypot(*self.shape))

    @cached_property
    def area(self) -> int:
        """Pixels on the wire."""
        return int(self.pixels.sum())

    @cached_property
    def line(self) -> Bools:
        """Centreline within the box, (h, w), by scikit-image's thinning (Zhang and Suen, 1984)."""
        from skimage.morphology import skeletonize

        # Thinning is local: the box gives what the whole frame gives, in a fraction of the time.
        return np.asarray(skeletonize(np.pad(self.pixels, 1))[1:-1, 1:-1], dtype=np.bool_)

    @cached_property
    def line_points(self) -> Ints:
        """(K, 2) row and column, in the frame, of the centreline's pixels."""
        return np.argwhere(self.line) + self.origin

    @cached_property
    def surface(self) -> Ints:
        """(S, 2) row and column, in the frame, of the wire's pixels that have a 4-neighbour outside it."""
        around = np.pad(self.pixels, 1)
        inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        return np.argwhere(self.pixels & ~inside) + self.origin

    @cached_property
    def length(self) -> float:
        """Length of the centreline in pixels; a chain of k pixels is k long, one pixel 1, an empty mask 0.

        Neighbours across an edge are 1 apart, across a corner sqrt(2) (not counted where two edges lead there);
        half a pixel is added at each end, so 1 for every part.
        """
        line = self.line
        straight = (line[1:] & line[:-1]).sum() + (line[:, 1:] & line[:, :-1]).sum()
        falling = line[:-1, :-1] & line[1:, 1:] & ~line[1:, :-1] & ~line[:-1, 1:]
        rising = line[1:, :-1] & line[:-1, 1:] & ~line[:-1, :-1] & ~line[1:, 1:]
        diagonal = int(falling.sum()) + int(rising.sum())
        parts = int(ndimage.label(line, structure=EIGHT)[1]) if self else 0
        return float(straight + np.sqrt(2.0) * diagonal + parts)

    def holds(self, points: Ints) -> Bools:
        """Which of (K, 2) places in the frame, row and column, lie on the wire, (K,)."""
        row, column = (points - self.origin).T
        height, width = self.pixels.shape
        within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        found: Bools = np.zeros(len(points), dtype=np.bool_)
        found[within] = self.pixels[row[within], column[within]]
        return found

    def overlap(self, other: "Wire") -> int:
        """Pixels on both wires, which lie in frames of one shape."""
        low = np.maximum(self.origin, other.origin)
        high = np.minimum(self.origin + self.pixels.shape, other.origin + other.pixels.shape)
        if (high <= low).any():
            return 0
        mine, theirs = (
            wire.pixels[tuple(slice(a, b) for a, b in zip(low - wire.origin, high - wire.origin, strict=True))]
            for wire in (self, other)
        )
        return int((mine & theirs).sum())

    def path(self, gap_px: int | float = GAP_PX) -> Floats:
        """See :func:`wire_path`."""
        return self._path if gap_px == GAP_PX else _path(self, gap_px)

    @cached_property
    def _path(self) -> Floats:
        return _path(self, GAP_PX)

    def ends(self, gap_px: int | float = GAP_PX) -> Floats:
        """See :func:`wire_ends`."""
        path = self.path(gap_px)
        return path[[0, -1]] if len(path) else path


def skeleton(wire_mask: Array) -> Bools:
    """Centreline of a mask by scikit-image's thinning (Zhang and Suen, 1984).

    Args:
        wire_mask: (H, W), non-zero on the wire.

    Returns:
        (H, W), one pixel wide, 8-connected where the mask is.
    """
    wire = Wire(wire_mask)
    line: Bools = np.zeros(wire.shape, dtype=np.bool_)
    if wire:
        line[tuple(wire.line_points.T)] = True
    return line


def wire_ends(wire_mask: Array, *, gap_px: int | float = GAP_PX) -> Floats:
    """The two ends of the wire in a mask.

    The centreline's pixels make a graph: neighbours are joined, and so are the nearest pixels of two
    components no further apart than ``gap_px``. In its largest part, the ends are the two end points that lie
    furthest apart along the graph. Where it has fewer than two end points, as a ring has, any pixels that lie
    far apart along it serve. Among more than ``FEW_ENDS`` end points, as noise has, they are looked for in two
    sweeps, which loops may mislead.

    Args:
        wire_mask: (H, W), non-zero on the wire.
        gap_px: Longest break that is bridged, in pixels.

    Returns:
        (2, 2) float64 rows of (row, column), twice the same where the wire is one pixel; (0, 2) for an empty
        mask.
    """
    return Wire(wire_mask).ends(gap_px)


def wire_path(wire_mask: Array, *, gap_px: int | float = GAP_PX) -> Floats:
    """The pixels of the centreline from one end of the wire to the other, in order; see :func:`wire_ends`.

    Args:
        wire_mask: (H, W), non-zero on the wire.
        gap_px: Longest break that is bridged, in pixels.

    Returns:
        (K, 2) float64 rows of (row, column); (0, 2) for an empty mask.
    """
    return Wire(wire_mask).path(gap_px)


def _path(wire: Wire, gap_px: int | float) -> Floats:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, dijkstra

    if not wire:
        return np.empty((0, 2), dtype=np.float64)
    points = wire.line_points
    pairs, length = _links(wire.line)
    component, count = ndimage.label(wire.line, structure=EIGHT)
    if count > 1:
        bridge, span = _bridges(points, component[wire.line], gap_px)
        pairs, length = np.concatenate([pairs, bridge]), np.concatenate([length, span])
    graph = coo_array((length, (pairs[:, 0], pairs[:, 1])), shape=(len(points), len(points))).tocsr()
    part = connected_components(graph, directed=False)[1] if count > 1 else np.zeros(len(points), dtype=np.int64)
    largest = part == np.bincount(part).argmax()
    degree = np.bincount(pairs.ravel(), minlength=len(points))
    candidates = np.flatnonzero(largest & (degree == 1))
    if len(candidates) < 2:
        candidates = np.flatnonzero(largest)
    start, last = candidates[0], candidates[0]
    if len(candidates) <= FEW_ENDS:
        apart = dijkstra(graph, directed=False, indices=candidates)[:, candidates]
        last, start = candidates[list(np.unravel_index(apart.argmax(), apart.shape))]
    else:
        # Two sweeps find the longest path of a tree exactly; where there are loops they may fall short of it.
        for _ in range(2):
            start = last
            last = candidates[dijkstra(graph, directed=False, indices=start)[candidates].argmax()]
    previous = dijkstra(graph, directed=False, indices=start, return_predecessors=True)[1]
    order = [int(last)]
    while order[-1] != start:
        order.append(int(previous[order[-1]]))
    return points[order[::-1]].astype(np.float64)


def _links(line: Bools) -> tuple[Ints, Floats]:
    """Neighbouring pixels of a centreline (h, w): (L, 2) numbers in the order of argwhere, (L,) distances."""
    number = np.full(np.add(line.shape, 2), -1, dtype=np.int64)
    number[1:-1, 1:-1][line] = np.arange(int(line.sum()))
    here = number[1:-1, 1:-1]
    pairs, length = [], []
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        there = number[1 + down : 1 + down + line.shape[0], 1 + right : 1 + right + line.shape[1]]
        both = (here >= 0) & (there >= 0)
        pairs.append(np.stack([here[both], there[both]], axis=1))
        length.append(np.full(len(pairs[-1]), float(np.hypot(down, right))))
    return np.concatenate(pairs), np.concatenate(length)


def _bridges(points: Ints, component: Ints, gap_px: int | float) -> tuple[Ints, Floats]:
    """The shortest link, no longer than ``gap_px``, between each two components.

    Args:
        points: (K, 2) pixels of the centreline.
        component: (K,) which each belongs to.
        gap_px: Longest break that is bridged, in pixels.
    """
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(gap_px, output_type="ndarray")
    parts = component[pairs]
    apart = parts[:, 0] != parts[:, 1]
    pairs, parts = pairs[apart], parts[apart].astype(np.int64)
    # One number a link, which orders by the two components and then by length: one sort instead of three.
    squared = ((points[pairs[:, 0]] - points[pairs[:, 1]]) ** 2).sum(axis=1)
    between = parts.min(axis=1) * (component.max() + 1) + parts.max(axis=1)
    # Of equally short links the first in reading order.
    order = np.lexsort((pairs[:, 1], pairs[:, 0], between * (int(gap_px**2) + 1) + squared))
    first = np.flatnonzero(np.diff(between[order], prepend=-1))
    return pairs[order[first]], np.sqrt(squared[order[first]].astype(np.float64))


def tip_distances(
    found: Wire, label: Wire, *, border_px: int = BORDER_PX, gap_px: int | float = GAP_PX
) -> Floats:
    """Distance of each of the label's tips in view to the predicted end that it is matched with.

    Args:
        found: What was predicted.
        label: In a frame of the same shape.
        border_px: See :func:`tip_error`.
        gap_px: See :func:`wire_ends`.

    Returns:
        (0,), (1,) or (2,) pixels, one for each tip of the label in view; infinite where nothing was predicted.
    """
    truth = label.ends(gap_px)
    far = np.array(label.shape) - 1 - border_px
    in_view = np.all((truth >= border_px) & (truth <= far), axis=1)
    if not found or not in_view.any():
        return np.full(int(in_view.sum()), np.inf)
    ends = found.ends(gap_px)
    straight = np.linalg.norm(truth - ends, axis=1)
    crossed = np.linalg.norm(truth - ends[::-1], axis=1)
    best: Floats = straight if straight.sum() <= crossed.sum() else crossed
    return best[in_view]


def mean_tip_error(distances: Floats, diagonal: float) -> float:
    """Mean of :func:`tip_distances` with a missed tip as far off as the frame allows; NaN where none is in view."""
    return float(np.minimum(distances, diagonal).mean()) if distances.size else float("nan")


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
    wire = Wire(label)
    return mean_tip_error(
        tip_distances(Wire(predicted), wire, border_px=border_px, gap_px=gap_px), wire.diagonal
    )
