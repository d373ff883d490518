"""Where a dark line lies: sub-pixel positions across a path that is known to be near it.

A position is the maximum of the grey values' second derivative across the path, taken at the scale of a wire
(Steger, 1998: a line is where the first derivative vanishes and the second is large), in the mean of a few pixels
along it, which is what makes it hold in noise. The very same is done to a mask, so that what the method adds on its
own (the width of a mask's pixels, a path that isn't in the middle) cancels in the difference.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Floats
from sfvd_pl.metrics.wire import wire_path

STEP_PX = 0.25
"""Spacing of samples across the path."""
SCALE_PX = 1.2
"""Standard deviation of the Gaussian whose second derivative finds the line: that of a wire 2 to 3 px wide."""
PIECE_PX = 8
"""Length of path that gives one position."""
SMOOTH_PX = 2.0
"""Standard deviation that smooths a mask's staircase, along the path."""
BEND_COST = 1.0
"""What a pixel sideways from piece to piece costs, see :func:`_connected`."""
LEAST_PIXELS = 12
"""A shorter path has no direction to speak of."""


@dataclass(frozen=True)
class Path:
    """A smooth line through a wire, one point a pixel of its length.

    Attributes:
        points: (K, 2) row and column.
        normals: (K, 2) unit vectors across it.
        tangents: (K, 2) unit vectors along it, in the order of the points.
    """

    points: Floats
    normals: Floats
    tangents: Floats

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)


def smooth_path(wire_mask: Array) -> Path | None:
    """The line through a mask's wire; None where it is shorter than ``LEAST_PIXELS``."""
    pixels = wire_path(wire_mask)
    if len(pixels) < LEAST_PIXELS:
        return None
    smooth = _smoothed(pixels)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(smooth, axis=0), axis=1))])
    if along[-1] < LEAST_PIXELS:
        return None
    at = np.linspace(0, along[-1], round(along[-1]) + 1)
    points = np.stack([np.interp(at, along, column) for column in smooth.T], axis=1)
    tangents = np.gradient(points, axis=0)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)
    return Path(points, np.stack([-tangents[:, 1], tangents[:, 0]], axis=1), tangents)


def _smoothed(pixels: Floats) -> Floats:
    """Gaussian along the path; beyond an end the path is mirrored through it, which keeps the end and its slope."""
    pad = min(len(pixels) - 1, int(4 * SMOOTH_PX))
    before = 2 * pixels[0] - pixels[pad:0:-1]
    after = 2 * pixels[-1] - pixels[-2 : -pad - 2 : -1]
    padded = np.concatenate([before, pixels, after])
    smooth: Floats = ndimage.gaussian_filter1d(padded, SMOOTH_PX, axis=0, mode="nearest")
    return smooth[pad : pad + len(pixels)]


def sample_across(frame: Array, path: Path, reach_px: float) -> tuple[Floats, Floats]:
    """Grey values along the normals of a path.

    Returns:
        Offsets (P,) from ``-reach_px`` to ``reach_px`` and values (K, P); NaN outside the frame.
    """
    half = round(reach_px / STEP_PX)
    offsets: Floats = np.arange(-half, half + 1, dtype=np.float64) * STEP_PX
    where = path.points[:, None, :] + offsets[None, :, None] * path.normals[:, None, :]
    values: Floats = ndimage.map_coordinates(
        np.asarray(frame, np.float64), where.transpose(2, 0, 1), order=1, mode="constant", cval=np.nan
    )
    return offsets, values


def pieces(values: Floats) -> Floats:
    """Mean of each ``PIECE_PX`` rows of (K, P), (K // PIECE_PX, P); NaN where any of them is."""
    count = len(values) // PIECE_PX
    means: Floats = values[: count * PIECE_PX].reshape(count, PIECE_PX, values.shape[1]).mean(axis=1)
    return means


def ridge_positions(frame: Array, path: Path, search_px: float) -> Floats:
    """Offset (K // PIECE_PX,) of the dark line from the path, along its normals, in pixels.

    Args:
        frame: (H, W).
        path: Near which the line is looked for.
        search_px: How far to either side. Something is always found, in pure noise anywhere within.

    Returns:
        NaN where the search leaves the frame, where nothing is darker than both its sides, or where the grey values
        are still falling at the search's end.
    """
    margin = np.ceil(3 * SCALE_PX)
    offsets, values = sample_across(frame, path, search_px + margin)
    # The cut-off kernel's sum isn't quite 0, so the level has to go first.
    means = pieces(values)
    means -= means.mean(axis=1, keepdims=True)
    bent = ndimage.gaussian_filter1d(means, SCALE_PX / STEP_PX, axis=1, order=2, truncate=3.0)
    inside = np.abs(offsets) <= search_px + 1e-9
    where, bent = offsets[inside], bent[:, inside]
    found = np.full(len(bent), np.nan)
    whole = np.isfinite(bent).all(axis=1)
    if not whole.any():
        return found
    for row, peak in zip(np.flatnonzero(whole), _connected(bent[whole]), strict=True):
        curve = bent[row]
        if not 0 < peak < len(curve) - 1 or curve[peak] <= 1e-12:
            continue
        left, middle, right = curve[peak - 1 : peak + 2]
        if middle >= max(left, right) and 2 * middle > left + right:
            found[row] = where[peak] + STEP_PX * 0.5 * (left - right) / (left - 2 * middle + right)
    return found


def _connected(bent: Floats) -> list[int]:
    """The samples, one a piece, with the most bending along a line that doesn't jump from piece to piece.

    Dynamic programming over the pieces (as Geman and Jedynak, 1996, follow roads): a wire whose contrast is no more
    than that of its surroundings is told from them by its course. A pixel sideways costs ``BEND_COST`` of the
    bending's own deviation.
    """
    scale = float(bent.std())
    if scale <= 0:
        return [0] * len(bent)
    gain = bent / scale
    at = np.arange(bent.shape[1]) * STEP_PX
    cost = BEND_COST * np.abs(at[:, None] - at[None, :])
    best, origin = gain[0], []
    for row in gain[1:]:
        ways = best[None, :] - cost
        origin.append(ways.argmax(axis=1))
        best = row + ways.max(axis=1)
    chosen = [int(best.argmax())]
    for back in reversed(origin):
        chosen.append(int(back[chosen[-1]]))
    # On the way from piece to piece a place beside a crest may be worth more: climb it.
    return [_climb(row, place) for row, place in zip(gain, reversed(chosen), strict=True)]


def _climb(curve: Floats, place: int) -> int:
    while True:
        nearby = curve[max(place - 1, 0) : place + 2]
        higher = max(place - 1, 0) + int(nearby.argmax())
        if curve[higher] <= curve[place]:
            return place
        place = higher


def mask_positions(wire_mask: Array, path: Path, search_px: float) -> Floats:
    """:func:`ridge_positions` of the wire in a mask, as if it were a picture of a dark wire."""
    return ridge_positions(-(np.asarray(wire_mask) != 0).astype(np.float64), path, search_px)
