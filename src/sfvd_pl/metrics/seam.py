"""The seam around a wire that was drawn into a real clip: grain at the edge of the drawn band, and its flicker."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from sfvd_pl.metrics.arrays import Array, Bools, require_axes, require_same_shape
from sfvd_pl.metrics.noise import residual_autocorrelation, residual_std
from sfvd_pl.metrics.rows import Values

EDGE_PX = 2
"""Pixels on either side of the band's border that are looked at."""
MARGIN_PX = 8
"""Pixels around the band that the residual's blur reaches."""


def seam_edge(region: Array) -> Bools:
    """Pixels within ``EDGE_PX`` of the border of a region (T, H, W), inside and outside; none where it is empty."""
    edge = np.zeros(region.shape, np.bool_)
    for frame, inside in enumerate(np.asarray(region) != 0):
        if inside.any():
            distance = np.where(inside, distance_transform_edt(inside), distance_transform_edt(~inside))
            edge[frame] = distance <= EDGE_PX
    return edge


def clip_seam(clip: Array, real: Array, region: Array, ignore: Array | None = None) -> Values:
    """The residual at a band's edge against that of the same real frames at the same place.

    Args:
        clip: (T, H, W), the synthetic clip.
        real: (T, H, W), the real frames that it shows.
        region: (T, H, W), non-zero where it was drawn.
        ignore: (T, H, W), pixels that don't count; none without it.

    Returns:
        ``std_ratio``, and ``autocorrelation`` and ``autocorrelation_real`` from one frame to the next; NaN without an
        edge, or for a clip of one frame.

    Raises:
        MetricsError: If axes or shapes are wrong.
    """
    require_axes(clip, "T H W", "clip")
    for name, other in (("real", real), ("region", region)):
        require_same_shape(other, clip, name, "clip")
    drawn = np.asarray(region) != 0
    if not drawn.any():
        return dict.fromkeys(("std_ratio", "autocorrelation", "autocorrelation_real"), float("nan"))
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in ((0, 2), (0, 1)))
    box = np.s_[:, *(slice(max(0, k[0] - MARGIN_PX), k[-1] + 1 + MARGIN_PX) for k in (rows, columns))]
    aside = ~seam_edge(drawn[box])
    if ignore is not None:
        aside |= np.asarray(ignore)[box] != 0
    made, same = (float(residual_std(frames[box], exclude=aside)) for frames in (clip, real))
    lag = [float(residual_autocorrelation(frames[box], (1,), exclude=aside)[0]) for frames in (clip, real)]
    return {
        "std_ratio": made / same if same > 0 else float("nan"),
        "autocorrelation": lag[0],
        "autocorrelation_real": lag[1],
    }
