"""What of a clip is compared: its structure, its grain, its wire's course, in all orientations.

A generator learns from windows that are cut anywhere from larger frames, turned by quarter turns and mirrored. So a
copy may be any window of any training frame. Everything is compared at one working scale, at which a window is
``WORKING_PX`` wide: what a small zoom, another resolution or the finest pixels do is then the same for all presets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

from sfvd_pl.metrics.arrays import Array, require_axes
from sfvd_pl.metrics.quality.copies import fine_structure
from sfvd_pl.metrics.quality.likeness import resized

WORKING_PX = 64
"""Side of a window when it is compared, in working pixels, the unit of all that follows."""
MARGIN_PX = 4
"""Rim of a window that isn't compared: filters see beyond it in a training frame, but not in a window."""
PAD_PX = 8
"""Rim that is added to training frames, their edge repeated, as a window shifted by a few pixels shows it."""
REDUCTION = 4
"""Working pixels of one coarse pixel, in which candidates are looked for."""
COARSE_BAND = (2.0, 8.0, 16.0)
"""Band and local strength of the coarse structure, see ``fine_structure``."""
STEP = 2
"""Candidates are looked for among every STEP-th training frame: neighbours look alike at the coarse scale."""
WIRE_MARGIN_PX = 4
"""Pixels around a labelled wire that are left out of a picture: a wire where a mask put it is no memory."""
COURSE_PX = 2.0
"""Blur of a wire's centreline: courses that lie this far apart still resemble one another."""
COARSE_COURSE_PX = 4.0
"""The same while candidates are looked for."""

Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """A clip as it is compared, at the working scale.

    Attributes:
        coarse: ``T+1 h w``, reduced by ``REDUCTION``; the last one is of the clip's mean over time.
        fine: Channels ``T H W``, each compared by itself.
        still: ``1 H W``, the first channel of the clip's mean over time, in which noise is least.
        used: ``T H W``, pixels that count; of a training clip all do.
        centred: Whether a channel's mean is taken away before it is compared (correlation), or not (cosine).
    """

    coarse: Singles
    fine: tuple[Singles, ...]
    still: Singles
    used: Bools
    centred: bool

    def __len__(self) -> int:
        """Frames."""
        return len(self.used)


def working_clip(frames: Array, window: int) -> Singles:
    """Frames ``T H W`` at the scale at which ``window`` pixels are ``WORKING_PX``."""
    require_axes(frames, "T H W", "clip")
    if window == WORKING_PX:
        return np.asarray(frames, np.float32)
    height, width = (max(1, round(side * WORKING_PX / window)) for side in frames.shape[1:])
    return np.stack([resized(frame, height, width) for frame in frames])


def padded(frames: Singles, mode: Literal["edge", "constant"] = "edge") -> Singles:
    """Training frames with a rim of ``PAD_PX``, at least a window large, sides whole coarse pixels.

    Args:
        frames: ``T H W`` at the working scale.
        mode: What the rim holds: the edge repeated, as in a window that was shifted, or 0, for masks.
    """
    after = []
    for side in frames.shape[1:]:
        total = max(side + 2 * PAD_PX, WORKING_PX + 2 * PAD_PX)
        total += -total % REDUCTION
        after.append(total - side - PAD_PX)
    return np.pad(frames, ((0, 0), (PAD_PX, after[0]), (PAD_PX, after[1])), mode=mode)


def reduced(frames: Singles) -> Singles:
    """Means over blocks of ``REDUCTION`` pixels; what is left over at the ends is dropped."""
    count, height, width = frames.shape
    rows, columns = height // REDUCTION, width // REDUCTION
    cut = frames[:, : rows * REDUCTION, : columns * REDUCTION]
    blocks = cut.reshape(count, rows, REDUCTION, columns, REDUCTION)
    return np.asarray(blocks.mean((2, 4)), np.float32)


