"""A simulator of cardiac fluoroscopy with a guidewire: clips with exact masks, and wire mask sequences alone.

Every clip depends on (seed, patient, clip) and on nothing else; the patient's body on (seed, patient).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import ConfigError
from sfvd_pl.sources.clip import Clip, Pixels
from sfvd_pl.sources.phantom_anatomy import (
    MU_CATHETER,
    MU_IODINE_BLOOD,
    StillImage,
    Thorax,
    add_tube,
    make_thorax,
    moving_path,
)
from sfvd_pl.sources.phantom_config import PhantomConfig
from sfvd_pl.sources.phantom_geometry import Array, Image, View, resample, stroke, tube_chord
from sfvd_pl.sources.phantom_heart import BRANCHES, Heart, elastic_curve, make_heart
from sfvd_pl.sources.phantom_imaging import Detector, fine_structure, make_detector, shifted
from sfvd_pl.sources.phantom_wire import (
    TIP_COIL_MM,
    Drive,
    Shadow,
    Wire,
    cast_shadow,
    make_drive,
    make_wire,
    trace_wire,
    wire_points,
)

__all__ = ["PhantomConfig", "simulate_clips", "simulate_wire_masks"]

WORKING_VIEWS: dict[str, tuple[tuple[float, float], ...]] = {
    # C-arm angles in degrees, LAO and cranial positive, in common use for each branch
    "LAD": ((-30, 25), (40, 25), (0, 35), (-10, -30)),
    "diagonal": ((-30, 25), (40, 25), (0, 35)),
    "LCX": ((-25, -25), (45, -28), (0, -30), (-30, 0)),
    "marginal": ((-25, -25), (0, -30), (-30, 0)),
    "RCA": ((42, 0), (25, 20), (-32, 0), (0, 25)),
}
WIRE_DIAMETERS_MM = (0.254, 0.356, 0.356, 0.356, 0.457)
"""0.010, 0.014 (the usual one) and 0.018 inch."""
LEAST_PIXELS = 20
"""Wire pixels that every frame shows at least."""
ATTEMPTS = 200


@dataclass(frozen=True)
class Stage:
    """A wire in a beating heart before a camera."""

    heart: Heart
    wire: Wire
    drive: Drive
    view: View

    def shadow(self, frame: int) -> Shadow:
        """Pixels that the wire darkens in one frame."""
        points, to_tip = wire_points(self.heart, self.wire, self.drive, frame)
        trace = trace_wire(points, to_tip, self.view, self.wire.radius_px)
        return cast_shadow(trace, self.wire.radius_px, self.view.height, self.view.width)


def simulate_clips(config: PhantomConfig, seed: int) -> Iterator[Clip]:
    """Yield the clips of a data set, patient by patient, one at a time.

    Args:
        config: Size and physics.
        seed: The same seed and config give the same bytes.

    Yields:
        Clips named ``pNN/rNN``, every frame annotated, each frame with at least ``LEAST_PIXELS`` wire pixels.

    Raises:
        ConfigError: A negative seed, or frames too small to show the wire.
    """
    if seed < 0:
        raise ConfigError("no such seed", key="seed", expected=">= 0", found=seed)
    for patient in range(config.patients):
        body_rng = np.random.default_rng(np.random.SeedSequence([seed, 1, patient]))
        heart = make_heart(body_rng)
        thorax = make_thorax(body_rng, heart, config.distractor_probability)
        for clip in range(config.clips_per_patient):
            rng = np.random.default_rng(np.random.SeedSequence([seed, 2, patient, clip]))
            image, wire_mask = _film(config, rng, heart, thorax)
            name = f"p{patient + 1:02d}"
            yield Clip(
                name=f"{name}/r{clip + 1:02d}",
                patient=name,
                image=image,
                wire_mask=wire_mask,
                annotated=np.ones(config.frames, np.bool_),
                fps=config.fps,
                spacing_mm=config.spacing_mm,
                intensity_max=config.intensity_max,
                origin="phantom",
                intensity="linear",
            )


def simulate_wire_masks(
    seed: int, frames: int, height: int, width: int, *, width_px: float = 1.5, fps: float = 15.0
) -> npt.NDArray[np.uint8]:
    """A wire's masks in a run of its own: another heart, angle, wire, beat and hand for every seed.

    Args:
        seed: Decides everything.
        frames: Number of frames T.
        height: Frame height, px.
        width: Frame width, px.
        width_px: Width of the projected wire, px.
        fps: Frames a second, Hz.

    Returns:
        (T, H, W) uint8, 1 on the wire, at least ``LEAST_PIXELS`` in every frame.

    Raises:
        ConfigError: The frame is too small, or a number isn't positive.
    """
    limits = (("seed", seed, 0), ("frames", frames, 1), ("height", height, 32), ("width", width, 32))
    for key, value, least in limits:
        if value < least:
            raise ConfigError("no wire can be simulated there", key=key, expected=f">= {least}", found=value)
    if not (0 < width_px <= 8 and fps > 0):
        found = f"width_px {width_px}, fps {fps}"
        raise ConfigError(
            "no such wire", key="width_px, fps", expected="0 < width_px <= 8, fps > 0", found=found
        )
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    defaults = PhantomConfig()
    for _ in range(ATTEMPTS):
        heart = make_heart(rng)
        drive = make_drive(rng, frames, fps, defaults.heart_hz, defaults.breath_mm)
        stage = _stage(rng, heart, drive, width_px / 2, (45.0, 85.0), height, width)
        masks = np.zeros((frames, height, width), np.uint8)
        for frame in range(frames):
            shadow = stage.shadow(frame)
            masks[frame].reshape(-1)[shadow.index[shadow.covered]] = 1
        if int(masks.sum(axis=(1, 2)).min()) >= LEAST_PIXELS:
            return masks
    raise ConfigError(
        "no visible wire found", key="seed", expected="any", found=seed, remedy="use another seed"
    )


def _stage(
    rng: np.random.Generator,
    heart: Heart,
    drive: Drive,
    radius_px: float,
    view_mm: tuple[float, float],
    height: int,
    width: int,
) -> Stage:
    """Choose branch, wire and C-arm angle, and centre the picture near the wire, as an operator does."""
    wire = make_wire(rng, tuple(BRANCHES), radius_px)
    views = WORKING_VIEWS[wire.branch]
    primary, secondary = np.array(views[rng.integers(len(views))]) + rng.normal(0, 7, 2)
    right, down, beam = View.axes(primary, secondary)
    shown = rng.uniform(*view_mm)
    points, _ = wire_points(heart, wire, drive, len(drive.systole) // 2)
    plane = np.stack([points @ right, points @ down], axis=1)
    centre = 0.5 * (plane.min(axis=0) + plane.max(axis=0)) + rng.uniform(-0.12, 0.12, 2) * shown
    return Stage(
        heart, wire, drive, View(right, down, beam, centre, min(height, width) / shown, height, width)
    )


def _film(
    config: PhantomConfig, rng: np.random.Generator, heart: Heart, thorax: Thorax
) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    """One run's frames and masks (T, H, W). Where the wire would be out of the picture it is staged again."""
    diameter = float(rng.choice(WIRE_DIAMETERS_MM))
    for _ in range(ATTEMPTS):
        drive = make_drive(rng, config.frames, config.fps, config.heart_hz, config.breath_mm)
        radius = diameter / config.spacing_mm / 2
        stage = _stage(rng, heart, drive, radius, config.view_mm, config.height, config.width)
        shadows = [stage.shadow(frame) for frame in range(config.frames)]
        if min(int(shadow.covered.sum()) for shadow in shadows) < LEAST_PIXELS:
            continue
        run = Run(config, rng, stage, thorax)
        open_field = run.detector.field.reshape(-1) > 0.5
        masks = np.zeros((config.frames, config.height, config.width), np.uint8)
        for mask, shadow in zip(masks, shadows, strict=True):
            mask.reshape(-1)[shadow.index[shadow.covered]] = 1
            mask.reshape(-1)[~open_field] = 0
        if int(masks.sum(axis=(1, 2)).min()) >= LEAST_PIXELS:
            return run.film(shadows), masks
    raise ConfigError(
        "no C-arm position shows the wire",
        key="view_mm",
        expected=f"{LEAST_PIXELS} wire pixels in every frame",
        found=f"{config.height} x {config.width} px, view_mm {config.view_mm}",
        remedy="use larger frames or a smaller view_mm",
    )


