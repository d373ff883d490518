"""What an annotator draws, and the pixels it covers.

Coordinates are x to the right and y downwards in the source's pixels, whole numbers at pixel centres. A curve covers
the pixels whose centre lies within half its width of it (at least half a pixel), as the simulator's wire does; a
polygon those whose centre it encloses by the even-odd rule.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import interpolate

from sfvd_pl.sources.clip import IDENTITY
from sfvd_pl.sources.meta import Affine

Points = tuple[tuple[float, float], ...]
CURVES = ("polyline", "spline", "bspline")
"""Straight lines through the points; a cubic spline through them; a B-spline with the points for control points."""
MAX_POINTS = 4096
"""Points of one curve or polygon."""
MAX_COORDINATE = 1e5
MAX_WIDTH = 500.0
_STEP = 0.5
"""Sampling of a spline, px: with a radius of curvature of 5 px the chord is at most 0.006 px off the arc."""
_PIECE = 32.0


@dataclass(frozen=True)
class Curve:
    """An open curve with a width, px, through its points one after the other."""

    points: Points
    width: float


@dataclass(frozen=True)
class Polygon:
    """A closed outline."""

    points: Points


@dataclass(frozen=True)
class Bitmap:
    """A drawn mask: run lengths, alternately off and on, in a box.

    Args:
        left, top, height, width: The box, px.
        runs: Lengths that begin with the pixels that are off and add up to the box.
        by_column: Whether pixels follow one another down the columns, as in COCO, or along the rows, as in CVAT.
    """

    left: int
    top: int
    height: int
    width: int
    runs: tuple[int, ...]
    by_column: bool

    def mask(self) -> npt.NDArray[np.bool_]:
        """The box's pixels, (height, width)."""
        flat = np.repeat(np.arange(len(self.runs)) % 2 == 1, self.runs)
        return (
            flat.reshape(self.width, self.height).T
            if self.by_column
            else flat.reshape(self.height, self.width)
        )


Shape = Curve | Polygon | Bitmap


def checked_points(values: Any, least: int) -> Points:
    """Pairs of numbers, as any file gives them.

    Raises:
        ValueError: Fewer than ``least``, too many, or no finite numbers of bearable size.
    """
    points = tuple((float(x), float(y)) for x, y in values)
    if not least <= len(points) <= MAX_POINTS:
        raise ValueError(f"{len(points)} points; expected {least}..{MAX_POINTS}")
    if not all(math.isfinite(v) and abs(v) <= MAX_COORDINATE for point in points for v in point):
        raise ValueError(f"coordinates beyond {MAX_COORDINATE:.0f} px, or none")
    return points


def checked_width(value: Any) -> float:
    """A curve's width, px.

    Raises:
        ValueError: Not a number of bearable size.
    """
    width = float(value)
    if isinstance(value, bool) or not 0 < width <= MAX_WIDTH:
        raise ValueError(f"a width of {value!r} px; expected 0..{MAX_WIDTH:.0f}")
    return width


def curve_points(
    kind: str, points: Points, *, knots: Sequence[float] | None = None, degree: int = 3
) -> Points:
    """The curve of a point list as points of straight lines.

    Args:
        kind: One of ``CURVES``. A ``spline`` goes through the points (``scipy.interpolate.splprep``, s = 0, degree
            3 or one less than there are points). The points of a ``bspline`` are control points; it begins at the
            first and ends at the last unless ``knots`` say otherwise.
        points: At least two.
        knots: Of a ``bspline``, number of points + degree + 1, as scipy's ``t``.
        degree: Of a ``bspline``, less where there are too few points.

    Raises:
        ValueError: An unknown kind, or knots that don't fit.
    """
    if kind not in CURVES:
        raise ValueError(f"a curve of kind {kind!r}; expected {', '.join(CURVES)}")
    if knots is not None and kind != "bspline":
        raise ValueError(f"knots for a {kind}; only a bspline has them")
    if kind == "polyline":
        return points
    control = np.array(points, float)
    if kind == "spline":
        keep = np.concatenate([[True], np.any(np.diff(control, axis=0) != 0, axis=1)])
        control = control[keep]
        if len(control) < 2:
            raise ValueError("a spline through one point only")
        (t, c, k), _ = interpolate.splprep(control.T, s=0, k=min(3, len(control) - 1))
        return _sampled(interpolate.BSpline(t, np.array(c).T, k), float(t[k]), float(t[-k - 1]), control)
    degree = min(degree, len(points) - 1) if knots is None else degree
    if not 1 <= degree <= 5:
        raise ValueError(f"a B-spline of degree {degree}; expected 1..5")
    if knots is None:
        inner = np.linspace(0, 1, len(points) - degree + 1)
        t = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    else:
        t = np.array(knots, float)
        if t.shape != (len(points) + degree + 1,) or not np.isfinite(t).all() or (np.diff(t) < 0).any():
            raise ValueError(f"{t.size} knots; expected {len(points) + degree + 1}, ascending")
        if not t[degree] < t[-degree - 1]:
            raise ValueError("knots that span nothing")
    return _sampled(interpolate.BSpline(t, control, degree), float(t[degree]), float(t[-degree - 1]), control)


