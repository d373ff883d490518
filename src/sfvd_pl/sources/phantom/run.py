"""One run: a wire in a beating heart before a camera, and how to film it."""

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from sfvd_pl.sources.clip import Pixels
from sfvd_pl.sources.phantom.anatomy import (
    MU_CATHETER,
    MU_IODINE_BLOOD,
    StillImage,
    Thorax,
    add_tube,
    lung_markings,
    moving_path,
)
from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.course import INSERTED_MM, LEAST_MM, Catheter
from sfvd_pl.sources.phantom.drive import Drive, Hand, make_drive, make_hand
from sfvd_pl.sources.phantom.exact import MM_GRID, PX_GRID, Array, Image, lengths, on_grid, transform
from sfvd_pl.sources.phantom.geometry import View, resample, stroke, tube_chord
from sfvd_pl.sources.phantom.heart import BRANCHES, Heart
from sfvd_pl.sources.phantom.imaging import Memory, fine_structure, make_detector, shifted
from sfvd_pl.sources.phantom.wire import (
    TIP_COIL_MM,
    Shadow,
    Wire,
    cast_shadow,
    make_wire,
    second_wire,
    smeared,
    trace_wire,
    wire_points,
)

WORKING_VIEWS: dict[str, tuple[tuple[float, float], ...]] = {
    # C-arm angles in degrees, LAO and cranial positive, in common use for each branch
    "LAD": ((-30, 25), (40, 25), (0, 35), (-10, -30)),
    "diagonal": ((-30, 25), (40, 25), (0, 35)),
    "LCX": ((-25, -25), (45, -28), (0, -30), (-30, 0)),
    "marginal": ((-25, -25), (0, -30), (-30, 0)),
    "RCA": ((42, 0), (25, 20), (-32, 0), (0, 25)),
}
SMEAR_PX = 0.75
"""A wire that moves less than this during a pulse is drawn at rest."""


@dataclass(frozen=True)
class Stage:
    """Wires in a beating heart before a camera.

    Args:
        heart: The heart at rest.
        wires: One or two wires and the hands on them.
        catheter: The catheter that they come from.
        drive: Heart, breath and table over time.
        view: The camera in the middle frame.
        angles_deg: Its C-arm angles, LAO and cranial positive.
        pulse: Length of the X-ray pulse, frames.
    """

    heart: Heart
    wires: tuple[tuple[Wire, Hand], ...]
    catheter: Catheter
    drive: Drive
    view: View
    angles_deg: tuple[float, float]
    pulse: float

    def view_at(self, frame: int) -> View:
        """The camera where the table has brought it."""
        pan = self.drive.pan_mm[frame]
        return replace(self.view, centre=self.view.centre + pan) if self.drive.pan_mm.any() else self.view

    def motion(self, frame: float) -> tuple[Array, Array]:
        """The heart's matrix and shift."""
        return self.heart.deformation(*self.drive.at(frame))

    def shadows(self, frame: int) -> tuple[Shadow, ...]:
        """Pixels that each wire darkens in one frame."""
        view = self.view_at(frame)
        return tuple(self._shadow(wire, hand, frame, view) for wire, hand in self.wires)

    def _shadow(self, wire: Wire, hand: Hand, frame: int, view: View) -> Shadow:
        traces = [self._points(wire, hand, frame)]
        outer = frame + np.array([-1, 1]) * self.pulse / 3  # the middles of the pulse's outer thirds
        if self.pulse > 0 and self._travel(traces[0][0][[0, -1]], hand, *outer) * view.px_per_mm > SMEAR_PX:
            traces += [self._points(wire, hand, time) for time in outer]
        casts = [
            cast_shadow(trace_wire(*traced, view, wire.radius_px), wire.radius_px, view.height, view.width)
            for traced in traces
        ]
        return smeared(casts[0], casts[1:]) if len(casts) > 1 else casts[0]

    def _travel(self, ends: Array, hand: Hand, start: float, stop: float) -> float:
        """About how far the ends (2, 3) of a wire move between two thirds' middles, extended to the whole, mm."""
        (before, first), (after, last) = self.motion(start), self.motion(stop)
        fed = abs(hand.at(stop)[0] - hand.at(start)[0])
        return 1.5 * (float(lengths(transform(ends, after - before, last - first)).max()) + fed)

    def _points(self, wire: Wire, hand: Hand, time: float) -> tuple[Array, Array]:
        return wire_points(self.heart, wire, self.catheter, self.motion(time), *hand.at(time))


def draw_mask(shadows: tuple[Shadow, ...], mask: npt.NDArray[np.uint8]) -> None:
    """Set the wires' pixels of a mask (H, W) to 1."""
    for shadow in shadows:
        mask.reshape(-1)[shadow.index[shadow.covered]] = 1


