"""Contrast as a dial: from a pair drawn with one noise, with and without the wire, to a wire as plain as asked.

The pair's ratio is the wire's attenuation and nothing else, ``A = log(y0 / y1)``, since X-rays are attenuated by a
factor (Beer-Lambert). ``x exp(-g A)`` has the wire's contrast g times, from invisible to plain, on any frame x of the
same anatomy, so the real frame's own grain can stay beneath the wire.
"""

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.morphology import skeletonize

from sfvd_pl.datasets.windows import REGION_RADIUS_PX
from sfvd_pl.metrics.visibility import clip_median, clip_visibility, wire_ring

REACH_PX, FADE_PX = 0.5, 2.0
"""Up to the first distance from its mask a wire attenuates in full; to the second its attenuation fades to 0, where the
pair's noise is all that is left."""
LEAST_CONTRAST, MOST_CONTRAST = 0.02, 20.0
"""Powers between which the requested visibility is looked for."""
BISECTIONS = 14


def attenuation(
    with_wire: Float[np.ndarray, "T H W"],
    without_wire: Float[np.ndarray, "T H W"],
    wire_mask: UInt8[np.ndarray, "T H W"],
) -> Float[np.ndarray, "T H W"]:
    """``log(without / with)`` near the wire, 0 from ``FADE_PX`` on.

    The two differ a little beside the wire, too, by shades wider than it. What they differ by between ``FADE_PX`` and
    the region's edge is taken off. A wire only takes signal away: what is still negative is the pair's noise, which a
    high contrast would turn into a bright rim.

    Args:
        with_wire: Detector signal in 0..1 drawn with the wire.
        without_wire: The same drawn without it.
        wire_mask: ``T H W``, where the wire was asked for.
    """
    drawn = np.zeros(wire_mask.shape, np.float32)
    for frame, wire in enumerate(wire_mask):
        if not wire.any():
            continue
        ratio = np.log(np.maximum(without_wire[frame], 1e-3) / np.maximum(with_wire[frame], 1e-3))
        distance = distance_transform_edt(wire == 0)
        beside = ((distance > FADE_PX) & (distance <= REGION_RADIUS_PX)).astype(np.float32)
        shade, weight = gaussian_filter(ratio * beside, FADE_PX), gaussian_filter(beside, FADE_PX)
        fade = np.clip((FADE_PX - distance) / (FADE_PX - REACH_PX), 0.0, 1.0)
        drawn[frame] = np.maximum(ratio - shade / np.maximum(weight, 1e-6), 0.0) * fade
    return drawn


def contrast_for(
    base: Float[np.ndarray, "T H W"],
    attenuated: Float[np.ndarray, "T H W"],
    wire_mask: UInt8[np.ndarray, "T H W"],
    ignore: UInt8[np.ndarray, "T H W"],
    visibility: float,
) -> float:
    """The power g at which the clip's visibility (median CNR of its frames) is what is asked, by bisection.

    A background that is itself dark or bright along the wire may put the request out of reach; then it is the least or
    the greatest power tried. Where nothing can be measured, nothing is changed: 1.
    """
    if not np.isfinite(clip_median(clip_visibility(base, wire_mask, ignore=ignore))):
        return 1.0
    low, high = np.log(LEAST_CONTRAST), np.log(MOST_CONTRAST)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        plain = base * np.exp(-np.exp(middle) * attenuated)
        reached = clip_median(clip_visibility(plain, wire_mask, ignore=ignore))
        low, high = (middle, high) if not reached >= visibility else (low, middle)
    return float(np.exp((low + high) / 2))


def attenuation_cnr(
    base: Float[np.ndarray, "T H W"], attenuated: Float[np.ndarray, "T H W"], wire_mask: UInt8[np.ndarray, "T H W"]
) -> float:
    """How far the drawn wire stands out of the noise: the signal it takes away along its mask over the deviation of the
    ring around it, median over frames. What the background does along the wire plays no part in it."""
    values = []
    for frame, drop, wire in zip(base, base - base * np.exp(-attenuated), wire_mask > 0, strict=True):
        around = frame[wire_ring(wire)]
        if wire.any() and around.size and around.std() > 0:
            values.append(float(drop[wire].mean() / around.std()))
    return float(np.median(values)) if values else float("nan")


def drawn_share(attenuated: Float[np.ndarray, "T H W"], wire_mask: UInt8[np.ndarray, "T H W"]) -> float:
    """Share of the centreline along which a wire was drawn: where the attenuation, smoothed as an eye would, is at
    least a third of its median along the wire; mean over frames."""
    shares = []
    for drop, wire in zip(attenuated, wire_mask > 0, strict=True):
        if wire.any():
            along = gaussian_filter(drop, 2.0)[skeletonize(wire)]
            shares.append(float((along > max(float(np.median(along)), 0.0) / 3).mean()))
    return float(np.mean(shares)) if shares else float("nan")