class Run:
    """Everything that stays the same during one run, and how to take a frame of it."""

    def __init__(self, config: PhantomConfig, rng: np.random.Generator, stage: Stage, thorax: Thorax) -> None:
        self.config, self.stage, self.rng = config, stage, rng
        view = stage.view
        self.still = StillImage(thorax, view, float(rng.uniform(*config.kept_range)))
        self.pacing = thorax.pacing
        self.wire_mu = float(np.exp(rng.uniform(*np.log(config.wire_mu))))
        self.tip_density = float(rng.uniform(*config.tip_density))
        self.contrast = Contrast(rng, stage) if rng.uniform() < config.contrast_probability else None
        self.catheter_top = np.array([rng.uniform(-30, -8), rng.uniform(5, 30), 150.0])
        margin = int(12 * view.px_per_mm) + 4
        shape = (view.height + 2 * margin, view.width + 2 * margin)
        grain = int(rng.integers(2**31))
        self.lung_grain = fine_structure(grain, shape, 9.0 * view.px_per_mm, 2.6)
        self.still.path += np.float32(rng.uniform(0.01, 0.025)) * fine_structure(
            grain + 1, (view.height, view.width), 12.0 * view.px_per_mm, 2.6
        )
        self.detector = self._detector()

    def _detector(self) -> Detector:
        config, rng = self.config, self.rng
        return make_detector(
            rng,
            self.anatomy(0),
            self.stage.view,
            scatter_ratio=rng.uniform(*config.scatter_ratio),
            level=rng.uniform(*config.mean_level),
            noise_std=rng.uniform(*config.noise_std) / 255,
            blur_px=config.blur_px,
            intensity_max=config.intensity_max,
        )

    def anatomy(self, frame: int) -> Image:
        """Attenuation (H, W) of the body without devices or contrast."""
        stage, view = self.stage, self.stage.view
        systole, breath = float(stage.drive.systole[frame]), float(stage.drive.breath_mm[frame])
        matrix, shift = stage.heart.deformation(systole, breath)
        air = moving_path(self.still, stage.heart, matrix, shift, breath)
        move = (np.array([0, 0, 0.6 * breath]) + 0.3 * shift) * view.px_per_mm
        grain = shifted(
            self.lung_grain, float(move @ view.down), float(move @ view.right), view.height, view.width
        )
        return np.asarray(self.still.path + air * (1 + np.float32(0.055) * grain))

    def film(self, shadows: list[Shadow]) -> Pixels:
        """All frames (T, H, W)."""
        return cast(Pixels, np.stack([self.frame(k, shadow) for k, shadow in enumerate(shadows)]))

    def frame(self, frame: int, shadow: Shadow) -> Pixels:
        """Expose one frame (H, W)."""
        stage, view = self.stage, self.stage.view
        path = self.anatomy(frame)
        matrix, shift = stage.heart.deformation(
            float(stage.drive.systole[frame]), float(stage.drive.breath_mm[frame])
        )
        catheter = self._catheter(matrix, shift)
        add_tube(path, view, catheter, ((1.0, MU_CATHETER), (0.6, -MU_CATHETER)))
        if self.pacing is not None:
            add_tube(path, view, self.pacing @ matrix.T + shift, ((0.7, 0.25),))
        if self.contrast is not None:
            self.contrast.add(path, frame / self.config.fps, matrix, shift)
        coil = 1 + (self.tip_density - 1) / (1 + np.exp((shadow.to_tip_mm - TIP_COIL_MM) / 0.5))
        metal = self.wire_mu * coil * shadow.chord_px * self.config.spacing_mm
        path.reshape(-1)[shadow.index] += metal.astype(np.float32)
        return self.detector.expose(path, self.rng)

    def _catheter(self, matrix: Array, shift: Array) -> Array:
        """Centreline (N, 3) from the aortic arch to the ostium, whose end moves with the heart."""
        vessel = self.stage.heart.vessels[self.stage.wire.branch] @ matrix.T + shift
        ostium, into = vessel[0], vessel[3] - vessel[0]
        root = ostium - 14 * into / np.linalg.norm(into) + np.array([0, 2.0, 6.0])
        rise = 0.5 * (root + self.catheter_top) + np.array([-6.0, -6.0, 0])
        knots = np.stack([self.catheter_top, rise, root, ostium])
        at = np.linspace(0, 1, 90)
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
        line = np.stack([np.interp(at, along / along[-1], column) for column in knots.T], axis=1)
        return elastic_curve(line, 6.0, along[-1] / 89)


