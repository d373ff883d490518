"""Whether a mask lies on its wire: the darkness under the mask against that under displaced copies of it.

The wire is the thin dark line that the mask says it is. So a matched filter with the mask itself as template,
averaged over the frames of a clip, has its peak where the wire is. A peak elsewhere means that the label is
displaced by that much. The same with the mask of one frame on the picture of the next finds a slip in time.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Floats, require_axes, require_same_shape

REACH_PX = 8
"""Displacements are tried up to this far in rows and columns."""
LAGS = (-2, -1, 0, 1, 2)
"""Frames by which a mask is tried early and late."""
NEAR_PX = 1
"""Annotation is no better than this: the best place within it counts as the mask's own."""
FINE_PX, COARSE_PX, LOCAL_PX = 0.6, 3.0, 10.0
CLIP = 2.5
MAX_PIXELS = 600
MIN_PIXELS = 8
MIN_FRAMES = 3

Singles = npt.NDArray[np.float32]


def line_filter(clip: Array) -> Singles:
    """Fine structure in units of its own local strength: a band pass, divided by its local RMS, clamped.

    The division keeps one strong edge (a collimator, the diaphragm) from outweighing a whole wire.

    Args:
        clip: (T, H, W).

    Returns:
        (T, H, W) float32 in -2.5..2.5, negative where it is darker than its surroundings.
    """
    require_axes(clip, "T H W", "clip")
    values = np.asarray(clip, np.float32)
    out = np.empty_like(values)
    for t, frame in enumerate(values):
        fine = ndimage.gaussian_filter(frame, FINE_PX, mode="nearest")
        fine -= ndimage.gaussian_filter(frame, COARSE_PX, mode="nearest")
        strength = np.sqrt(ndimage.gaussian_filter(fine * fine, LOCAL_PX, mode="nearest", truncate=2.5))
        floor = 0.25 * float(np.median(strength)) + 1e-6
        np.clip(fine / (strength + floor), -CLIP, CLIP, out=out[t])
    return out


