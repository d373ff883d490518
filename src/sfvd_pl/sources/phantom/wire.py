"""The guidewire: an elastic rod with a shaped tip, moved by heart, breath and hand, and the pixels it darkens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.course import PLACES, Catheter, course
from sfvd_pl.sources.phantom.exact import MM_GRID, Array, arc_length, at_length, dot, lengths, on_grid
from sfvd_pl.sources.phantom.geometry import View, resample, stroke, tube_chord
from sfvd_pl.sources.phantom.heart import BRANCHES, Heart, elastic_curve

TIP_COIL_MM = 25.0
"""Length of the radiopaque coil at the end of a coronary guidewire, mm (commonly 20-30)."""
TIPS = ("straight", "J", "45", "90")


@dataclass(frozen=True)
class Tip:
    """The shape an operator has given the wire's end.

    Args:
        length_mm: How much of the end is shaped.
        turn_rad: Angle between the end's direction and the wire's.
        bend_mm: Length over which the turn is made, from the shaped part's beginning on: all of it for a J.
    """

    length_mm: float = 0.0
    turn_rad: float = 0.0
    bend_mm: float = 1.0


@dataclass(frozen=True)
class Wire:
    """A guidewire's make and place.

    Args:
        branch: Which coronary branch it lies in, or lies before.
        place: One of ``PLACES``.
        stiffness_mm: Characteristic bending length, see ``elastic_curve``.
        tip: Shape of its end.
        sideways: (3,) to which side the tip bends and a loop falls; its length is the loop's radius, mm.
        offset_mm: (3,) how far it lies from the vessel's axis, mm: two wires in one vessel lie side by side.
        radius_px: Half of its diameter as projected, px.
    """

    branch: str
    place: str
    stiffness_mm: float
    tip: Tip
    sideways: Array
    offset_mm: Array
    radius_px: float


@dataclass(frozen=True)
class Trace:
    """A projected wire in one frame.

    Args:
        samples: (N, 2) x, y in px, equal steps, from the catheter's end to the tip.
        slant: (N,) path lengthening 1/sin(angle between wire and beam).
        to_tip_mm: (N,) length of wire between the sample and the tip, mm.
    """

    samples: Array
    slant: Array
    to_tip_mm: Array


@dataclass(frozen=True)
class Shadow:
    """Pixels a wire darkens: flat index, mean path through metal (px), length to the tip (mm), and the label.

    ``covered`` pixels have their centre within the wire's projected half-width (at least half a pixel, so
    that the label is connected); they are the label.
    """

    index: npt.NDArray[np.int64]
    chord_px: Array
    to_tip_mm: Array
    covered: npt.NDArray[np.bool_]


def make_tip(rng: np.random.Generator, shares: Sequence[float]) -> Tip:
    """Draw a tip: straight, a J, or bent by about 45 or 90 degrees, each in its share of the wires.

    Inside a vessel the wall straightens a tip somewhat; that is in the range of the angles.
    """
    kind = TIPS[int(np.searchsorted(np.cumsum(shares)[:-1], rng.uniform() * sum(shares), side="right"))]
    a, b = rng.uniform(), rng.uniform()
    if kind == "straight":
        return Tip()
    if kind == "J":
        turn, radius = np.deg2rad(140 + 60 * a), 1.2 + 1.6 * b
        return Tip(float(turn * radius), float(turn), float(turn * radius))
    middle = float(kind)
    return Tip(2.5 + 4.0 * b, float(np.deg2rad(middle * (0.75 + 0.45 * a))), 1.5)


def make_wire(rng: np.random.Generator, config: PhantomConfig, radius_px: float) -> Wire:
    """Draw a wire's branch, place, stiffness and tip."""
    place = PLACES[int(np.searchsorted(np.cumsum(config.place_shares)[:-1],
                                       rng.uniform() * sum(config.place_shares), side="right"))]  # fmt: skip
    branch = str(rng.choice(tuple(BRANCHES)))
    stiffness, tip = rng.uniform(2.5, 5.0), make_tip(rng, config.tip_shares)
    return Wire(branch, place, stiffness, tip, _sideways(rng), np.zeros(3), radius_px)


def second_wire(rng: np.random.Generator, config: PhantomConfig, first: Wire) -> Wire:
    """Draw another wire beside the first: half a millimetre off in the same branch, or in one of the same coronary."""
    side = BRANCHES[first.branch][0]
    branch = str(rng.choice([name for name, (which, _) in BRANCHES.items() if which == side]))
    off = _sideways(rng)
    off = off / lengths(off) * rng.uniform(0.4, 0.9)
    stiffness, tip = rng.uniform(2.5, 5.0), make_tip(rng, config.tip_shares)
    place = "tree" if first.place == "ostium" else first.place
    return Wire(branch, place, stiffness, tip, _sideways(rng), on_grid(off, MM_GRID), first.radius_px)


