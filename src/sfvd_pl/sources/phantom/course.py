"""Where catheter and wire lie: from the aortic arch through the ostium into a branch, or looped in the aortic root."""

from dataclasses import dataclass

import numpy as np

from sfvd_pl.sources.phantom.exact import MM_GRID, Array, arc_length, at_length, lengths, on_grid, transform
from sfvd_pl.sources.phantom.heart import Heart, elastic_curve

PLACES = ("tree", "aorta", "ostium", "root")
"""In a branch, the catheter in the ostium; in a branch, the catheter slipped back into the aorta; just beyond the
ostium; looped in the aortic root without entering a coronary."""
INSERTED_MM = {"tree": (50.0, 105.0), "aorta": (65.0, 120.0), "ostium": (18.0, 34.0), "root": (45.0, 90.0)}
"""Length of wire beyond the catheter's end to begin with, mm."""
LEAST_MM = {"tree": 40.0, "aorta": 45.0, "ostium": 14.0, "root": 35.0}
"""What the hand leaves beyond the catheter at least, mm."""


@dataclass(frozen=True)
class Catheter:
    """A catheter of one run.

    Args:
        branch: Any branch of the coronary whose ostium it was made for.
        top: (3,) where it comes out of the arch, mm.
        back_mm: How far its end lies back from the ostium, mm.
        layers: (radius mm, attenuation 1/mm) of its wall and of what is taken away or added in its bore.
    """

    branch: str
    top: Array
    back_mm: float
    layers: tuple[tuple[float, float], ...]

    def line(self, heart: Heart, matrix: Array, shift: Array) -> Array:
        """Centreline (N, 3) from the arch to the ostium, whose end moves with the heart; about 1.5 mm steps."""
        vessel = transform(heart.vessels[self.branch][:4], matrix, shift)
        ostium, into = vessel[0], vessel[3] - vessel[0]
        root = ostium - 14 * into / lengths(into) + np.array([0, 2.0, 6.0])
        rise = 0.5 * (root + self.top) + np.array([-6.0, -6.0, 0])
        knots = np.stack([self.top, rise, root, ostium])
        along = arc_length(knots)
        return elastic_curve(at_length(knots, along, np.linspace(0, along[-1], 110)), 6.0, along[-1] / 109)

    def ending(self, line: Array) -> tuple[Array, Array]:
        """Split its whole centreline (N, 3) into the catheter and the way (M, 3) from its end to the ostium."""
        along = arc_length(line)
        at = max(along[-1] - self.back_mm, along[1])
        end = at_length(line, along, np.array([at]))
        inside = along < at
        return np.concatenate([line[inside], end]), np.concatenate([end, line[~inside]])


def course(
    place: str, sideways: Array, catheter: Catheter, heart: Heart, branch: str, matrix: Array, shift: Array
) -> Array:
    """The way (N, 3) of a wire from the catheter's end on, in 1 mm steps.

    Args:
        place: One of ``PLACES``.
        sideways: (3,) to which side a loop in the aortic root falls, its radius in mm as length.
        catheter: The one that the wire comes from.
        heart: The heart at rest.
        branch: The wire's branch.
        matrix, shift: The heart's motion in this frame.
    """
    if place in ("tree", "ostium"):
        return transform(heart.vessels[branch], matrix, shift)
    _, way = catheter.ending(catheter.line(heart, matrix, shift))
    if place == "aorta":
        points = np.concatenate([way, transform(heart.vessels[branch][1:], matrix, shift)])
    else:
        points = _loop(way, sideways)
    along = arc_length(points)
    return on_grid(at_length(points, along, np.arange(0.0, along[-1], 1.0)), MM_GRID)


def _loop(way: Array, sideways: Array) -> Array:
    """On along the aorta's axis past the ostium's height, round over the valve, and up the other wall."""
    start, radius = way[0], float(lengths(sideways))
    ahead = way[min(2, len(way) - 1)] - start
    ahead = ahead / lengths(ahead)
    down = 0.35 * ahead + np.array(
        [0.12, -0.1, -0.9]
    )  # the root's axis points to the apex, and the wire bends to it
    down = down / lengths(down)
    depth = 10.0 + float(arc_length(way)[-1])
    side = sideways - down * (sideways @ down)
    side = side / max(float(lengths(side)), 1e-6) * radius
    turn = np.linspace(0, np.pi, 16)[1:-1, None]
    bottom = start + down * depth
    round_ = bottom + side * (1 - np.cos(turn)) + down * radius * np.sin(turn)
    rise = (
        bottom
        + 2 * side
        - down * np.linspace(0, 80, 20)[:, None]
        + 0.1 * side * np.linspace(0, 1, 20)[:, None]
    )
    return np.concatenate([start[None], bottom[None], round_, rise])
