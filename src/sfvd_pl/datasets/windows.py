"""Windows cut from clips at native scale, and what is derived from them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

REGION_RADIUS_PX = 4.0
"""Half the width of the band around a course that the diffusion models draw, beside the wire itself."""
NEARNESS_CUTOFF_PX = 8.0
"""Distance at which the nearness of the centreline reaches 0: a few wire widths, where its pull on a picture ends."""


def philox(seed: int) -> np.random.Generator:
    """A generator for one sample; counter-based, so it costs little to make."""
    return np.random.Generator(np.random.Philox(key=seed % 2**64))


@dataclass(frozen=True)
class Window:
    """A square cut at native scale, then turned and mirrored.

    Attributes:
        top: First row.
        left: First column.
        size: Side in pixels.
        quarter_turns: Anticlockwise turns by 90 degrees.
        mirrored: Mirrored left to right after turning.
    """

    top: int
    left: int
    size: int
    quarter_turns: int = 0
    mirrored: bool = False

    def cut(self, frames: NDArray[np.generic]) -> NDArray[np.generic]:
        """Cut ``... H W``; where the frame ends before the window does, its edge is repeated."""
        part = frames[..., self.top : self.top + self.size, self.left : self.left + self.size]
        missing = [self.size - part.shape[-2], self.size - part.shape[-1]]
        if any(missing):
            pad = [(0, 0)] * (part.ndim - 2) + [(0, missing[0]), (0, missing[1])]
            part = np.pad(part, pad, mode="edge")
        part = np.rot90(part, self.quarter_turns, axes=(-2, -1))
        return np.ascontiguousarray(part[..., ::-1] if self.mirrored else part)


def choose_window(
    rng: np.random.Generator,
    size: int,
    height: int,
    width: int,
    wire_mask: NDArray[np.generic] | None,
    *,
    wire_probability: float,
    augment: bool,
) -> Window:
    """A random window inside a frame of ``height`` x ``width`` pixels.

    Args:
        rng: Source of randomness; always consumes the same amount.
        size: Side of the window.
        height: Valid rows of the frame.
        width: Valid columns.
        wire_mask: ``T H W``; with ``wire_probability`` the window contains a random wire pixel of it.
        wire_probability: See above.
        augment: Also turn and mirror at random.
    """
    uniform = rng.random(6)
    free = np.array([max(0, height - size), max(0, width - size)])
    corner = np.floor(uniform[:2] * (free + 1)).astype(int)
    if wire_mask is not None and uniform[2] < wire_probability:
        pixels = np.argwhere(wire_mask)
        if len(pixels):
            pixel = pixels[int(uniform[3] * len(pixels))][-2:]
            # The chosen pixel falls anywhere in the window but its outermost eighth.
            margin = size // 8
            offset = margin + np.floor(uniform[:2] * (size - 2 * margin)).astype(int)
            corner = np.clip(pixel - offset, 0, free)
    turns, mirrored = (int(uniform[4] * 4), bool(uniform[5] < 0.5)) if augment else (0, False)
    return Window(int(corner[0]), int(corner[1]), size, turns, mirrored)


def band_around(mask: NDArray[np.generic], radius_px: float) -> NDArray[np.bool_]:
    """Pixels of ``T H W`` at most ``radius_px`` away from the mask's, frame by frame."""
    band = np.zeros(mask.shape, np.bool_)
    for frame, wire in enumerate(mask):
        if wire.any():
            band[frame] = distance_transform_edt(wire == 0) <= radius_px
    return band


def centreline_nearness(wire_mask: UInt8[np.ndarray, "T H W"]) -> Float[np.ndarray, "T H W"]:
    """Nearness of the wire's centreline: 1 on it, falling linearly to 0 at ``NEARNESS_CUTOFF_PX``; 0 without a wire.

    The centreline is the skeleton of the mask (Zhang and Suen 1984, as in scikit-image).
    """
    nearness = np.zeros(wire_mask.shape, np.float32)
    for frame, mask in enumerate(wire_mask):
        if mask.any():
            distance = distance_transform_edt(~skeletonize(mask > 0))
            nearness[frame] = np.clip(1.0 - distance / NEARNESS_CUTOFF_PX, 0.0, 1.0)
    return nearness
