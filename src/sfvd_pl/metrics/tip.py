"""Where a rendered wire ends, against where its mask does."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Bools, Floats, require_axes, require_same_shape
from sfvd_pl.metrics.ridge import STEP_PX, Path, sample_across, smooth_path
from sfvd_pl.metrics.wire import BORDER_PX

BEYOND_PX = 8
"""How far past the mask's tip the shadow is followed, straight on; no frame counts whose picture ends before."""
WITHIN_PX = 10
"""Length of wire before the tip that is looked at."""
PLATEAU_PX = (-8.0, -3.0)
"""Where along the wire its full contrast is read, from the tip: near it, as the end may be a denser coil."""
LINE_PX = 0.75
"""Half the width, across the path, of what counts as wire."""
SIDE_PX = (3.5, 6.0)
"""From where to where, across the path, the background lies."""
CERTAIN = 3.0
"""A plateau's contrast has to be so many of its standard errors for a wire to be there at all."""


@dataclass(frozen=True)
class Tips:
    """The ends of a clip's wire that lie in view.

    Attributes:
        n: Ends that could be looked at, 0 to 2.
        found: Of those, ends with a dark line before them that stops in reach.
        offset_px: (found,) how far the dark line goes on past the mask's tip; negative where it stops short.
    """

    n: int
    found: int
    offset_px: Floats


def wire_tips(clip: Array, wire_mask: Array, annotated: Bools | None = None) -> Tips:
    """Follow the wire's contrast along the mask's line and straight on past its ends, in the mean over the frames.

    The contrast at a place along the line is the mean of the background on both sides of it minus the line's. A wire
    ends where that falls to half of its value before the tip, for good. The same is done to the mask as if it were a
    picture, and the difference of the two ends is the offset. Both ends of the wire count alike, as a mask doesn't
    say which is the tip; an end within ``BORDER_PX`` of the border is where the wire leaves the picture.

    Args:
        clip: (T, H, W).
        wire_mask: (T, H, W), non-zero on the wire.
        annotated: (T,), frames whose mask is known; all without it.

    Raises:
        MetricsError: If axes or shapes are wrong.
    """
    require_axes(clip, "T H W", "clip")
    require_same_shape(wire_mask, clip, "wire_mask", "clip")
    known = np.ones(len(clip), np.bool_) if annotated is None else np.asarray(annotated, np.bool_)
    profiles = _profiles(clip, wire_mask, known)
    offsets = []
    for picture, mask in profiles:
        end, reference = _end(*_mean_and_error(picture)), _end(*_mean_and_error(mask))
        if np.isfinite(end) and np.isfinite(reference):
            offsets.append(end - reference)
    return Tips(len(profiles), len(offsets), np.array(offsets, np.float64))


def _profiles(clip: Array, wire_mask: Array, known: Bools) -> list[tuple[Floats, Floats]]:
    """For each end that is in view in some frame: contrast (frames, K) of the picture and of the mask."""
    height, width = clip.shape[1:]
    corner = np.array([height - 1, width - 1])
    ends: list[tuple[list[Floats], list[Floats]]] = [([], []), ([], [])]
    last: Floats | None = None
    for frame, wire, there in zip(clip, wire_mask, known, strict=True):
        path = smooth_path(wire) if there else None
        if path is None or len(path) <= WITHIN_PX:
            continue
        if last is not None and _swapped(path.points[[0, -1]], last):
            path = Path(path.points[::-1], path.normals[::-1], -path.tangents[::-1])
        last = path.points[[0, -1]]
        for side, end in enumerate((_outward(path, first=True), _outward(path, first=False))):
            tip = end.points[WITHIN_PX]
            if np.all((tip >= BORDER_PX) & (tip <= corner - BORDER_PX)):
                ends[side][0].append(_contrast(frame, end))
                ends[side][1].append(_contrast(-(np.asarray(wire) != 0).astype(np.float64), end))
    pairs = [(np.stack(picture), np.stack(mask)) for picture, mask in ends if picture]
    return [(p, m) for p, m in pairs if np.isfinite(p).all(axis=1).any()]


def _swapped(ends: Floats, before: Floats) -> bool:
    straight = np.linalg.norm(ends - before, axis=1).sum()
    return bool(np.linalg.norm(ends - before[::-1], axis=1).sum() < straight)


def _outward(path: Path, *, first: bool) -> Path:
    """The last ``WITHIN_PX`` of a path and ``BEYOND_PX`` more, straight on; point ``WITHIN_PX`` is the tip."""
    points, tangents = (path.points[::-1], -path.tangents[::-1]) if first else (path.points, path.tangents)
    points, tangents = points[-WITHIN_PX - 1 :], tangents[-WITHIN_PX - 1 :]
    ahead = tangents[-5:].mean(axis=0)  # the very last one follows a single pixel
    ahead /= max(float(np.linalg.norm(ahead)), 1e-9)
    more = points[-1] + np.arange(1, BEYOND_PX + 1)[:, None] * ahead
    all_tangents = np.concatenate([tangents, np.tile(ahead, (BEYOND_PX, 1))])
    normals = np.stack([-all_tangents[:, 1], all_tangents[:, 0]], axis=1)
    return Path(np.concatenate([points, more]), normals, all_tangents)


def _contrast(frame: Array, path: Path) -> Floats:
    """Background on both sides minus line at each point of a path; NaN where that leaves the frame."""
    offsets, values = sample_across(frame, path, SIDE_PX[1])
    line = np.abs(offsets) <= LINE_PX
    sides = (np.abs(offsets) >= SIDE_PX[0]) & (np.abs(offsets) <= SIDE_PX[1])
    contrast: Floats = values[:, sides].mean(axis=1) - values[:, line].mean(axis=1)
    return contrast


def _mean_and_error(profiles: Floats) -> tuple[Floats, float]:
    """Mean (K,) over the frames seen in full, smoothed a little, and the standard error of its plateau."""
    whole = profiles[np.isfinite(profiles).all(axis=1)]
    along = np.arange(-WITHIN_PX, BEYOND_PX + 1)
    plateau = whole[:, (along >= PLATEAU_PX[0]) & (along <= PLATEAU_PX[1])]
    error = float(plateau.std() / np.sqrt(plateau.size)) if plateau.size > 1 else float("nan")
    return ndimage.gaussian_filter1d(whole.mean(axis=0), 0.7, mode="nearest"), error


def _end(profile: Floats, error: float) -> float:
    """Where a contrast profile falls to half its plateau and stays below for 2 px; NaN if it never does."""
    along = np.arange(-WITHIN_PX, BEYOND_PX + 1, dtype=np.float64)
    plateau = float(profile[(along >= PLATEAU_PX[0]) & (along <= PLATEAU_PX[1])].mean())
    if not plateau > max(CERTAIN * error, 1e-9):
        return float("nan")
    fine = np.arange(PLATEAU_PX[1], BEYOND_PX + STEP_PX / 2, STEP_PX)
    below = np.interp(fine, along, profile) < plateau / 2
    for start in np.flatnonzero(below):
        rest = below[start : start + round(2 / STEP_PX)]
        if rest.all():
            return float(fine[start])
    return float("nan")
