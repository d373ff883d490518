"""Copy-paste of wires, the honest rival of generated clips: a wire is rendered into a real frame by Beer-Lambert."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter, shift

from sfvd_pl.metrics.visibility import wire_ring

PSF_PX = 0.7
"""Standard deviation of the detector's blur."""
DRIFT_PX = 1.0
"""Standard deviation of a rendered wire's motion from frame to frame, in each direction."""
LEAST_SIGNAL = 0.1
"""Share of the signal that the plainest wire lets through."""


def moved_course(
    rng: np.random.Generator, mask: Bool[np.ndarray, "h w"], height: int, width: int
) -> Float[np.ndarray, "{height} {width}"]:
    """A labelled wire turned, mirrored and put elsewhere: one of its pixels falls on a random pixel of the frame."""
    mask = np.rot90(mask, int(rng.integers(4)))
    pixels = np.argwhere(mask[:, ::-1] if rng.random() < 0.5 else mask)
    pixels = pixels - pixels[rng.integers(len(pixels))] + rng.integers((height, width))
    pixels = pixels[((pixels >= 0) & (pixels < (height, width))).all(1)]
    course = np.zeros((height, width), np.float32)
    course[tuple(pixels.T)] = 1.0
    return course


def render_wire(
    rng: np.random.Generator,
    image: Float[np.ndarray, "F H W"],
    course: Float[np.ndarray, "H W"],
    visibility: float,
) -> Float[np.ndarray, "F H W"]:
    """Neighbouring frames with a wire in them: ``x exp(-mu t)`` with the course blurred as thickness ``t``.

    Args:
        rng: Decides the wire's motion.
        image: Detector signal in 0..1; the course is that of the centre frame.
        course: Share of each pixel that the wire covers, 0..1.
        visibility: Contrast-to-noise ratio that ``mu`` is chosen for.
    """
    centre = len(image) // 2
    wire = course > 0.5
    ring = image[centre][wire_ring(wire)]
    level = float(image[centre][wire].mean())
    depth = visibility * float(ring.std()) / max(level, 1e-6)
    thickness = gaussian_filter(course, PSF_PX)
    mu = -np.log(max(1.0 - depth, LEAST_SIGNAL)) / float(thickness[wire].mean())
    drift = rng.normal(0.0, DRIFT_PX, 2)
    moved = [thickness if k == centre else shift(thickness, (k - centre) * drift, order=1) for k in range(len(image))]
    drawn: Float[np.ndarray, "F H W"] = (image * np.exp(-mu * np.stack(moved))).astype(np.float32)
    return drawn