def make_stage(rng: np.random.Generator, config: PhantomConfig, heart: Heart, radius_px: float) -> Stage:
    """Choose branch, wire and C-arm angle, and centre the picture near the wire, as an operator does."""
    drive = make_drive(rng, config)
    wire = make_wire(rng, config, radius_px)
    hand = make_hand(rng, config, rng.uniform(*INSERTED_MM[wire.place]), LEAST_MM[wire.place])
    catheter = _catheter(rng, wire)
    wires = [(wire, hand)]
    if rng.uniform() < config.second_wire_probability:
        other = second_wire(rng, config, wire)
        start = rng.uniform(*INSERTED_MM[other.place])
        wires.append((other, make_hand(rng, config, start, LEAST_MM[other.place])))
    views = WORKING_VIEWS[wire.branch]
    primary, secondary = np.array(views[rng.integers(len(views))]) + rng.normal(0, 7, 2)
    right, down, beam = View.axes(primary, secondary)
    shown = rng.uniform(*config.view_mm)
    middle = config.frames // 2
    points, _ = wire_points(heart, wire, catheter, heart.deformation(*drive.at(middle)), *hand.at(middle))
    plane = np.stack([points @ right, points @ down], axis=1)
    centre = 0.5 * (plane.min(axis=0) + plane.max(axis=0)) + rng.uniform(-0.12, 0.12, 2) * shown
    view = View(right, down, beam, on_grid(centre, MM_GRID), min(config.height, config.width) / shown,
                config.height, config.width)  # fmt: skip
    pulse = rng.uniform(*config.pulse_ms) * config.fps / 1000
    return Stage(heart, tuple(wires), catheter, drive, view, (float(primary), float(secondary)), pulse)


def _catheter(rng: np.random.Generator, wire: Wire) -> Catheter:
    """A 5 or 6 French catheter (1.67 or 2.0 mm) in the ostium, or slipped back where the wire lies so."""
    top = on_grid([rng.uniform(-30, -8), rng.uniform(5, 30), 150.0], MM_GRID)
    radius, bore, strength = rng.choice([0.84, 1.0]), rng.uniform(0.55, 0.75), rng.uniform(0.8, 1.6)
    back = rng.uniform(12, 28)
    layers = (
        (float(radius), float(strength * MU_CATHETER)),
        (float(radius * bore), float(-strength * MU_CATHETER)),
    )
    return Catheter(wire.branch, top, float(back) if wire.place in ("aorta", "root") else 0.0, layers)


class Run:
    """Everything that stays the same during one run, and how to take a frame of it."""

    def __init__(self, config: PhantomConfig, rng: np.random.Generator, stage: Stage, thorax: Thorax) -> None:
        self.config, self.stage, self.rng = config, stage, rng
        view, pan = stage.view, stage.drive.pan_mm
        self.still = StillImage(thorax, view, float(rng.uniform(*config.kept_range)), pan)
        self.pacing = thorax.pacing
        self.wire_mu = [float(np.exp(rng.uniform(*np.log(config.wire_mu)))) for _ in stage.wires]
        self.tip_density = float(rng.uniform(*config.tip_density))
        engaged = stage.catheter.back_mm == 0  # from a catheter in the aorta the agent would be washed away
        injects = rng.uniform() < config.contrast_probability
        self.contrast = Contrast(rng, stage) if injects and engaged else None
        texture, still_texture = rng.uniform(*config.texture), rng.uniform(0.010, 0.025)
        grain = int(rng.integers(2**31))
        canvas = self.still.canvas.height, self.still.canvas.width
        self.still.path += np.float32(texture * still_texture) * fine_structure(
            grain + 1, canvas, 12.0 * view.px_per_mm, 2.6
        )
        margin = int(12 * view.px_per_mm) + 4
        shape = canvas[0] + 2 * margin, canvas[1] + 2 * margin
        self.lung_grain = np.float32(0.025 * texture) * fine_structure(
            grain, shape, 9.0 * view.px_per_mm, 2.6
        )
        marks = lung_markings(np.random.default_rng(grain + 2), shape, view.px_per_mm)
        self.lung_grain -= np.float32(texture * MARKS_PER_MM) * marks
        self.detector = make_detector(rng, self.anatomy(0), view, config)
        self.memory = Memory()

    def anatomy(self, frame: int) -> Image:
        """Attenuation (H, W) of the body without devices or contrast."""
        stage, view = self.stage, self.stage.view_at(frame)
        breath, (matrix, shift) = float(stage.drive.breath_mm[frame]), stage.motion(frame)
        air = moving_path(self.still, stage.heart, matrix, shift, breath, view)
        pan = stage.drive.pan_mm[frame]
        move = np.array([0, 0, 0.6 * breath]) + 0.3 * shift
        grain = self._window(self.lung_grain, move @ view.right - pan[0], move @ view.down - pan[1])
        grain += np.float32(1)
        grain *= air
        grain += self._window(self.still.path, -pan[0], -pan[1]) if self.still.pans else self.still.path
        return grain

    def _window(self, image: Image, right_mm: float, down_mm: float) -> Image:
        """The frame (H, W) of a larger picture that has moved by so many mm."""
        view = self.stage.view
        dx, dy = on_grid(np.array([right_mm, down_mm]) * view.px_per_mm, PX_GRID)
        return shifted(image, float(dy), float(dx), view.height, view.width)

    def film(self, shadows: list[tuple[Shadow, ...]]) -> Pixels:
        """All frames (T, H, W)."""
        return cast(Pixels, np.stack([self.frame(k, each) for k, each in enumerate(shadows)]))

    def frame(self, frame: int, shadows: tuple[Shadow, ...]) -> Pixels:
        """Expose one frame (H, W), the one that follows the last."""
        stage, view = self.stage, self.stage.view_at(frame)
        path = self.anatomy(frame)
        matrix, shift = stage.motion(frame)
        catheter, _ = stage.catheter.ending(stage.catheter.line(stage.heart, matrix, shift))
        layers = stage.catheter.layers
        if self.contrast is not None:
            layers = (*layers, (layers[1][0], self.contrast.strength))
        add_tube(path, view, catheter, layers)
        if self.pacing is not None:
            add_tube(path, view, transform(self.pacing, matrix, shift), ((0.7, 0.25),))
        if self.contrast is not None:
            self.contrast.add(path, view, frame / self.config.fps, matrix, shift)
        for mu, shadow in zip(self.wire_mu, shadows, strict=True):
            coil = 1 + (self.tip_density - 1) / (1 + np.exp((shadow.to_tip_mm - TIP_COIL_MM) / 0.5))
            metal = mu * coil * shadow.chord_px * self.config.spacing_mm
            path.reshape(-1)[shadow.index] += metal.astype(np.float32)
        return cast(Pixels, self.detector.expose(path, self.rng, self.memory))


