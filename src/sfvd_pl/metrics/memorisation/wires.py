"""Which wire of a clip is to be held against the wires of training clips."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array

BESIDE_PX = 5
"""Wire within this distance of the mask that drove a clip is the one that was asked for."""
LEAST_PIXELS = 24
"""Pixels of wire in a frame without which it has no course to speak of."""
LEAST_FRAMES = 0.5
"""Share of the frames in which there must be as many."""


def wire_in_question(found: Array, asked: Array | None) -> npt.NDArray[np.uint8] | None:
    """The wire that would be memory if it were a training clip's.

    A clip that a training clip's own mask drove shows that wire because it was asked to. Only wire that it shows
    elsewhere than asked can be memory. With a simulated mask, or none, all of its wire can.

    Args:
        found: ``T H W``, the wire as it is seen in the pictures.
        asked: ``T H W``, the mask where it is a training clip's; None otherwise.

    Returns:
        ``T H W``, 0 or 1; None where there is too little of it.
    """
    wire = np.asarray(found > 0, np.uint8)
    if asked is not None:
        near = np.ones((2 * BESIDE_PX + 1,) * 2, bool)
        wire = wire * np.stack([~ndimage.binary_dilation(mask > 0, near) for mask in asked]).astype(np.uint8)
    enough = (wire.reshape(len(wire), -1).sum(1) >= LEAST_PIXELS).mean()
    return wire if enough >= LEAST_FRAMES else None