def darkness(lines: Singles, wire_mask: Array, reach: int = REACH_PX) -> Floats:
    """How dark it is under a mask moved by (dy, dx), for every displacement up to ``reach``.

    Args:
        lines: (H, W) of :func:`line_filter`.
        wire_mask: (H, W), non-zero on the wire.
        reach: Pixels.

    Returns:
        (2 reach + 1, 2 reach + 1) mean of -lines over those pixels of the moved mask that lie inside the picture;
        NaN for a mask of fewer than 8 pixels.
    """
    require_same_shape(wire_mask, lines, "wire_mask", "lines")
    side = 2 * reach + 1
    pixels = np.argwhere(np.asarray(wire_mask) != 0)
    if len(pixels) < MIN_PIXELS:
        return np.full((side, side), np.nan)
    pixels = pixels[:: -(-len(pixels) // MAX_PIXELS)]
    padded = np.pad(lines, reach, constant_values=np.nan)
    steps = np.arange(side)
    offsets = (steps[:, None] * padded.shape[1] + steps).ravel()
    start = pixels[:, 0] * padded.shape[1] + pixels[:, 1]
    values = padded.ravel()[start[:, None] + offsets]
    inside = np.isfinite(values)
    total = np.where(inside, values, 0.0).sum(axis=0, dtype=np.float64)
    mean: Floats = -total / np.maximum(inside.sum(axis=0), 1)
    return mean.reshape(side, side)


@dataclass(frozen=True)
class Placement:
    """Where the masks of a clip fit best.

    Attributes:
        frames: Number of frames it was measured on.
        offset_px: Rows and columns by which the masks would have to move.
        own: Darkness under the masks as they are (the best within a pixel).
        best: Darkness at ``offset_px``.
        bright: The opposite of darkness under the masks as they are (the brightest within a pixel).
        z: Mean gain over its standard error, over frames; NaN with fewer than 3 frames.
        share: Share of the frames that gain.
        lag: Frames by which the masks are late (positive: the mask of frame t fits frame t + lag).
        lag_gain: Gain of darkness at ``lag`` over none, mean over frames.
        lag_z: The same over its standard error.
        lag_share: Share of the frames that gain.
    """

    frames: int
    offset_px: tuple[int, int]
    own: float
    best: float
    bright: float
    z: float
    share: float
    lag: int
    lag_gain: float
    lag_z: float
    lag_share: float

    @property
    def distance_px(self) -> int:
        """The larger of the two displacements."""
        return max(abs(self.offset_px[0]), abs(self.offset_px[1]))


@dataclass
class PlacementMeter:
    """Gathers darkness over the blocks of a clip."""

    def __post_init__(self) -> None:
        """Start empty."""
        self._space: list[Floats] = []
        self._time: list[Floats] = []

    def update(self, clip: Array, wire_mask: Array) -> None:
        """Add consecutive frames.

        Args:
            clip: (T, H, W), the valid extent only.
            wire_mask: (T, H, W); a frame without wire pixels says nothing.
        """
        require_same_shape(wire_mask, clip, "wire_mask", "clip")
        if not np.asarray(wire_mask).any():
            return
        lines = line_filter(clip)
        for t in np.flatnonzero(np.asarray(wire_mask).any(axis=(1, 2))):
            field = darkness(lines[t], wire_mask[t])
            if np.isfinite(field).all():
                self._space.append(field)
                self._time.append(self._in_time(lines, wire_mask[t], int(t)))

    def _in_time(self, lines: Singles, wire_mask: Array, t: int) -> Floats:
        """Best darkness within a pixel, on the frames ``LAGS`` away; NaN beyond the ends."""
        inside = [0 <= t + lag < len(lines) for lag in LAGS]
        found = [
            float(np.max(darkness(lines[t + lag], wire_mask, NEAR_PX))) if there else float("nan")
            for lag, there in zip(LAGS, inside, strict=True)
        ]
        return np.array(found)

    def result(self) -> Placement | None:
        """Where the masks fit best; None where no frame could be measured."""
        if not self._space:
            return None
        fields, times = np.array(self._space), np.array(self._time)
        mean, middle = fields.mean(axis=0), REACH_PX
        row, column = np.unravel_index(int(mean.argmax()), mean.shape)
        near = slice(middle - NEAR_PX, middle + NEAR_PX + 1)
        gain = fields[:, row, column] - fields[:, near, near].max(axis=(1, 2))
        lag, lag_gain = self._best_lag(times)
        return Placement(
            frames=len(fields),
            offset_px=(int(row) - middle, int(column) - middle),
            own=float(mean[near, near].max()),
            best=float(mean[row, column]),
            bright=-float(mean[near, near].min()),
            z=_significance(gain),
            share=float((gain > 0).mean()),
            lag=lag,
            lag_gain=float(lag_gain.mean()) if lag_gain.size else 0.0,
            lag_z=_significance(lag_gain),
            lag_share=float((lag_gain > 0).mean()) if lag_gain.size else 0.0,
        )

    @staticmethod
    def _best_lag(times: Floats) -> tuple[int, Floats]:
        """The lag with the largest mean gain, and the gain of every frame that has a neighbour there."""
        best, gains = 0, np.zeros(0)
        for k, lag in enumerate(LAGS):
            gain = times[:, k] - times[:, LAGS.index(0)]
            gain = gain[np.isfinite(gain)]
            if lag and len(gain) >= MIN_FRAMES and gain.mean() > (gains.mean() if gains.size else 0.0):
                best, gains = lag, gain
        return best, gains


def _significance(gain: Floats) -> float:
    """Mean over its standard error; NaN with too few values to say."""
    if len(gain) < MIN_FRAMES:
        return float("nan")
    return float(gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain)) + 1e-3))
