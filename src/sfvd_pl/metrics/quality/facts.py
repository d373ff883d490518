"""What a quality control knows of each clip, and the limits that it holds it against."""

from dataclasses import dataclass, fields

import numpy as np

from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.quality.exposure import Exposure
from sfvd_pl.metrics.quality.masks import MaskShape
from sfvd_pl.metrics.quality.placement import Placement


@dataclass(frozen=True)
class ClipFacts:
    """One clip, measured.

    Attributes:
        name, patient, split: As in the artifact.
        labelled: Whether training may use its masks.
        frames: Number of frames.
        height, width: Of the picture without padding, px.
        fps, spacing_mm: NaN where unknown.
        annotated: Frames with a mask, also an empty one.
        masks: Shape of the mask of each annotated frame, in the order of ``annotated``.
        visibility: Median CNR of the annotated frames; NaN where none could be measured.
        placement: Where the masks fit best; None where there is nothing to measure.
        exposure: Intensities and noise.
    """

    name: str
    patient: str
    split: str
    labelled: bool
    frames: int
    height: int
    width: int
    fps: float
    spacing_mm: float
    annotated: tuple[int, ...]
    masks: tuple[MaskShape, ...]
    visibility: float
    placement: Placement | None
    exposure: Exposure

    @property
    def wired(self) -> int:
        """Frames whose mask holds a wire."""
        return sum(mask.pixels > 0 for mask in self.masks)


@dataclass(frozen=True)
class CopyFacts:
    """Frames that two clips share.

    Attributes:
        first, second: Rows of the clips; the first is the lower.
        frames: Pairs (frame of the first, frame of the second).
        exact: Whether the pixels are the same.
        how: What was done to the copy, in words; empty where nothing shows.
        structure, grain: Correlation of fine structure and of what is new in each frame, of the best pair.
    """

    first: int
    second: int
    frames: tuple[tuple[int, int], ...]
    exact: bool
    how: str = ""
    structure: float = 1.0
    grain: float = 1.0


@dataclass(frozen=True)
class Limits:
    """What findings are measured against; ``docs/check.md`` says where each number comes from.

    Args:
        offset_px: A mask displaced by this much or more lies beside its wire.
        offset_gain: It must be darker there by this factor; by ``error_gain`` for an error.
        error_gain: See ``offset_gain``.
        late_gain: Gain of darkness on another frame, in units of local strength, that means a slip in time.
        unseen: Darkness under the masks below which nothing of a wire is seen there.
        bright: CNR below which the labelled wire counts as brighter than its surroundings.
        width_px: A mask wider than this (median along its centreline) is hardly a wire; twice as wide is none.
        area_share: Share of the frame that no wire covers.
        pieces: More pieces than this are hardly one wire.
        pixels: A mask of fewer pixels is a speck.
        patients: Labelled patients that each split needs.
        frames: Labelled frames that each split needs.
        clipped: Share of pixels at either end of the scale.
        border: Share of the frame that a constant border may cover.
        levels: Fewer grey levels are few.
        outlier_z: Robust z-score beyond which a clip is unlike the others.
    """

    offset_px: int = 2
    offset_gain: float = 1.1
    error_gain: float = 1.3
    late_gain: float = 0.05
    unseen: float = 0.15
    bright: float = -0.25
    width_px: float = 6.0
    area_share: float = 0.1
    pieces: int = 6
    pixels: int = 4
    patients: int = 2
    frames: int = 16
    clipped: float = 0.05
    border: float = 0.02
    levels: int = 48
    outlier_z: float = 4.5

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing."""
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name != "bright" and not (np.isfinite(value) and value >= 0):
                raise ConfigError(
                    "not a limit", key=item.name, expected="a number of at least 0", found=value
                )
