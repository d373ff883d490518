"""The thorax around the heart: still and moving bodies, and their path integrals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

from sfvd_pl.sources.phantom.exact import PX_GRID, Array, Image, on_grid
from sfvd_pl.sources.phantom.geometry import Ellipsoid, Span, View, resample, stroke, tube_chord
from sfvd_pl.sources.phantom.heart import Heart

# Linear attenuation, 1/mm, near 70 keV. Soft tissue: narrow-beam value (NIST, Hubbell & Seltzer), rounded.
# Lung: its density of 0.26. The others are set by eye, for composite devices seen through scatter.
MU_TISSUE = 0.019
MU_LUNG = 0.26 * MU_TISSUE
MU_SPONGY_BONE = 0.008
"""Trabecular bone above soft tissue; likewise the next ones are the excess over what they displace."""
MU_HARD_BONE = 0.035
MU_CATHETER = 0.22
MU_IODINE_BLOOD = 0.15
MU_STEEL = 0.45


@dataclass(frozen=True)
class Thorax:
    """One patient's chest at rest, in patient axes, mm.

    Args:
        torso: (2,) semi-axes of the chest's cross-section, left-right and front-back.
        lungs: Right and left lung.
        domes: Right and left dome of the diaphragm with what lies below it.
        spine_centre: (3,) middle of the vertebral column at the heart's height.
        spine_wave: Amplitude mm, wavelength mm and phase of its sideways curve.
        vertebra: Half-width, half-depth and height of a vertebra with its disc, mm.
        ribs: Centrelines (N, 3).
        leads: Still wires on the skin or the bone: centreline (N, 3), radius mm, attenuation 1/mm.
        pacing: A pacing lead that moves with the heart: centreline (N, 3) or None.
        grain: Seed of the fine structure of lung and chest wall.
    """

    torso: Array
    lungs: tuple[Ellipsoid, Ellipsoid]
    domes: tuple[Ellipsoid, Ellipsoid]
    spine_centre: Array
    spine_wave: Array
    vertebra: Array
    ribs: tuple[Array, ...]
    leads: tuple[tuple[Array, float, float], ...]
    pacing: Array | None
    grain: int


def make_thorax(rng: np.random.Generator, heart: Heart, distractor_probability: float) -> Thorax:
    """Draw a chest around a heart."""
    torso = np.array([rng.uniform(140, 175), rng.uniform(95, 125)])
    middle = np.array([rng.uniform(-34, -22), rng.uniform(20, 32), 0.0])
    lungs, domes = [], []
    for side in (-1.0, 1.0):
        wide, deep, tall = rng.uniform(58, 68), torso[1] * rng.uniform(0.76, 0.86), rng.uniform(115, 140)
        centre = middle + np.array([side * (wide + rng.uniform(14, 26)), 0.0, rng.uniform(20, 45)])
        lungs.append(_tilted(rng, centre, (wide, deep, tall)))
        top = rng.uniform(-30, 8) - (8 if side > 0 else 0)
        size = (rng.uniform(72, 92), rng.uniform(72, 92), rng.uniform(65, 85))
        domes.append(_tilted(rng, middle + np.array([side * 55.0, -8.0, top - size[2]]), size))
    spine = middle + np.array([rng.normal(0, 2), torso[1] * 0.5, 0.0])
    wave = np.array([rng.uniform(0, 5), rng.uniform(200, 320), rng.uniform(0, 2 * np.pi)])
    vertebra = np.array([rng.uniform(14, 17.5), rng.uniform(12, 15), rng.uniform(23, 28)])
    ribs = tuple(_ribs(rng, middle, torso))
    leads = tuple(_leads(rng, middle, torso, distractor_probability))
    pacing = _pacing(rng, heart) if rng.uniform() < distractor_probability else None
    return Thorax(
        torso, (lungs[0], lungs[1]), (domes[0], domes[1]), spine, wave, vertebra, ribs, leads, pacing,
        int(rng.integers(2**31)),
    )  # fmt: skip


def _tilted(rng: np.random.Generator, centre: Array, semi: tuple[float, float, float]) -> Ellipsoid:
    tilt, turn = rng.normal(0, 0.10, 2)
    lean = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return Ellipsoid(centre, lean @ spin * np.array(semi))


def _ribs(rng: np.random.Generator, middle: Array, torso: Array) -> list[Array]:
    """Ellipses round the chest that fall by 60-80 mm from the spine to the front."""
    pitch, fall = rng.uniform(26, 32), rng.uniform(60, 80)
    angle = np.linspace(0.18, 2.6, 60)
    ribs = []
    for height in np.arange(-4, 7) * pitch + rng.uniform(0, pitch):
        for side in (-1.0, 1.0):
            x = middle[0] + side * (torso[0] - 14) * np.sin(angle)
            y = middle[1] + (torso[1] - 12) * np.cos(angle)
            ribs.append(np.stack([x, y, height - fall * (1 - np.cos(angle)) / 2], axis=1))
    return ribs


def _leads(
    rng: np.random.Generator, middle: Array, torso: Array, probability: float
) -> list[tuple[Array, float, float]]:
    """ECG lead on the chest, surgical clips along the grafts, wire loops in the sternum; each by chance."""
    found: list[tuple[Array, float, float]] = []
    front = middle + np.array([0.0, -torso[1] + 6, 0.0])
    if rng.uniform() < probability:
        s = np.linspace(0, 1, 40)[:, None]
        start, end = rng.uniform(-70, 70, 3), rng.uniform(-70, 70, 3)
        bow = rng.normal(0, 18, (2, 3))
        line = start + (end - start) * s + bow[0] * np.sin(np.pi * s) + bow[1] * np.sin(2 * np.pi * s)
        line[:, 1] = front[1]
        found.append((line, 0.55, 0.18))
    if rng.uniform() < probability:
        for _ in range(int(rng.integers(2, 7))):
            place, way = rng.uniform(-35, 35, 3), rng.normal(size=3)
            way *= 2.2 / np.linalg.norm(way)
            found.append((place + way * np.linspace(-1, 1, 8)[:, None], 0.5, MU_STEEL))
    if rng.uniform() < probability:
        for level in np.arange(-1, 4) * rng.uniform(22, 30) + rng.uniform(-15, 15):
            turn = np.linspace(0, 2 * np.pi, 40)
            loop = np.stack([11 * np.cos(turn), 2.0 * np.sin(2 * turn), 3.5 * np.sin(turn)], axis=1)
            found.append((front + [0, 8, level] + loop * rng.uniform(0.8, 1.1), 0.45, MU_STEEL))
    return found


def _pacing(rng: np.random.Generator, heart: Heart) -> Array:
    """A lead from above to the right ventricle's apex: lies in the heart, moves with it."""
    tip = heart.frame @ (heart.semi * np.array([0.35, -0.25, 0.70]))
    bend = heart.frame @ (heart.semi * np.array([-0.1, -0.75, -0.35]))
    top = np.array([rng.uniform(-35, -15), rng.uniform(0, 15), 150.0])
    knots = np.stack([top, (top + bend) / 2 + [-6, 4, 0], bend, (bend + tip) / 2 + [0, 0, -9], tip])
    s = np.linspace(0, 1, 90)
    basis = _bernstein(s, len(knots) - 1)
    return np.asarray(basis @ knots)