def picture_view(frames: Singles, wire_mask: Array | None = None) -> View:
    """Structure and grain of a clip's pictures.

    Args:
        frames: ``T H W`` at the working scale, any unit.
        wire_mask: ``T H W`` at that scale; the wire and ``WIRE_MARGIN_PX`` around it don't count.

    Returns:
        Coarse structure; the channels are the fine structure of each frame, and its grain: the fine structure of what
        the frame has beyond the mean of its clip, 0 throughout for a clip of one frame.
    """
    mean = frames.mean(0)
    structure = np.stack([fine_structure(frame) for frame in frames])
    coarse = reduced(np.stack([fine_structure(frame, *COARSE_BAND) for frame in [*frames, mean]]))
    if len(frames) > 1:
        grain = np.stack([fine_structure(frame - mean) for frame in frames])
    else:
        grain = np.zeros_like(structure)
    used = np.ones(frames.shape, bool)
    if wire_mask is not None:
        near = np.ones((2 * WIRE_MARGIN_PX + 1,) * 2, bool)
        used = np.stack([~ndimage.binary_dilation(mask > 0, near) for mask in wire_mask])
    return View(coarse, (structure, grain), fine_structure(mean)[None], used, centred=True)


def wire_view(wire_mask: Array) -> View:
    """Course of a clip's wire: its centreline in each frame, blurred; ``T H W`` at the working scale."""
    lines = np.stack([skeletonize(mask > 0) for mask in wire_mask]).astype(np.float32)
    course = ndimage.gaussian_filter(lines, (0, COURSE_PX, COURSE_PX), mode="constant")
    coarse = ndimage.gaussian_filter(lines, (0, COARSE_COURSE_PX, COARSE_COURSE_PX), mode="constant")
    coarse = reduced(np.concatenate([coarse, coarse.mean(0, keepdims=True)]))
    return View(coarse, (course,), course.mean(0, keepdims=True), np.ones(course.shape, bool), centred=False)


def working_mask(wire_mask: Array, window: int) -> npt.NDArray[np.uint8]:
    """A mask ``T H W`` at the working scale: wire where any of it was."""
    require_axes(wire_mask, "T H W", "wire mask")
    if window == WORKING_PX:
        return np.asarray(wire_mask > 0, np.uint8)
    height, width = (max(1, round(side * WORKING_PX / window)) for side in wire_mask.shape[1:])
    out = np.zeros((len(wire_mask), height, width), np.uint8)
    for number, mask in enumerate(wire_mask):
        rows, columns = np.nonzero(mask)
        scale = (height / mask.shape[0], width / mask.shape[1])
        out[number, (rows * scale[0]).astype(int), (columns * scale[1]).astype(int)] = 1
    return out


@dataclass(frozen=True)
class Orientation:
    """How a window was turned and mirrored after it had been cut, as in ``datasets.windows.Window``.

    Attributes:
        quarter_turns: Anticlockwise turns by 90 degrees.
        mirrored: Mirrored left to right after turning.
    """

    quarter_turns: int
    mirrored: bool

    def undo(self, frames: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """A window ``... H W`` as it lay in the frame that it was cut from."""
        upright = frames[..., ::-1] if self.mirrored else frames
        return np.rot90(upright, -self.quarter_turns, axes=(-2, -1))


ORIENTATIONS = tuple(Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True))


def query_frames(length: int, count: int = 4) -> list[int]:
    """Frames of a clip that look for candidates: ``count`` at most, evenly spread, even and odd by turns.

    So some of them have their original among every ``STEP``-th training frame, wherever the copy begins.
    """
    spread = np.linspace(0, length - 1, min(count, length)).round().astype(int)
    return sorted({min(length - 1, int(t) // STEP * STEP + k % STEP) for k, t in enumerate(spread)})


def oriented(frames: npt.NDArray[np.generic]) -> Iterator[npt.NDArray[np.generic]]:
    """A window in the eight ways in which it may have been cut."""
    return (orientation.undo(frames) for orientation in ORIENTATIONS)