MARKS_PER_MM = 0.03
"""Share of the lung's missing attenuation that a millimetre of vessel gives back: about 0.37 of it is kept
(``kept_range``), fine detail is not reduced, so 0.014 / (0.37 * 0.014 * 90 mm)."""


class Contrast:
    """A puff of contrast agent that runs down one coronary's branches."""

    def __init__(self, rng: np.random.Generator, stage: Stage) -> None:
        side = BRANCHES[stage.wires[0][0].branch][0]
        names = [name for name, (which, _) in BRANCHES.items() if which == side]
        self.radius_mm = rng.uniform(1.2, 1.8)
        self.start_s, self.speed = rng.uniform(-1.0, 0.5), rng.uniform(120, 260)
        self.lasts_s, self.wash_s = rng.uniform(0.8, 1.8), rng.uniform(0.4, 1.0)
        self.strength = rng.uniform(0.5, 1.6) * MU_IODINE_BLOOD
        self.tubes = [
            (stage.heart.vessels[name], *self._tube(len(stage.heart.vessels[name]))) for name in names
        ]
        for name, start, line in stage.heart.twigs:
            if name in names:
                along, radius = self._tube(len(stage.heart.vessels[name]))
                taper = 0.6 * radius[start] * np.linspace(1, 0.4, len(line))
                self.tubes.append((line, along[start] + np.arange(len(line)), np.maximum(taper, 0.2)))

    def _tube(self, count: int) -> tuple[Array, Array]:
        """Length along a branch (mm) and its radius (mm) there: it tapers to a third."""
        along = np.arange(count, dtype=float)
        return along, self.radius_mm * (1 - 0.65 * along / along[-1])

    def add(self, path: Image, view: View, time_s: float, matrix: Array, shift: Array) -> None:
        """Add the iodine's attenuation to ``path`` (H, W) in place."""
        scale, since = view.px_per_mm, time_s - self.start_s
        parts = []
        for line, along, radius_mm in self.tubes:
            radius = radius_mm * scale
            filled = np.clip((since - along / self.speed) / 0.25, 0, 1)
            filled *= np.exp(-max(since - self.lasts_s, 0) / self.wash_s)
            flat = view.project(transform(line, matrix, shift))
            parts.append(resample(np.column_stack([flat, radius, filled]), np.maximum(0.35, 0.45 * radius)))
        samples = np.concatenate(parts)
        samples = samples[samples[:, 3] > 0]
        found = stroke(samples[:, :2], view.height, view.width, np.ceil(samples[:, 2] + 0.5))
        radius, filled = samples[found.nearest, 2], samples[found.nearest, 3]
        chord = tube_chord(found.distance, radius) / scale
        path.reshape(-1)[found.index] += (self.strength * filled * chord).astype(np.float32)