def _bernstein(s: Array, degree: int) -> Array:
    return np.stack([comb(degree, k) * s**k * (1 - s) ** (degree - k) for k in range(degree + 1)], axis=1)


class StillImage:
    """What doesn't move within a run but with the table: attenuation (H, W), and the lungs' whole extent."""

    def __init__(self, thorax: Thorax, view: View, kept_range: float, pan_mm: Array | None = None) -> None:
        """Project the still bodies; ``kept_range`` as in PhantomConfig, ``pan_mm`` (T, 2) as in Drive."""
        self.view, self.thorax, self.kept_range = view, thorax, kept_range
        way = np.zeros((1, 2)) if pan_mm is None else pan_mm
        self.pans = bool(way.any())
        x, y = (int(np.ceil(np.abs(way[:, axis]).max() * view.px_per_mm)) + 2 * self.pans for axis in (0, 1))
        self.canvas = view.window(-y, view.height + y, -x, view.width + x)
        self._lungs = self._spans(view)
        path = kept_range * MU_TISSUE * torso_length(thorax, self.canvas)
        path += (0.5 + 0.5 * kept_range) * spine_attenuation(thorax, self.canvas)
        for rib in thorax.ribs:
            add_tube(path, self.canvas, rib, ((4.6, 0.36 * MU_HARD_BONE), (3.6, -0.24 * MU_HARD_BONE)))
        for line, radius, mu in thorax.leads:
            add_tube(path, self.canvas, line, ((radius, mu),))
        self.path: Image = path.astype(np.float32)
        """(H, W), larger than the frame by as much as the table moves."""

    def _spans(self, view: View) -> tuple[tuple[Span, Image], ...]:
        return tuple((span, span.length) for span in (lung.span(view) for lung in self.thorax.lungs))

    def lungs(self, view: View) -> tuple[tuple[Span, Image], ...]:
        """Extent and length along each ray (H, W) of both lungs, at where the table has brought the picture."""
        return self._lungs if view is self.view else self._spans(view)