def _sideways(rng: np.random.Generator) -> Array:
    way = rng.normal(size=3)
    return on_grid(way / lengths(way) * rng.uniform(5.0, 9.0), MM_GRID)


def wire_points(
    heart: Heart,
    wire: Wire,
    catheter: Catheter,
    motion: tuple[Array, Array],
    inserted_mm: float,
    torque_rad: float,
) -> tuple[Array, Array]:
    """Points (N, 3) of the wire beyond the catheter in one frame, and their length to the tip (N,), mm.

    The course moves with the heart, an elastic rod is laid into it and cut at the inserted length, measured on the
    rod itself: the wire neither stretches nor shrinks as the heart beats, its tip slides in the vessel instead.

    Args:
        heart: The heart at rest.
        wire: The wire.
        catheter: The catheter it comes from.
        motion: The heart's matrix and shift, see ``Heart.deformation``.
        inserted_mm: Length of wire beyond the catheter's end.
        torque_rad: Turn about its axis.
    """
    way = course(wire.place, wire.sideways, catheter, heart, wire.branch, *motion)
    if wire.offset_mm.any():
        way = way + np.minimum(np.arange(len(way)) / 10, 1)[:, None] * wire.offset_mm
    rod = elastic_curve(way, wire.stiffness_mm, 1.0)
    along = arc_length(rod)
    tip = min(inserted_mm, float(along[-1]))
    shaped = min(wire.tip.length_mm, tip / 2)
    at = np.linspace(0, tip - shaped, int(tip - shaped) + 2)
    points = at_length(rod, along, at)
    if shaped > 0:
        bent = _bend(points, wire, shaped, torque_rad)
        points = np.concatenate([points, bent])
        at = np.concatenate([at, tip - shaped + np.linspace(0, shaped, len(bent) + 1)[1:]])
    return on_grid(points, MM_GRID), tip - at


def _bend(points: Array, wire: Wire, length: float, torque_rad: float) -> Array:
    """The shaped end (M, 3) that goes on from the rod's last point, in quarters of a millimetre."""
    ahead = points[-1] - points[-3]
    ahead = ahead / lengths(ahead)
    side = wire.sideways - ahead * dot(wire.sideways, ahead)
    side = side / max(float(lengths(side)), 1e-6)
    side = np.cos(torque_rad) * side + np.sin(torque_rad) * np.cross(ahead, side)
    count = max(4, int(4 * length))
    middle = (np.arange(count) + 0.5) / count * length
    turn = wire.tip.turn_rad * np.clip(middle / wire.tip.bend_mm, 0, 1)
    steps = np.cos(turn)[:, None] * ahead + np.sin(turn)[:, None] * side
    return np.asarray(points[-1] + np.cumsum(steps, axis=0) * (length / count))


def trace_wire(points: Array, to_tip_mm: Array, view: View, radius_px: float) -> Trace:
    """Project a wire (N, 3) and sample it finely enough for its width."""
    flat = view.project(points)
    length3 = lengths(np.diff(points, axis=0)) * view.px_per_mm
    length2 = lengths(np.diff(flat, axis=0))
    slant = length3 / np.maximum(length2, length3 / 4.0)  # a wire seen end-on darkens at most four-fold
    slant = np.append(slant, slant[-1])
    fine = resample(np.column_stack([flat, slant, to_tip_mm]), min(0.25, radius_px / 2))
    return Trace(fine[:, :2], fine[:, 2], fine[:, 3])


def cast_shadow(trace: Trace, radius_px: float, height: int, width: int) -> Shadow:
    """Which pixels the wire darkens and covers."""
    half = max(radius_px, 0.5)
    found = stroke(trace.samples, height, width, max(radius_px + 0.5, half))
    chord = tube_chord(found.distance, radius_px) * trace.slant[found.nearest]
    return Shadow(found.index, chord, trace.to_tip_mm[found.nearest], found.distance <= half)


def smeared(shadow: Shadow, others: Sequence[Shadow]) -> Shadow:
    """A shadow averaged with others of the same wire at other moments of the pulse; the label is the first's."""
    every = (shadow, *others)
    index = np.unique(np.concatenate([each.index for each in every]))
    chord, to_tip, covered = np.zeros(len(index)), np.zeros(len(index)), np.zeros(len(index), np.bool_)
    for each in reversed(every):
        at = np.searchsorted(index, each.index)
        chord[at] += each.chord_px / len(every)
        to_tip[at] = each.to_tip_mm
    covered[np.searchsorted(index, shadow.index)] = shadow.covered
    return Shadow(index, chord, to_tip, covered)
