"""The plan: what each clip shows, where its wire lies and how plain it is to be, decided before any is drawn."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8, UInt16
from numpy.typing import NDArray
from scipy.stats import triang

from sfvd_pl.datasets.courses import labelled_sequence, vessel_sequence
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.suspicion import Suspicion, suspected
from sfvd_pl.datasets.windows import REGION_RADIUS_PX, band_around, philox
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.errors import ConfigError, SourceError
from sfvd_pl.metrics.visibility import clip_median, clip_visibility
from sfvd_pl.sources.phantom.simulate import simulate_wire_masks


@dataclass(frozen=True)
class PlanConfig:
    """How many clips and how they vary.

    Attributes:
        num_clips: Clips to make.
        frames: Length of a clip.
        anchored: Share of the clips that show a real training clip; the rest has a generated background.
        window: Side of the clips with a generated background, pixels.
        vessel_share: Share of the anchored clips whose wire follows a visible course of its background.
        labelled_share: Share of all clips whose wire is that of a labelled training clip, moved; those that are left
            have a simulated wire on a free course.
        attenuation: A clip's wire is to be as plain as one that takes so much of the signal (0.1: a tenth) would be on
            its background. Its logarithm is drawn from a triangle over these limits, moved out to half the least and
            twice the greatest attenuation of the labelled wires; most often it lies in the middle of those given.
        hard_share: Share of the clips whose contrast is lowered step by step, as long as the gate's first rules hold,
            until the guide fails.
        erase_known: Erase the wire that is known in a background; else it stays, and is labelled too.
        segmentation_scale: Strength of the segmentation guidance (units of x0 a guided step), drawn evenly in +- this.
    """

    num_clips: int = 64
    frames: int = 9
    anchored: float = 1.0
    window: int = 64
    vessel_share: float = 0.5
    labelled_share: float = 0.25
    attenuation: tuple[float, float] = (0.04, 0.25)
    hard_share: float = 0.0
    erase_known: bool = False
    segmentation_scale: float = 0.0

    def __post_init__(self) -> None:
        """Check counts and shares."""
        if self.num_clips < 1:
            raise ConfigError("nothing to make", key="num_clips", expected="at least 1", found=self.num_clips)
        for key in ("anchored", "vessel_share", "labelled_share", "hard_share"):
            if not 0.0 <= getattr(self, key) <= 1.0:
                raise ConfigError("a share lies outside 0..1", key=key, expected="0..1", found=getattr(self, key))


@dataclass(frozen=True)
class PlannedClip:
    """One clip to draw.

    Attributes:
        sample_id: Identity: with the seed it decides all noise.
        background: Name of the training clip that is shown; empty for a generated background.
        background_patient: Its patient.
        background_start: First of its frames that is shown.
        frames: ``T H W``, those frames as integers of the source's depth; None for a generated background.
        wire_mask: ``T H W``, the wire to draw.
        known_wire: ``T H W``, the wire that the background is known to show.
        erased: Whether that one is erased.
        ignore: ``T H W``, 1 where nobody knows whether the background shows a wire.
        mask_origin: ``vessel``, ``labelled`` or ``simulated``.
        mask_source: Name of the clip, or seed of the course.
        visibility: Contrast-to-noise ratio asked for.
        hard: Whether the contrast is lowered until the guide fails.
        segmentation_scale: Strength of the segmentation guidance; positive makes the wire clearer.
    """

    sample_id: int
    background: str
    background_patient: str
    background_start: int
    frames: UInt8[np.ndarray, "T H W"] | UInt16[np.ndarray, "T H W"] | None
    wire_mask: UInt8[np.ndarray, "T H W"]
    known_wire: UInt8[np.ndarray, "T H W"]
    erased: bool
    ignore: UInt8[np.ndarray, "T H W"]
    mask_origin: str
    mask_source: str
    visibility: float
    hard: bool
    segmentation_scale: float

    @property
    def label(self) -> UInt8[np.ndarray, "T H W"]:
        """All wires that the clip shows as far as is known."""
        return self.wire_mask if self.erased else self.wire_mask | self.known_wire

    @property
    def region(self) -> Bool[np.ndarray, "T H W"]:
        """What is drawn."""
        if self.frames is None:
            return np.ones(self.wire_mask.shape, np.bool_)
        return band_around(self.wire_mask | self.known_wire if self.erased else self.wire_mask, REGION_RADIUS_PX)


class Plan:
    """Turns a sample id into a planned clip. Clips and masks of validation and test patients never enter.

    Args:
        config: How many and how they vary.
        source: The source artifact.
        suspects: What the guide suspects in the training clips.
        seed: Of the run.

    Raises:
        SourceError: No training clip is long enough, or no labelled wire can be measured.
    """

    def __init__(self, config: PlanConfig, source: Path | str, suspects: Path | str, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.index = ClipIndex(source, "train")
        self.index.require_labels()
        self.suspicion = Suspicion(suspects, self.index.artifact)
        self.sample_ids = list(range(config.num_clips))
        length = self.index.length
        self.backgrounds = [int(c) for c in self.index.clips if length[c] >= config.frames]
        if not self.backgrounds:
            raise SourceError(
                "no training clip is long enough to be shown",
                file=self.index.artifact.path,
                key="clips/length",
                expected=f"at least {config.frames} frames",
                found=f"longest {max(length[self.index.clips])}",
                remedy="shorten plan.frames, or bring longer clips",
            )
        self.labelled = self.index.labelled_runs(config.frames)
        labelled = self.index.labelled_attenuation()
        low, high = config.attenuation
        self.attenuation = min(low, 0.5 * float(labelled.min())), max(high, 2.0 * float(labelled.max()))
        seen = self.index.artifact.column("frames/visibility")[self.index.labelled_rows]
        self.visibility_per_attenuation = float(np.nanmedian(seen) / np.median(labelled))
        self.wire_width_px = self.index.wire_width_px()

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Height and width of the frames that hold every clip of the plan."""
        window = (self.config.window,) if self.config.anchored < 1.0 else ()
        clips = self.backgrounds if self.config.anchored > 0.0 else []
        return (
            max(*window, *(int(self.index.height[c]) for c in clips), 0),
            max(*window, *(int(self.index.width[c]) for c in clips), 0),
        )

    def clip(self, sample_id: int) -> PlannedClip:
        """The clip with this id. Backgrounds take turns, in an order of chance."""
        config, index = self.config, self.index
        rng = philox(sample_seed(self.seed, sample_id, "plan"))
        uniform = rng.random(5)
        asked: dict[str, Any] = {
            "sample_id": sample_id,
            "erased": config.erase_known,
            "hard": bool(uniform[1] < config.hard_share),
            "segmentation_scale": config.segmentation_scale * float(2 * uniform[2] - 1),
        }
        if uniform[3] >= config.anchored:
            shape = (config.frames, config.window, config.window)
            nothing = np.zeros(shape, np.uint8)
            mask, origin, mask_source = self._course(rng, None, nothing, shape)
            return PlannedClip(
                background="", background_patient="", background_start=0, frames=None, wire_mask=mask,
                known_wire=nothing, ignore=nothing, mask_origin=origin, mask_source=mask_source,
                visibility=self._attenuation(uniform[0]) * self.visibility_per_attenuation, **asked,
            )  # fmt: skip
        number, turn = sample_id % len(self.backgrounds), sample_id // len(self.backgrounds)
        order = philox(sample_seed(self.seed, turn, "backgrounds")).permutation(len(self.backgrounds))
        clip = self.backgrounds[order[number]]
        start = int(uniform[4] * (index.length[clip] - config.frames + 1))
        offsets = np.arange(start, start + config.frames)
        known_wire = index.wire_mask(clip, offsets)
        unknown, likely = self._unknown(clip, offsets)
        image = index.image(clip, offsets)
        mask, origin, mask_source = self._course(rng, image, known_wire | likely, known_wire.shape)
        ignore = unknown & (1 - (mask | known_wire))
        plain = image * np.exp(-self._attenuation(uniform[0]) * mask)
        return PlannedClip(
            background=str(index.name[clip]),
            background_patient=str(index.patient[clip]),
            background_start=start,
            frames=index.pixels(clip, offsets),
            wire_mask=mask,
            known_wire=known_wire,
            ignore=ignore,
            mask_origin=origin,
            mask_source=mask_source,
            visibility=clip_median(clip_visibility(plain, mask, ignore=ignore)),
            **asked,
        )

    def _attenuation(self, uniform: float) -> float:
        low, high = np.log(self.attenuation)
        mode = np.log(self.config.attenuation).mean()
        shape = (mode - low) / (high - low)
        return float(np.exp(triang.ppf(uniform, shape, loc=low, scale=high - low)))

    def _unknown(
        self, clip: int, offsets: NDArray[np.int64]
    ) -> tuple[UInt8[np.ndarray, "T H W"], UInt8[np.ndarray, "T H W"]]:
        """Pixels of which nobody knows whether they are wire, and those of them that more likely are."""
        unknown = self.index.ignore(clip, offsets)
        likely = np.zeros_like(unknown)
        rows = self.index.start[clip] + offsets
        for frame, (row, known) in enumerate(zip(rows, self.index.known(clip, offsets), strict=True)):
            if not known:
                probability = self.suspicion.probability(int(row))
                unknown[frame], likely[frame] = suspected(probability), probability > 0.5
        return unknown, likely

    def _course(
        self,
        rng: np.random.Generator,
        frames: Float[np.ndarray, "T H W"] | None,
        avoid: UInt8[np.ndarray, "T H W"],
        shape: tuple[int, ...],
    ) -> tuple[UInt8[np.ndarray, "T H W"], str, str]:
        """A mask sequence, its origin and its source."""
        kind, course_seed = rng.random(), int(rng.integers(2**31))
        course_rng = philox(course_seed)
        if kind < self.config.vessel_share and frames is not None:
            mask = vessel_sequence(frames, course_rng, self.wire_width_px, avoid > 0)
            if mask is not None:
                return mask, "vessel", str(course_seed)
        elif kind < self.config.vessel_share + self.config.labelled_share and self.labelled:
            clip, first = self.labelled[int(rng.integers(len(self.labelled)))]
            sequence = self.index.wire_mask(clip, np.arange(first, first + shape[0]))
            mask = labelled_sequence(sequence, shape[1], shape[2], course_rng)
            if mask is not None:
                return mask, "labelled", str(self.index.name[clip])
        mask = simulate_wire_masks(course_seed, *shape, width_px=self.wire_width_px)
        return mask, "simulated", str(course_seed)