def torso_length(thorax: Thorax, view: View) -> Array:
    """Path through the chest as an upright elliptic cylinder, mm."""
    slope = np.hypot(view.beam[0] / thorax.torso[0], view.beam[1] / thorax.torso[1])
    middle = 0.5 * (thorax.lungs[0].centre + thorax.lungs[1].centre)
    u = view.u - middle @ view.right
    reach = thorax.torso[0] * thorax.torso[1] * slope / np.hypot(view.beam[0], view.beam[1])
    chord = 2 / slope * np.sqrt(np.maximum(1 - (u / reach) ** 2, 0.05))
    return np.tile(chord.astype(np.float64), (view.height, 1))


def add_tube(path: Array | Image, view: View, line: Array, layers: Sequence[tuple[float, float]]) -> None:
    """Add a tube's attenuation to ``path`` (H, W) in place; ``layers`` hold (radius mm, attenuation 1/mm).

    A hollow tube is a cylinder of wall material and an inner one that takes its bore away again.
    """
    outer = max(radius for radius, _ in layers) * view.px_per_mm
    fine = resample(view.project(line), max(0.25, 0.35 * outer))
    found = stroke(fine, view.height, view.width, outer + 0.5)
    for radius, mu in layers:
        chord = tube_chord(found.distance, radius * view.px_per_mm) / view.px_per_mm
        path.reshape(-1)[found.index] += (mu * chord).astype(path.dtype)


def add_ellipsoid(path: Array, view: View, body: Ellipsoid, mu: float) -> None:
    """Add a small body's attenuation to ``path`` (H, W) in place, computed only where its shadow can fall."""
    x, y = view.project(body.centre)
    reach = float(np.linalg.norm(body.axes, axis=0).max()) * view.px_per_mm + 1
    left, right = (int(np.clip(edge, 0, view.width)) for edge in (x - reach, x + reach + 1))
    top, bottom = (int(np.clip(edge, 0, view.height)) for edge in (y - reach, y + reach + 1))
    if right > left and bottom > top:
        path[top:bottom, left:right] += mu * body.span(view.window(top, bottom, left, right)).length


def spine_attenuation(thorax: Thorax, view: View) -> Array:
    """Vertebral bodies with waists, end plates, discs and pedicles, as attenuation above soft tissue.

    A body is an elliptic cylinder along z. Its height structure is read where the ray crosses the column's
    axis and is blurred by the length of column that a tilted ray passes.
    """
    half_wide, half_deep, pitch = thorax.vertebra
    lateral = np.hypot(half_wide * view.right[0], half_deep * view.right[1])
    cos_tilt = max(float(-view.down[2]), 0.3)
    origin = thorax.spine_centre
    z = -(view.v.astype(np.float64) - origin @ view.down) / cos_tilt
    sway = thorax.spine_wave[0] * np.sin(2 * np.pi * z / thorax.spine_wave[1] + thorax.spine_wave[2])
    blur = half_deep * np.sqrt(max(1 - cos_tilt**2, 0)) * 0.5
    phase = np.mod(z / pitch, 1.0)
    from_disc = np.minimum(phase, 1 - phase) * pitch
    soft = 0.8 + blur
    disc = 1 / (1 + np.exp((from_disc - 2.5) / (0.35 * soft)))
    plate = np.exp(-0.5 * ((from_disc - 3.3) / (0.6 * soft)) ** 2) / (1 + blur)
    waist = lateral * (0.90 + 0.12 * np.cos(2 * np.pi * z / pitch)) / 0.98
    centre = (origin @ view.right) + sway * view.right[0]
    off = (view.u[None, :] - centre[:, None]) / waist[:, None]
    column = 2 * half_wide * half_deep / lateral * np.sqrt(np.maximum(1 - off**2, 0))
    rim = np.exp(-0.5 * ((np.abs(off) - 0.96) / 0.05) ** 2)
    mu = MU_SPONGY_BONE * (1 - 0.75 * disc) + 0.35 * MU_HARD_BONE * plate
    out = mu[:, None] * column + 0.9 * MU_HARD_BONE * rim * (1 - disc)[:, None]
    _add_pedicles(out, thorax, view, z)
    return np.asarray(out)