def _sampled(
    spline: interpolate.BSpline, begin: float, end: float, control: npt.NDArray[np.float64]
) -> Points:
    """Points of a spline, close enough that straight lines between them will do."""
    rough = spline(np.linspace(begin, end, 8 * len(control) + 16))
    length = float(np.hypot(*np.diff(rough, axis=0).T).sum())
    count = (
        int(np.clip(1.5 * length / _STEP, 16, 4 * MAX_POINTS)) + 1
    )  # 1.5: equal steps of the parameter aren't of arc
    return tuple((float(x), float(y)) for x, y in spline(np.linspace(begin, end, count)))


def rasterise(
    shapes: Sequence[Shape], frame_shape: tuple[int, int], affine: Affine = IDENTITY
) -> npt.NDArray[np.uint8]:
    """The pixels that shapes cover, (H, W) of 0 and 1.

    Args:
        shapes: In the source's pixels; what lies outside the frame is cut off.
        frame_shape: H and W.
        affine: From a pixel (x, y, 1) of the frame to the source's, where the frame is a part of the source.
    """
    out = np.zeros(frame_shape, np.bool_)
    matrix = np.array(affine, float)
    inverse = np.linalg.inv(matrix[:, :2])
    scale = math.sqrt(abs(np.linalg.det(inverse)))
    for shape in shapes:
        if isinstance(shape, Bitmap):
            out |= _placed(shape, frame_shape, matrix)
            continue
        points = (np.array(shape.points, float) - matrix[:, 2]) @ inverse.T
        if isinstance(shape, Polygon):
            out |= _enclosed(points, frame_shape)
        else:
            _stroke(out, points, max(shape.width * scale / 2, 0.5))
    return out.astype(np.uint8)


def resampled(
    mask: npt.NDArray[np.bool_], frame_shape: tuple[int, int], affine: Affine
) -> npt.NDArray[np.bool_]:
    """A mask of the source's size at the pixels of a frame that is a part of it; nearest pixel."""
    box = Bitmap(0, 0, mask.shape[0], mask.shape[1], (), by_column=False)
    return _sample(mask, box, frame_shape, np.array(affine, float))


def _placed(
    shape: Bitmap, frame_shape: tuple[int, int], matrix: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    return _sample(shape.mask(), shape, frame_shape, matrix)


def _sample(
    mask: npt.NDArray[np.bool_], box: Bitmap, frame_shape: tuple[int, int], matrix: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[: frame_shape[0], : frame_shape[1]]
    column, row = (np.rint(a * x + b * y + c).astype(np.int64) for a, b, c in matrix)
    column, row = column - box.left, row - box.top
    inside = (column >= 0) & (column < box.width) & (row >= 0) & (row < box.height)
    out = np.zeros(frame_shape, np.bool_)
    out[inside] = mask[row[inside], column[inside]]
    return out


def _stroke(out: npt.NDArray[np.bool_], points: npt.NDArray[np.float64], reach: float) -> None:
    """Set the pixels whose centre lies within ``reach`` of a polyline."""
    height, width = out.shape
    for begin, end in _pieces(points, reach, height, width):
        low = np.ceil(np.minimum(begin, end) - reach).astype(int)
        high = np.floor(np.maximum(begin, end) + reach).astype(int)
        left, top = max(int(low[0]), 0), max(int(low[1]), 0)
        right, bottom = min(int(high[0]) + 1, width), min(int(high[1]) + 1, height)
        if left >= right or top >= bottom:
            continue
        dx, dy = end - begin
        x, y = np.arange(left, right) - begin[0], (np.arange(top, bottom) - begin[1])[:, None]
        along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-300), 0, 1)
        out[top:bottom, left:right] |= (x - along * dx) ** 2 + (y - along * dy) ** 2 <= reach * reach


def _pieces(
    points: npt.NDArray[np.float64], reach: float, height: int, width: int
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """The straight parts of a polyline near the frame, long ones cut so that each looks at few pixels."""
    low, high = np.full(2, -reach - 1), np.array([width, height]) + reach
    for begin, end in zip(points[:-1], points[1:], strict=True):
        count = max(1, math.ceil(float(np.abs(end - begin).max()) / _PIECE))
        cuts = begin + np.linspace(0, 1, count + 1)[:, None] * (end - begin)
        lower, upper = np.minimum(cuts[:-1], cuts[1:]), np.maximum(cuts[:-1], cuts[1:])
        for k in np.flatnonzero(((upper >= low) & (lower <= high)).all(axis=1)):
            yield cuts[k], cuts[k + 1]


def _enclosed(points: npt.NDArray[np.float64], frame_shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Pixels whose centre a closed outline encloses: an odd number of crossings to their left, or on them."""
    height, width = frame_shape
    crossings = np.zeros((height, width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        rows = np.arange(max(math.ceil(y0), 0), min(math.ceil(y1), height))  # y0 <= row < y1
        at = x0 + (rows - y0) * ((x1 - x0) / (y1 - y0))
        np.add.at(crossings, (rows, np.clip(np.ceil(at), 0, width).astype(np.int64)), 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1)
