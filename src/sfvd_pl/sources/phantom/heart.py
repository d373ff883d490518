"""The heart: where it lies, how it beats and breathes, and the coronary tree on its surface."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

from sfvd_pl.sources.phantom.exact import MM_GRID, SHARE_GRID, Array, arc_length, at_length, lengths, on_grid
from sfvd_pl.sources.phantom.geometry import Ellipsoid

BRANCHES: dict[str, tuple[str, tuple[tuple[float, float], ...]]] = {
    # name: (which coronary, (azimuth, polar angle) waypoints in degrees). Azimuth 0 is the anterior groove
    # between the ventricles, 90 the left side wall; polar angle 0 is the apex, 100 the groove between
    # atria and ventricles.
    "LAD": ("left", ((25, 108), (4, 92), (0, 70), (-3, 48), (0, 28), (6, 12))),
    "diagonal": ("left", ((25, 108), (4, 92), (8, 76), (26, 62), (40, 46), (48, 32))),
    "LCX": ("left", ((25, 108), (45, 100), (75, 97), (105, 97), (135, 96), (155, 88))),
    "marginal": ("left", ((25, 108), (45, 100), (70, 92), (88, 74), (98, 56), (104, 38))),
    "RCA": ("right", ((-50, 110), (-75, 100), (-105, 98), (-140, 98), (-172, 96), (-182, 78), (-182, 52))),
}
OSTIA: dict[str, Array] = {"left": np.array([0.42, 0.20, -0.60]), "right": np.array([0.25, -0.45, -0.60])}
"""Where each coronary leaves the aorta, as a fraction of the heart's semi-axes."""


@dataclass(frozen=True)
class Heart:
    """One patient's heart at rest.

    Args:
        frame: (3, 3) whose columns are the anterior, the left lateral and the base-to-apex direction.
        semi: (3,) semi-axes along those, mm.
        vessels: Branch name to (N, 3) centreline from ostium to end, 1 mm steps, patient axes.
        twigs: Side branches: the branch they leave, how far from its ostium (mm), centreline (N, 3), 1 mm steps.
        contraction: Radial shortening at end systole, fraction.
        descent_mm: How far the valve plane moves to the apex at end systole.
        twist_rad: Rotation about the long axis at end systole.
        swing_mm: (3,) displacement at end systole.
    """

    frame: Array
    semi: Array
    vessels: dict[str, Array]
    twigs: tuple[tuple[str, int, Array], ...]
    contraction: float
    descent_mm: float
    twist_rad: float
    swing_mm: Array

    @property
    def body(self) -> Ellipsoid:
        """The heart's solid at rest."""
        return Ellipsoid(np.zeros(3), self.frame * self.semi)

    def deformation(self, systole: float, breath_mm: float) -> tuple[Array, Array]:
        """Affine motion (matrix, shift) at a contraction 0..1 and a rise of the diaphragm, mm.

        Radial shortening, descent of the base with the apex held, rotation about the long axis, and 0.6 of
        the diaphragm's travel.
        """
        angle = systole * self.twist_rad
        radial = 1 - self.contraction * systole
        c, s = np.cos(angle) * radial, np.sin(angle) * radial
        long_axis = 1 - systole * self.descent_mm / (2 * self.semi[2])
        local = np.array([[c, -s, 0], [s, c, 0], [0, 0, long_axis]])
        shift = self.frame[:, 2] * systole * self.descent_mm / 2 + systole * self.swing_mm
        shift = shift + 0.6 * breath_mm * np.array([0.0, -0.25, 1.0])
        return on_grid(self.frame @ local @ self.frame.T, SHARE_GRID), on_grid(shift, MM_GRID)


def make_heart(rng: np.random.Generator) -> Heart:
    """Draw a heart: size, tilt, tree and strength of the beat."""
    apex = np.array([0.62, -0.60, -0.50]) + rng.normal(0, 0.08, 3)
    apex /= np.linalg.norm(apex)
    anterior = np.array([0.25, -0.70, 0.70]) + rng.normal(0, 0.05, 3)
    anterior -= apex * (anterior @ apex)
    anterior /= np.linalg.norm(anterior)
    frame = np.stack([anterior, np.cross(apex, anterior), apex], axis=1)
    if frame[:, 1] @ np.array([1.0, 1.0, 0.3]) < 0:
        frame[:, 1] *= -1
    size = rng.uniform(0.9, 1.12)
    semi = np.array([36.0, 39.0, 50.0]) * size * rng.uniform(0.95, 1.05, 3)
    vessels = {name: _branch(rng, frame, semi, *course) for name, course in BRANCHES.items()}
    return Heart(
        frame,
        semi,
        vessels,
        tuple(
            _twig(rng, frame, semi, name, vessels[name])
            for name in BRANCHES
            for _ in range(rng.integers(2, 5))
        ),
        contraction=rng.uniform(0.05, 0.12),
        descent_mm=rng.uniform(5, 11),
        twist_rad=rng.uniform(0.03, 0.14),
        swing_mm=rng.normal(0, 1.5, 3),
    )


