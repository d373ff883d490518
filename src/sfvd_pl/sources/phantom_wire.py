"""The guidewire: an elastic rod in a coronary branch, moved by heart, breath and hand, and its pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfvd_pl.sources.phantom_geometry import Array, View, resample, stroke, tube_chord
from sfvd_pl.sources.phantom_heart import Heart, elastic_curve, systole_curve

TIP_COIL_MM = 25.0
"""Length of the radiopaque coil at the end of a coronary guidewire, mm (commonly 20-30)."""


@dataclass(frozen=True)
class Drive:
    """What moves in a run, frame by frame.

    Args:
        systole: (T,) contraction 0..1.
        breath_mm: (T,) diaphragm towards the head, mm.
        inserted_mm: (T,) length of wire beyond the catheter's end, mm.
    """

    systole: Array
    breath_mm: Array
    inserted_mm: Array


@dataclass(frozen=True)
class Wire:
    """A guidewire's make and place.

    Args:
        branch: Which coronary branch it lies in.
        stiffness_mm: Characteristic bending length, see ``elastic_curve``.
        hook_mm: (3,) sideways displacement of the shaped tip's end, mm.
        radius_px: Half of its diameter as projected, px.
    """

    branch: str
    stiffness_mm: float
    hook_mm: Array
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


def make_drive(
    rng: np.random.Generator,
    frames: int,
    fps: float,
    heart_hz: tuple[float, float],
    breath: tuple[float, float],
) -> Drive:
    """Draw heart rate and phase, breathing, and the operator's hand.

    The hand holds still in half of the runs and otherwise advances or retracts at up to 20 mm/s.
    """
    time = np.arange(frames) / fps
    systole = systole_curve(time, rng.uniform(*heart_hz), rng.uniform())
    depth, rate, phase = rng.uniform(*breath), rng.uniform(0.18, 0.35), rng.uniform()
    breathing = depth * 0.5 * (np.cos(2 * np.pi * (rate * time + phase)) - 1.0)
    inserted = np.full(frames, rng.uniform(50, 105))
    if rng.uniform() < 0.5:
        speed, pace = rng.uniform(4, 20) * rng.choice([-1.0, 1.0]), rng.uniform(0.5, 1.5)
        feed = speed * np.sin(np.pi * (pace * time + rng.uniform())) ** 2 / fps
        inserted = np.maximum(inserted + np.cumsum(feed), 40.0)
    return Drive(systole, breathing, inserted)


def make_wire(rng: np.random.Generator, branches: tuple[str, ...], radius_px: float) -> Wire:
    """Draw a wire's branch, stiffness and tip shape."""
    hook = rng.normal(size=3)
    hook *= rng.uniform(0.0, 3.5) / np.linalg.norm(hook)
    return Wire(str(rng.choice(branches)), rng.uniform(2.5, 5.0), hook, radius_px)


def wire_points(heart: Heart, wire: Wire, drive: Drive, frame: int) -> tuple[Array, Array]:
    """Points (N, 3) of the wire beyond the catheter in one frame, and their length to the tip (N,), mm.

    The branch is moved with the heart, an elastic rod is laid into it and cut at the inserted length,
    measured on the rod itself: the wire neither stretches nor shrinks as the heart beats, its tip slides in
        the vessel instead.
    """
    matrix, shift = heart.deformation(float(drive.systole[frame]), float(drive.breath_mm[frame]))
    course = heart.vessels[wire.branch] @ matrix.T + shift
    rod = elastic_curve(course, wire.stiffness_mm, 1.0)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(rod, axis=0), axis=1))])
    tip = min(float(drive.inserted_mm[frame]), float(along[-1]))
    at = np.linspace(0, tip, int(tip) + 2)
    points = np.stack([np.interp(at, along, column) for column in rod.T], axis=1)
    bend = np.clip(1 - (tip - at) / 9.0, 0, 1) ** 2
    return points + bend[:, None] * wire.hook_mm, tip - at


def trace_wire(points: Array, to_tip_mm: Array, view: View, radius_px: float) -> Trace:
    """Project a wire (N, 3) and sample it finely enough for its width."""
    flat = view.project(points)
    length3 = np.linalg.norm(np.diff(points, axis=0), axis=1) * view.px_per_mm
    length2 = np.hypot(*np.diff(flat, axis=0).T)
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
