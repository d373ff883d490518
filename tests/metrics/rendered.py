"""Analytic pictures of wires: a Gaussian profile along a polyline, at a known place, and its mask."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def distance_to(line: Floats, shape: tuple[int, int]) -> Floats:
    """Distance of each pixel to a polyline of (K, 2) rows and columns, by brute force over its segments."""
    pixels = np.stack(np.indices(shape), axis=-1).astype(np.float64)
    best = np.full(shape, np.inf)
    for a, b in zip(line[:-1], line[1:], strict=True):
        along = np.clip(((pixels - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(pixels - (a + along[..., None] * (b - a)), axis=-1))
    return best


def picture(
    line: Floats, shape: tuple[int, int] = (64, 64), *, width: float = 2.4, depth: float = 0.2, level: float = 0.6
) -> Floats:
    """A dark wire with a Gaussian profile of this full width at half depth."""
    sigma = width / (2 * np.sqrt(2 * np.log(2)))
    return level - depth * np.exp(-0.5 * (distance_to(line, shape) / sigma) ** 2)


def mask(line: Floats, shape: tuple[int, int] = (64, 64), *, width: float = 2.0) -> npt.NDArray[np.uint8]:
    """Pixels no further from the line than half the width."""
    return (distance_to(line, shape) <= width / 2).astype(np.uint8)


def straight(column: float = 30.0, top: float = -5.0, bottom: float = 40.0, slope: float = 0.0) -> Floats:
    """From the upper border downwards; ``slope`` columns a row."""
    return np.array([[top, column + slope * top], [bottom, column + slope * bottom]])


def arc(shift: float = 0.0, radius: float = 30.0) -> Floats:
    """A bow within a 64 x 64 frame; a shift widens it along its normals."""
    angles = np.linspace(0.15 * np.pi, 0.6 * np.pi, 60)
    return np.stack([10 + (radius + shift) * np.sin(angles), 20 + (radius + shift) * np.cos(angles)], axis=1)
