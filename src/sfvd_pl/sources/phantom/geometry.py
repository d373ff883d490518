"""Parallel projection: how solid bodies and thin tubes cast shadows on the detector.

Patient axes: x to the patient's left, y to the back, z to the head; mm; the origin is the heart's resting
centre.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sfvd_pl.sources.phantom.exact import PX_GRID, Array, Image, arc_length, at_length, dot, lengths, on_grid


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
        plane = np.stack([dot(points, self.right), dot(points, self.down)], axis=-1) - self.centre
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


def resample(points: Array, step: float | Array) -> Array:
    """Points (N, D) of a curve at steps of arc length in its first two axes (px), both ends kept.

    Args:
        points: (N, D), the first two columns x and y in px, the others anything that goes along.
        step: Length of the steps, px; an array (N,) gives the step wanted at each point.

    Returns:
        (M, D) on the grid of places in the picture.
    """
    plane = arc_length(points[:, :2])
    pace = np.broadcast_to(np.asarray(step, float), plane.shape)
    turns = np.concatenate([[0.0], np.cumsum(np.diff(plane) * 2 / (pace[1:] + pace[:-1]))])
    count = max(2, int(np.ceil(turns[-1] - 1e-9)) + 1)
    return on_grid(at_length(points, turns, np.linspace(0, turns[-1], count)), PX_GRID)


def stroke(samples: Array, height: int, width: int, reach: float | Array) -> Stroke:
    """Find every pixel of an (H, W) frame within ``reach`` px of the sampled curve (N, 2), x then y.

    Distance is to the nearest sample (the first one where two are equally near); sample the curve at a quarter of
    the width that matters. ``reach`` may be an array (N,), for a curve of changing width.
    """
    reaches = np.broadcast_to(np.asarray(reach, float), len(samples))
    windows = np.ceil(reaches).astype(np.int64)
    low, high = -windows[:, None] - 1, np.array([width, height]) + windows[:, None]
    number = np.flatnonzero(((samples > low) & (samples < high)).all(axis=1))
    if not len(number):
        return Stroke(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
    place, windows = samples[number], windows[number]
    base = np.floor(place).astype(np.int64)
    corner = base.min(axis=0) - windows.max()
    columns, rows = base.max(axis=0) - corner + windows.max() + 2
    best = np.full(rows * columns, NOWHERE)
    for k in np.unique(windows):
        chosen = np.flatnonzero(windows == k)
        start = (base[chosen] - corner) @ np.array([1, columns])
        _offer(best, start, place[chosen] - base[chosen], number[chosen], int(k), int(columns))
    top, left = max(-corner[1], 0), max(-corner[0], 0)
    framed = best.reshape(rows, columns)[top : height - corner[1], left : width - corner[0]]
    row, column = np.nonzero(framed != NOWHERE)
    nearest = framed[row, column] & (MOST_SAMPLES - 1)
    row, column = row + (top + corner[1]), column + (left + corner[0])
    distance = lengths(np.stack([column - samples[nearest, 0], row - samples[nearest, 1]], axis=-1))
    hit = distance < reaches[nearest]
    return Stroke((row * width + column)[hit], distance[hit], nearest[hit])


MOST_SAMPLES = 1 << 20
NOWHERE = np.iinfo(np.int64).max


def _offer(
    best: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    part: Array,
    number: npt.NDArray[np.int64],
    k: int,
    stride: int,
) -> None:
    """Lower ``best`` to the least (squared distance, sample) among the samples within k px of each pixel.

    Both are packed into one integer, the squared distance in units of 2^-26 px^2, so that a minimum finds them.

    Args:
        best: Pixels of a picture ``stride`` wide.
        start: (N,) the pixel at or before each sample.
        part: (N, 2) what remains from there to the sample, 0..1, x then y.
        number: (N,) the samples' numbers.
        k: Window, px.
        stride: Width of the picture, px.
    """
    around = np.arange(-k, k + 2)
    x, y = around - part[:, :1], around - part[:, 1:]
    key = (y * y)[:, :, None] + (x * x)[:, None, :]
    key *= 2.0**26
    packed = key.astype(np.int64)
    packed *= MOST_SAMPLES
    packed += number[:, None, None]
    pixel = (start[:, None] + around * stride)[:, :, None] + around
    np.minimum.at(best, pixel.reshape(-1), packed.reshape(-1))


def tube_chord(distance: Array, radius: Array | float) -> Array:
    """Mean path through a cylinder over a pixel, px, for a pixel centre at ``distance`` from its axis (px).

    The chord 2 sqrt(r^2 - x^2) averaged over the pixel's unit width, in closed form.
    """
    r = np.maximum(np.asarray(radius, float), 1e-6)

    def area(x: Array) -> Array:
        x = np.clip(x / r, -1, 1)
        return np.asarray(r * r * (x * np.sqrt(1 - x * x) + np.arcsin(x)))

    return area(distance + 0.5) - area(distance - 0.5)
