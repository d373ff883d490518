"""Motion of one set of clips beside others: the wire's displacement, smoothness of the rest, drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvd_pl.metrics.arrays import Array, Bools, Floats
from sfvd_pl.metrics.displacement import (
    FAR_PX,
    displacement_correlation,
    displacement_sums,
    wire_displacement,
)
from sfvd_pl.metrics.drift import MAX_FRAMES, MEASURES, drift_measures, frame_curves, frame_measures
from sfvd_pl.metrics.flow import SMOOTHNESS, smoothness_measures
from sfvd_pl.metrics.rows import RowAccumulator, Values


@dataclass(frozen=True)
class ClipMotion:
    """What was measured of one clip.

    Attributes:
        measures: A number each.
        by_frame: A number a frame each.
        sums: From which the correlation of displacements is pooled over clips.
    """

    measures: Values
    by_frame: dict[str, Floats]
    sums: Floats


def clip_motion(
    clip: Array,
    wire_mask: Array,
    annotated: Bools | None = None,
    *,
    ignore: Array | None = None,
    intensity_max: int | float = 255,
    smoothness: bool = True,
) -> ClipMotion:
    """Motion of a clip: the wire's displacement, flow and flicker outside of it, drift.

    Args:
        clip: (T, H, W), the valid extent only.
        wire_mask: (T, H, W), non-zero on the wire.
        annotated: (T,), frames whose mask is known; all without it.
        ignore: (T, H, W), pixels that count neither as the wire's surroundings nor as picture without wire.
        intensity_max: Full scale.
        smoothness: Also measure the flow and flicker outside the wire, which mean nothing for masks that lie
            elsewhere; otherwise they are NaN.

    Raises:
        MetricsError: If axes or shapes are wrong.
    """
    found = wire_displacement(clip, wire_mask, annotated)
    by_frame = frame_measures(clip, wire_mask, found.offset_by_frame, ignore=ignore, intensity_max=intensity_max)
    hidden = wire_mask if ignore is None else np.maximum(wire_mask, ignore)
    error, there = np.abs(found.picture - found.mask), len(found.mask) > 0
    smooth = dict.fromkeys(SMOOTHNESS, float("nan"))
    return ClipMotion(
        measures={
            "displacement_error_px": float(np.median(error)) if there else float("nan"),
            "displacement_far": float((error > FAR_PX).mean()) if there else float("nan"),
            "mask_motion_px": float(np.abs(found.mask).mean()) if there else float("nan"),
            **(smoothness_measures(clip, hidden, intensity_max=intensity_max) if smoothness else smooth),
            **drift_measures(by_frame),
        },
        by_frame=by_frame,
        sums=displacement_sums(found),
    )


class MotionAccumulator:
    """Motion of a set of clips, one at a time; keeps numbers, never pictures.

    Args:
        frames: Length of the curves by frame index, at most ``MAX_FRAMES``; shorter clips leave their end out.
    """

    def __init__(self, *, frames: int = MAX_FRAMES) -> None:
        self.frames = min(frames, MAX_FRAMES)
        self._measures, self._curves = RowAccumulator(), RowAccumulator()
        self._sums: list[Floats] = []
        self._groups: list[str] = []

    def update(self, group: str, motion: ClipMotion) -> None:
        """Add a clip.

        Args:
            group: What it is resampled with: its patient, or the clip itself.
            motion: What :func:`clip_motion` measured of it.
        """
        self._groups.append(group)
        self._sums.append(motion.sums)
        self._curves.update(group, frame_curves(motion.by_frame, self.frames))
        self._measures.update(group, motion.measures)

    def row(self, name: str, *, seed: int = 0) -> dict[str, Any]:
        """The set's row of the section ``motion``; nothing but name and number for a set without clips."""
        row = self._measures.row(name, seed=seed)
        if len(self._measures):
            pooled = displacement_correlation(np.stack(self._sums), self._groups, seed=seed)
            row["displacement_correlation"] = pooled.as_dict()
            curves = self._curves.row(name, seed=seed)
            row["by_frame"] = {measure: curves[measure] for measure in MEASURES}
        return row


def motion_section(reference: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The section ``motion`` of a metrics file."""
    return {"reference": dict(reference), "rows": [dict(row) for row in rows]}