class Contrast:
    """A puff of contrast agent that runs down one coronary's branches."""

    def __init__(self, rng: np.random.Generator, stage: Stage) -> None:
        side = BRANCHES[stage.wire.branch][0]
        self.lines = [stage.heart.vessels[name] for name, (which, _) in BRANCHES.items() if which == side]
        self.view = stage.view
        self.radius_mm = rng.uniform(1.2, 1.7)
        self.start_s, self.speed = rng.uniform(-0.4, 0.5), rng.uniform(120, 260)
        self.strength = rng.uniform(0.3, 0.9) * MU_IODINE_BLOOD

    def add(self, path: Image, time_s: float, matrix: Array, shift: Array) -> None:
        """Add the iodine's attenuation to ``path`` (H, W) in place."""
        scale = self.view.px_per_mm
        parts = []
        for line in self.lines:
            along = np.arange(len(line), dtype=float)
            radius = self.radius_mm * (1 - 0.65 * along / along[-1]) * scale
            filled = np.clip((time_s - self.start_s - along / self.speed) / 0.25, 0, 1)
            filled *= np.exp(-np.maximum(time_s - self.start_s - 0.9, 0) / 0.6)
            flat = self.view.project(line @ matrix.T + shift)
            parts.append(
                resample(np.column_stack([flat, radius, filled]), max(0.35, 0.35 * float(radius.min())))
            )
        samples = np.concatenate(parts)
        found = stroke(samples[:, :2], self.view.height, self.view.width, float(samples[:, 2].max()) + 0.5)
        radius, filled = samples[found.nearest, 2], samples[found.nearest, 3]
        chord = tube_chord(found.distance, radius) / scale
        path.reshape(-1)[found.index] += (self.strength * filled * chord).astype(np.float32)
