"""Parallel projection: how solid bodies and thin tubes cast shadows on the detector.

Patient axes: x to the patient's left, y to the back, z to the head; mm; the origin is the heart's resting
centre.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """A C-arm position and the detector's pixel grid.

    Args:
        right, down, beam: Unit vectors (3,) of the image axes and of the beam, in patient axes.
        centre: (2,) where the picture's centre lies along ``right`` and ``down``, mm.
        px_per_mm: Pixels per mm of life-size anatomy.
        height, width: Frame size, px.
    """

    right: Array
    down: Array
    beam: Array
    centre: Array
    px_per_mm: float
    height: int
    width: int

    @staticmethod
    def axes(primary_deg: float, secondary_deg: float) -> tuple[Array, Array, Array]:
        """Right, down and beam of a C-arm at LAO(+)/RAO(-) and cranial(+)/caudal(-) angles, degrees.

        The observer stands at the detector: seen from the front the patient's left is at the picture's
        right, and in a left anterior oblique view the spine is at the right.
        """
        a, b = np.deg2rad(primary_deg), np.deg2rad(secondary_deg)
        right = np.array([np.cos(a), np.sin(a), 0.0])
        to_detector = np.array([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)])
        return right, np.cross(right, to_detector), to_detector

    def project(self, points: Array) -> Array:
        """Pixel coordinates (..., 2), x then y, of points (..., 3)."""
        plane = np.stack([points @ self.right, points @ self.down], axis=-1) - self.centre
        pixels: Array = plane * self.px_per_mm + np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        return pixels

    def window(self, top: int, bottom: int, left: int, right: int) -> "View":
        """The same camera, only rows top..bottom and columns left..right."""
        middle = np.array([left + right - self.width, top + bottom - self.height]) / (2 * self.px_per_mm)
        return replace(self, centre=self.centre + middle, height=bottom - top, width=right - left)

    @property
    def u(self) -> Image:
        """(W,) mm along ``right`` of each pixel column."""
        column = (np.arange(self.width) - (self.width - 1) / 2) / self.px_per_mm + self.centre[0]
        return np.asarray(column, np.float32)

    @property
    def v(self) -> Image:
        """(H,) mm along ``down`` of each pixel row."""
        row = (np.arange(self.height) - (self.height - 1) / 2) / self.px_per_mm + self.centre[1]
        return np.asarray(row, np.float32)


@dataclass(frozen=True)
class Ellipsoid:
    """A solid {centre + axes @ y : |y| <= 1}; the columns of ``axes`` (3, 3) are its semi-axes, mm."""

    centre: Array
    axes: Array

    def span(self, view: View) -> "Span":
        """Where each pixel's ray enters and leaves the body: the roots in depth t of |y(t)| = 1."""
        inverse = np.linalg.inv(self.axes)
        m_u, m_v, m_t = inverse @ view.right, inverse @ view.down, inverse @ view.beam
        tt = float(m_t @ m_t)
        u, v = view.u - np.float32(self.centre @ view.right), view.v - np.float32(self.centre @ view.down)
        # mid = -(p . m_t)/tt with p = u m_u + v m_v;  half^2 = mid^2 - (|p|^2 - 1)/tt, quadratic in u, v
        b_u, b_v = -float(m_u @ m_t) / tt, -float(m_v @ m_t) / tt
        mid = (b_v * v + np.float32(self.centre @ view.beam))[:, None] + b_u * u
        q_uu, q_vv = b_u * b_u - float(m_u @ m_u) / tt, b_v * b_v - float(m_v @ m_v) / tt
        q_uv = 2 * (b_u * b_v - float(m_u @ m_v) / tt)
        half = (q_uv * v)[:, None] * u
        half += (q_vv * v * v + np.float32(1 / tt))[:, None]
        half += q_uu * u * u
        np.maximum(half, 0, out=half)
        np.sqrt(half, out=half)
        return Span(mid - half, mid + half)

    def moved(self, matrix: Array, shift: Array) -> "Ellipsoid":
        """The body after the affine motion x -> matrix @ x + shift."""
        return Ellipsoid(matrix @ self.centre + shift, matrix @ self.axes)


@dataclass(frozen=True)
class Span:
    """Entry and exit depth (H, W) of each pixel's ray, mm; exit <= entry where the ray misses."""

    enter: Image
    leave: Image

    @property
    def length(self) -> Image:
        """Path length, mm."""
        return np.asarray(np.maximum(self.leave - self.enter, 0))

    def meet(self, other: "Span") -> "Span":
        """The part of the ray that lies in both bodies."""
        return Span(np.maximum(self.enter, other.enter), np.minimum(self.leave, other.leave))


@dataclass(frozen=True)
class Stroke:
    """Pixels near a curve: flat index, distance to the curve (px) and the nearest sample's number."""

    index: npt.NDArray[np.int64]
    distance: Array
    nearest: npt.NDArray[np.int64]


def resample(points: Array, step: float) -> Array:
    """Points (N, D) of a curve at equal steps of arc length in its first two axes, both ends kept."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points[:, :2], axis=0).T))])
    count = max(2, int(np.ceil(along[-1] / step)) + 1)
    at = np.linspace(0, along[-1], count)
    return np.stack([np.interp(at, along, column) for column in points.T], axis=1)


def stroke(samples: Array, height: int, width: int, reach: float) -> Stroke:
    """Find every pixel of an (H, W) frame within ``reach`` px of the sampled curve (N, 2), x then y.

    Distance is to the nearest sample; sample the curve at a quarter of the width that matters.
    """
    k = int(np.ceil(reach))
    inside = ((samples > -k - 1) & (samples < np.array([width, height]) + k)).all(axis=1)
    number = np.flatnonzero(inside)
    if not len(number):
        nothing = np.zeros(0, np.int64)
        return Stroke(nothing, np.zeros(0), nothing)
    cell = max(1, k // 3)  # candidates: every pixel around the coarse cells that the curve crosses
    stride = width // cell + 2 * k + 4
    coarse = np.floor(samples[number] / cell).astype(np.int64) + k + 2
    row, column = np.divmod(np.unique(coarse @ np.array([1, stride])), stride)
    around = np.arange(-k, k + cell + 1)
    x = ((column - k - 2) * cell)[:, None, None] + around[None, None, :]
    y = ((row - k - 2) * cell)[:, None, None] + around[None, :, None]
    valid = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    seen = np.zeros(height * width, np.bool_)
    seen[(y * width + x)[valid]] = True
    index = np.flatnonzero(seen)
    y, x = np.divmod(index, width)
    tree = cKDTree(samples[number], balanced_tree=False, compact_nodes=False)
    distance, nearest = tree.query(np.stack([x, y], axis=1), distance_upper_bound=reach)
    hit = nearest < len(number)
    return Stroke(index[hit], distance[hit], number[nearest[hit]])


def tube_chord(distance: Array, radius: Array | float) -> Array:
    """Mean path through a cylinder over a pixel, px, for a pixel centre at ``distance`` from its axis (px).

    The chord 2 sqrt(r^2 - x^2) averaged over the pixel's unit width, in closed form.
    """
    r = np.maximum(np.asarray(radius, float), 1e-6)

    def area(x: Array) -> Array:
        x = np.clip(x / r, -1, 1)
        return np.asarray(r * r * (x * np.sqrt(1 - x * x) + np.arcsin(x)))

    return area(distance + 0.5) - area(distance - 0.5)