def _branch(
    rng: np.random.Generator, frame: Array, semi: Array, side: str, waypoints: tuple[tuple[float, float], ...]
) -> Array:
    """A smooth, slightly tortuous course over the heart's surface from the ostium on, 1 mm steps."""
    knots = np.array(waypoints, float) + rng.normal(0, 3.0, (len(waypoints), 2))
    dense = np.linspace(0, 1, 160)
    at = np.linspace(0, 1, len(knots))
    azimuth, polar = (np.interp(dense, at, _rounded(column)) for column in knots.T)
    for angle, amount in ((azimuth, 3.5), (polar, 3.0)):
        for waves in (2.5, 4.5, 8.0):
            size = amount * rng.normal() / waves * 2.6
            angle += size * np.sin(2 * np.pi * (waves * dense * rng.uniform(0.8, 1.2) + rng.uniform()))
    azimuth, polar = np.deg2rad(azimuth), np.deg2rad(polar)
    radial = np.sin(polar)
    surface = (
        np.stack([np.cos(azimuth) * radial, np.sin(azimuth) * radial, np.cos(polar)], axis=1) * semi * 1.02
    )
    ostium = OSTIA[side] * semi
    points = np.concatenate([ostium[None], surface])
    smooth = elastic_curve(_by_arc_length(points, 1.0), 7.0, 1.0)
    return on_grid(_by_arc_length(smooth, 1.0) @ frame.T, MM_GRID)


def _twig(
    rng: np.random.Generator, frame: Array, semi: Array, name: str, vessel: Array
) -> tuple[str, int, Array]:
    """A side branch of 15 to 45 mm that leaves a branch at 30 to 70 degrees and runs over the heart's surface."""
    start = int(rng.uniform(0.25, 0.85) * len(vessel))
    place, ahead = vessel[start], vessel[start] - vessel[start - 3]
    out = frame @ ((frame.T @ place) / semi**2)
    ahead, out = ahead / lengths(ahead), out / lengths(out)
    angle = np.deg2rad(rng.uniform(30, 70)) * rng.choice([-1.0, 1.0])
    way = np.cos(angle) * ahead + np.sin(angle) * np.cross(out, ahead)
    s = np.arange(0.0, rng.uniform(15, 45))[:, None]
    wander = np.cumsum(np.cumsum(rng.normal(0, 0.025, (len(s), 1)), axis=0), axis=0)
    points = (place + way * s + np.cross(out, way) * (wander - wander[0])) @ frame
    radius = np.sqrt(((points / semi) ** 2).sum(axis=1, keepdims=True))
    along = np.linspace(0, 1, len(s))[:, None]
    points *= 1 + along**0.5 * (1.02 / radius - 1)  # it leaves the vessel as it lies and ends on the surface
    return name, start, on_grid(points @ frame.T, MM_GRID)


def _rounded(knots: Array) -> Array:
    """Knots with inner ones pulled to their neighbours' mean, which rounds the polygon that they span."""
    out = knots.copy()
    out[1:-1] = 0.25 * knots[:-2] + 0.5 * knots[1:-1] + 0.25 * knots[2:]
    return out


def _by_arc_length(points: Array, step: float) -> Array:
    along = arc_length(points)
    return at_length(points, along, np.linspace(0, along[-1], int(along[-1] / step) + 1))


def elastic_curve(course: Array, stiffness_mm: float, step_mm: float) -> Array:
    """The shape of an elastic rod laid into a course (N, 3) with compliant walls.

    Minimises bending energy plus the walls' elastic energy, sum |D2 p|^2 l^4/h^4 + sum |p - course|^2: a
    beam on an elastic (Winkler) foundation with characteristic length l = ``stiffness_mm`` and point spacing
    h = ``step_mm``. Normal equations are pentadiagonal. Ends are free. The solution is refined once, which takes it
    to the last digits on every machine, and put on the grid of places in the body.
    """
    n = len(course)
    weight = (stiffness_mm / step_mm) ** 4
    bands = np.zeros((3, n))
    bands[2] = 6.0
    bands[2, [0, -1]], bands[2, [1, -2]] = 1.0, 5.0
    bands[1, 1:] = -4.0
    bands[1, [1, -1]] = -2.0
    bands[0, 2:] = 1.0
    bands *= weight
    bands[2] += 1.0
    solved = solveh_banded(bands, course)
    curvature = np.diff(solved, 2, axis=0) * weight
    missing = course - solved
    missing[:-2] -= curvature
    missing[1:-1] += 2 * curvature
    missing[2:] -= curvature
    return on_grid(solved + solveh_banded(bands, missing), MM_GRID)


def systole_curve(time_s: Array, rate_hz: float, phase: float) -> Array:
    """Contraction 0..1 over time: 0.3 of a beat to contract, 0.25 to relax, the rest at rest."""
    beat = np.mod(time_s * rate_hz + phase, 1.0)
    rising = 0.5 - 0.5 * np.cos(np.pi * np.clip(beat / 0.30, 0, 1))
    falling = 0.5 + 0.5 * np.cos(np.pi * np.clip((beat - 0.30) / 0.25, 0, 1))
    return np.where(beat < 0.30, rising, falling)