def _add_pedicles(path: Array, thorax: Thorax, view: View, z: Array) -> None:
    """Rings of the pedicles and the spinous processes behind each body."""
    half_wide, half_deep, pitch = thorax.vertebra
    for level in np.arange(np.floor(z.min() / pitch) - 1, np.ceil(z.max() / pitch) + 2):
        height = (level + 0.62) * pitch
        for x, y, semi in (
            (-0.62, 1.25, (3.4, 5.0, 4.6)),
            (0.62, 1.25, (3.4, 5.0, 4.6)),
            (0, 2.2, (2.4, 11, 5.5)),
        ):
            place = thorax.spine_centre + np.array([x * half_wide, y * half_deep, height])
            add_ellipsoid(path, view, Ellipsoid(place, np.diag(semi)), 0.55 * MU_HARD_BONE)
            add_ellipsoid(path, view, Ellipsoid(place, np.diag(semi) * 0.7), -0.45 * MU_HARD_BONE)


def moving_path(
    still: StillImage, heart: Heart, matrix: Array, shift: Array, breath_mm: float, view: View | None = None
) -> Image:
    """Attenuation (H, W) that lung takes away in one frame: air length outside heart and diaphragm, negative.

    Exact constructive solid geometry along each ray: |lung minus heart minus dome| by inclusion and
    exclusion. ``view`` is given where the table has moved.
    """
    view = still.view if view is None else view
    body = heart.body.moved(matrix, shift).span(view)
    rise = np.array([0.0, 0.0, breath_mm])
    air = None
    for (lung, full), dome in zip(still.lungs(view), still.thorax.domes, strict=True):
        below = dome.moved(np.eye(3), rise).span(view)
        with_heart = lung.meet(body)
        part = full - with_heart.length - lung.meet(below).length + with_heart.meet(below).length
        air = part if air is None else air + part
    assert air is not None
    return np.asarray(np.float32(still.kept_range * (MU_LUNG - MU_TISSUE)) * air, np.float32)


def lung_markings(rng: np.random.Generator, shape: tuple[int, int], px_per_mm: float) -> Image:
    """Path through lung vessels and airways' walls (H, W), mm: tapering tubes that fan out from the hilum.

    One a square centimetre, wide ones rarer by the inverse square of their radius, and as many short ones seen
    nearly end-on, which show as dots. The hilum lies a hand's breadth beside the picture's upper middle.
    """
    height, width = (side / px_per_mm for side in shape)
    count = int(height * width / 100 * 1.6)
    hilum = np.array(
        [width / 2 + rng.choice([-1.0, 1.0]) * rng.uniform(30, 70), rng.uniform(0.1, 0.5) * height]
    )
    start = rng.uniform(size=(count, 2)) * [width, height]
    out = start - hilum
    heading = np.arctan2(out[:, 1], out[:, 0]) + rng.normal(0, 0.5, count)
    length = np.where(rng.uniform(size=count) < 0.35, rng.uniform(0.5, 2, count), rng.uniform(10, 45, count))
    radius = 0.35 / np.sqrt(rng.uniform(0.03, 1, count))
    bend, forks = rng.normal(0, 0.025, count), np.linspace(0, 1, 12)
    angle = heading[:, None] + bend[:, None] * length[:, None] * forks
    step = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * (length[:, None, None] / 11)
    lines = (start[:, None] + np.cumsum(step, axis=1) - step[:, :1]) * px_per_mm
    taper = radius[:, None] * (1 - 0.6 * forks) * px_per_mm
    dense = np.maximum(2, np.ceil(length / np.maximum(0.5 / px_per_mm, 0.5 * radius))).astype(np.int64)
    samples = _interpolated(np.concatenate([lines, taper[..., None]], axis=-1), dense)
    found = stroke(samples[:, :2], *shape, np.ceil(samples[:, 2] + 0.5))
    path = np.zeros(shape, np.float32)
    path.reshape(-1)[found.index] = tube_chord(found.distance, samples[found.nearest, 2]) / px_per_mm
    return path


def _interpolated(curves: Array, counts: npt.NDArray[np.int64]) -> Array:
    """``counts`` (K,) points, evenly spread, of each of K curves (K, N, D), one curve after the other (sum, D)."""
    curve = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(curve)) - np.repeat(np.cumsum(counts) - counts, counts)
    at = number / (counts[curve] - 1) * (curves.shape[1] - 1)
    first = np.minimum(at.astype(np.int64), curves.shape[1] - 2)
    rest = (at - first)[:, None]
    return on_grid(curves[curve, first] * (1 - rest) + curves[curve, first + 1] * rest, PX_GRID)
