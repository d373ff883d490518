"""Motion of one set of clips beside others: the wire's displacement, smoothness of the rest, drift."""

from collections.abc import Mapping, Sequence
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


class MotionAccumulator:
    """Motion of a set of clips, one at a time; keeps numbers, never pictures.

    Args:
        intensity_max: Full scale.
        frames: Length of the curves by frame index, at most ``MAX_FRAMES``; shorter clips leave their end out.
        smoothness: Also measure the flow and flicker outside the wire, which mean nothing for masks that lie
            elsewhere; otherwise they are NaN.
    """

    def __init__(
        self, *, intensity_max: int | float = 255, frames: int = MAX_FRAMES, smoothness: bool = True
    ) -> None:
        self.intensity_max = intensity_max
        self.smoothness = smoothness
        self.frames = min(frames, MAX_FRAMES)
        self._measures, self._curves = RowAccumulator(), RowAccumulator()
        self._sums: list[Floats] = []
        self._groups: list[str] = []

    def update(self, group: str, clip: Array, wire_mask: Array, annotated: Bools | None = None) -> None:
        """Add a clip.

        Args:
            group: What it is resampled with: its patient, or the clip's own name.
            clip: (T, H, W), the valid extent only.
            wire_mask: (T, H, W), non-zero on the wire.
            annotated: (T,), frames whose mask is known; all without it.

        Raises:
            MetricsError: If axes or shapes are wrong.
        """
        found = wire_displacement(clip, wire_mask, annotated)
        by_frame = frame_measures(clip, wire_mask, found.offset_by_frame, intensity_max=self.intensity_max)
        error = np.abs(found.picture - found.mask)
        self._groups.append(group)
        self._sums.append(displacement_sums(found))
        self._curves.update(group, frame_curves(by_frame, self.frames))
        self._measures.update(
            group,
            {
                "displacement_error_px": float(np.median(error)) if error.size else float("nan"),
                "displacement_far": float((error > FAR_PX).mean()) if error.size else float("nan"),
                "mask_motion_px": float(np.abs(found.mask).mean()) if error.size else float("nan"),
                **self._smooth(clip, wire_mask),
                **drift_measures(by_frame),
            },
        )

    def _smooth(self, clip: Array, wire_mask: Array) -> Values:
        if not self.smoothness:
            return dict.fromkeys(SMOOTHNESS, float("nan"))
        return smoothness_measures(clip, wire_mask, intensity_max=self.intensity_max)

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
