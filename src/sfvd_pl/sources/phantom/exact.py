"""Numbers that come out the same on every machine: grids, noise from a table, an exponential without a library.

Processors differ in the last bit of exp, sin, matrix products and Fourier transforms (other vector units, other
kernels chosen at run time); they agree in single additions, products, quotients, square roots and roundings of
IEEE 754 numbers. So what the libraries give is rounded to a grid far coarser than their differences and far finer
than anything visible, and pixels are made of exact operations only.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]

MM_GRID = 2.0**-14
"""Grid of places in the body, mm."""
PX_GRID = 2.0**-16
"""Grid of places in the picture, px."""
SHARE_GRID = 2.0**-20
"""Grid of numbers without a unit around 1."""
LEVELS = 65536
PER_UNIT = 65536
LEAST, MOST = -1, 15
"""Range of :func:`attenuate`; beyond it the nearest value is taken."""


def on_grid(values: npt.ArrayLike, step: float) -> Array:
    """Round to multiples of ``step``, a power of two, so that the division and the product are exact."""
    return np.asarray(np.rint(np.asarray(values, np.float64) / step) * step)


QUANTILES: Image = on_grid(ndtri((np.arange(LEVELS) + 0.5) / LEVELS), 2.0**-16).astype(np.float32)
"""The normal distribution in 65536 equally probable values, -4.3 to 4.3."""


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Image:
    """Standard normal noise: 16 random bits choose one of :data:`QUANTILES`. No tail beyond 4.3 deviations."""
    return np.asarray(QUANTILES.take(rng.integers(0, LEVELS, shape, np.uint16), mode="clip"))


def attenuate(path: Image) -> Image:
    """exp(-path), Beer-Lambert, read from a table at steps of 2^-16: right to 8e-6 of the value."""
    place = path * np.float32(PER_UNIT)
    place -= np.float32(LEAST * PER_UNIT - 0.5)
    np.clip(place, 0, (MOST - LEAST) * PER_UNIT, out=place)
    return np.asarray(_decay().take(place.astype(np.intp), mode="clip"))


@cache
def _decay() -> Image:
    return np.exp(-(np.arange((MOST - LEAST) * PER_UNIT + 1) / PER_UNIT + LEAST)).astype(np.float32)


def dot(points: Array, direction: Array) -> Array:
    """Scalar products (...,) of points (..., 3) with one direction (3,), summed in a fixed order."""
    x, y, z = (points[..., axis] * direction[axis] for axis in range(3))
    return np.asarray(x + y + z)


def transform(points: Array, matrix: Array, shift: Array) -> Array:
    """Points (..., 3) after x -> matrix @ x + shift, summed in a fixed order."""
    return np.stack([dot(points, row) + move for row, move in zip(matrix, shift, strict=True)], axis=-1)


def lengths(steps: Array) -> Array:
    """Euclidean lengths (...,) of vectors (..., D), summed in a fixed order; sqrt is exact, hypot is not."""
    total = steps[..., 0] * steps[..., 0]
    for axis in range(1, steps.shape[-1]):
        total = total + steps[..., axis] * steps[..., axis]
    return np.asarray(np.sqrt(total))


def arc_length(points: Array) -> Array:
    """Length (N,) along a polyline (N, D) up to each of its points."""
    return np.concatenate([[0.0], np.cumsum(lengths(np.diff(points, axis=0)))])


def at_length(points: Array, along: Array, at: Array) -> Array:
    """Points (M, D) of a polyline (N, D) at the given lengths (M,) along it; its lengths are ``along`` (N,)."""
    return np.stack([np.interp(at, along, column) for column in points.T], axis=1)
