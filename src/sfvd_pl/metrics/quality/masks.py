"""Whether a mask looks like a wire: its area, width, pieces."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, require_axes
from sfvd_pl.metrics.wire import GAP_PX, crop_to, skeleton

_EIGHT = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class MaskShape:
    """One mask.

    Attributes:
        pixels: Number of wire pixels.
        share: Their share of the frame.
        width_px: Median width along the centreline.
        pieces: Connected parts further than ``GAP_PX`` from one another.
        sides: How many of the frame's four sides it touches.
    """

    pixels: int
    share: float
    width_px: float
    pieces: int
    sides: int


def mask_shape(wire_mask: Array) -> MaskShape:
    """Measure one mask, (H, W), non-zero on the wire.

    The width at a pixel of the centreline is 2 d - 1 with d its distance to the nearest pixel off the wire: 1 for a
    line of single pixels, 3 for one of three.
    """
    require_axes(wire_mask, "H W", "wire_mask")
    wire = np.asarray(wire_mask) != 0
    if not wire.any():
        return MaskShape(0, 0.0, float("nan"), 0, 0)
    sides = sum(bool(edge.any()) for edge in (wire[0], wire[-1], wire[:, 0], wire[:, -1]))
    # Beyond the frame the wire may go on, so the border repeats instead of ending it.
    box = np.pad(wire[crop_to(wire)], 1)
    inside = np.pad(wire, 1, mode="edge")[tuple(slice(s.start, s.stop + 2) for s in crop_to(wire))]
    distance = ndimage.distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1]
    line = skeleton(box)
    width = float(np.median(2 * distance[line] - 1)) if line.any() else float("nan")
    return MaskShape(
        pixels=int(wire.sum()),
        share=float(wire.mean()),
        width_px=width,
        pieces=_pieces(box),
        sides=sides,
    )


def _pieces(wire: Array) -> int:
    """Connected parts once gaps of ``GAP_PX`` are bridged."""
    reach = int(np.ceil(GAP_PX / 2))
    grown = ndimage.distance_transform_edt(~np.pad(wire, reach)) <= GAP_PX / 2
    return int(ndimage.label(grown, structure=_EIGHT)[1])
