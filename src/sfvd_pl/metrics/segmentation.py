"""Measures of one predicted wire mask against its label, and their means over clips and patients.

Conventions where a mask is empty, for every overlap measure here: both empty is right and scores 1 (a
distance: 0), one empty is wrong and scores 0 (a distance: the diagonal of the frame, the largest error that
it holds). Nothing is left out of a mean because a network failed on it. See ``docs/metrics.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import (
    Array,
    Bools,
    Floats,
    clip_slices,
    finite_mean,
    require_axes,
    require_same_shape,
)
from sfvd_pl.metrics.wire import crop_to, skeleton, tip_error

THRESHOLD = 0.5
PatientTable = Mapping[str, Mapping[str, float]]
"""Patient -> measure -> mean over that patient's clips."""


def dice(predicted: Array, label: Array) -> float:
    """Dice overlap ``2 |P and L| / (|P| + |L|)``, in 0..1; 1 where both are empty.

    Args:
        predicted: Any shape, non-zero on the wire.
        label: The same shape.

    Raises:
        MetricsError: If the shapes differ.
    """
    found, wire = _pair(predicted, label)
    total = int(found.sum()) + int(wire.sum())
    return 1.0 if total == 0 else 2.0 * int((found & wire).sum()) / total


def iou(predicted: Array, label: Array) -> float:
    """Intersection over union, in 0..1; 1 where both are empty. Arguments and errors as :func:`dice`."""
    found, wire = _pair(predicted, label)
    union = int((found | wire).sum())
    return 1.0 if union == 0 else int((found & wire).sum()) / union


def cldice(predicted: Array, label: Array) -> float:
    """Centreline Dice: the harmonic mean of the two centrelines' shares that lie within the other mask.

    Shit et al., "clDice", CVPR 2021, equation 3, with scikit-image's thinning as the skeleton. It asks
    whether the course of the wire is found, whatever its thickness.

    Args:
        predicted: (H, W), non-zero on the wire.
        label: (H, W).

    Returns:
        0..1; 1 where both are empty, 0 where one is.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    found, wire = _frame_pair(predicted, label)
    if not found.any() or not wire.any():
        return float(found.any() == wire.any())
    found_line, wire_line = skeleton(found), skeleton(wire)
    precision = float(wire[found_line].mean())
    sensitivity = float(found[wire_line].mean())
    total = precision + sensitivity
    return 0.0 if total == 0.0 else 2.0 * precision * sensitivity / total


def surface_distances(predicted: Array, label: Array) -> tuple[float, float]:
    """95th percentile Hausdorff distance and average symmetric surface distance, in pixels.

    A surface is the mask's pixels that have a 4-neighbour outside it. HD95 is the larger of the two directed
    95th percentiles; ASSD is the mean over both surfaces' pixels together.

    Args:
        predicted: (H, W), non-zero on the wire.
        label: (H, W).

    Returns:
        ``(hd95, assd)``; 0 where both are empty, the frame's diagonal where one is.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    found, wire = _frame_pair(predicted, label)
    if not found.any() or not wire.any():
        error = 0.0 if found.any() == wire.any() else float(np.hypot(*found.shape))
        return error, error
    box = crop_to(found | wire)
    found, wire = np.pad(found[box], 1), np.pad(wire[box], 1)
    found_edge = found & ~ndimage.binary_erosion(found)
    wire_edge = wire & ~ndimage.binary_erosion(wire)
    to_wire = ndimage.distance_transform_edt(~wire_edge)[found_edge]
    to_found = ndimage.distance_transform_edt(~found_edge)[wire_edge]
    hd95 = max(float(np.percentile(to_wire, 95)), float(np.percentile(to_found, 95)))
    return hd95, float(np.concatenate([to_wire, to_found]).mean())


def _pair(predicted: Array, label: Array) -> tuple[Bools, Bools]:
    require_same_shape(predicted, label, "predicted", "label")
    return np.asarray(predicted) != 0, np.asarray(label) != 0


def _frame_pair(predicted: Array, label: Array) -> tuple[Bools, Bools]:
    require_axes(predicted, "H W", "predicted")
    return _pair(predicted, label)


@dataclass(frozen=True)
class FrameScores:
    """One value a frame and measure, float64 (N,); NaN where the frame can't be measured.

    Attributes:
        dice: Dice overlap, 0..1.
        iou: Intersection over union, 0..1.
        cldice: Centreline Dice, 0..1.
        tip_error_px: Error of the wire's tip in pixels; NaN also where no tip is in view.
        hd95_px: 95th percentile Hausdorff distance in pixels.
        assd_px: Average symmetric surface distance in pixels.
    """

    dice: Floats
    iou: Floats
    cldice: Floats
    tip_error_px: Floats
    hd95_px: Floats
    assd_px: Floats

    def __len__(self) -> int:
        """Number of frames."""
        return int(self.dice.size)

    def columns(self) -> dict[str, Floats]:
        """The measures by name, in order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def concatenate(parts: Sequence["FrameScores"]) -> "FrameScores":
        """Scores of consecutive runs of frames as one table; lets a caller read one clip at a time."""
        if not parts:
            return FrameScores(**{name: np.empty(0) for name in MEASURES})
        return FrameScores(
            **{name: np.concatenate([part.columns()[name] for part in parts]) for name in MEASURES}
        )


MEASURES: tuple[str, ...] = tuple(field.name for field in fields(FrameScores))


def score_frames(
    probability: Array,
    wire_mask: Array,
    *,
    threshold: int | float = THRESHOLD,
    annotated: Array | None = None,
) -> FrameScores:
    """Score every frame of a flat table, or of one clip.

    Args:
        probability: (N, H, W) in 0..1; a pixel is wire where it reaches ``threshold``.
        wire_mask: (N, H, W) labels, non-zero on the wire.
        threshold: Probability in 0..1.
        annotated: (N,) whether a label exists; frames without one get NaN in every measure. None: all have
            one.

    Raises:
        MetricsError: If shapes differ or axes are wrong.
    """
    require_axes(probability, "N H W", "probability")
    require_same_shape(wire_mask, probability, "wire_mask", "probability")
    labelled = frame_flags(annotated, len(probability), "annotated")
    table = np.full((len(probability), len(MEASURES)), np.nan)
    for row in np.flatnonzero(labelled):
        found, wire = np.asarray(probability[row]) >= threshold, np.asarray(wire_mask[row]) != 0
        hd95, assd = surface_distances(found, wire)
        table[row] = (
            dice(found, wire),
            iou(found, wire),
            cldice(found, wire),
            tip_error(found, wire),
            hd95,
            assd,
        )
    return FrameScores(**dict(zip(MEASURES, table.T, strict=True)))


def frame_flags(flags: Array | None, n_frames: int, key: str) -> Bools:
    """One truth value a frame, (N,) bool; all True where ``flags`` is None."""
    if flags is None:
        return np.ones(n_frames, dtype=np.bool_)
    values = np.asarray(flags).astype(np.bool_)
    if values.shape != (n_frames,):
        raise MetricsError(
            f"{key} does not have one value a frame",
            key=key,
            expected=f"shape ({n_frames},)",
            found=f"shape {values.shape}",
            remedy="pass the column of the same frames table",
        )
    return values


def clip_means(values: Array, start: Array, length: Array) -> Floats:
    """Mean over each clip's measured frames.

    Args:
        values: (N,) one value a frame, NaN where not measured.
        start: (M,) first row of each clip.
        length: (M,) rows of each clip.

    Returns:
        (M,); NaN where no frame of a clip was measured.
    """
    require_axes(values, "N", "values")
    return np.array(
        [finite_mean(values[rows]) for rows in clip_slices(start, length, len(values))], dtype=np.float64
    )


def patient_means(clip_values: Array, patients: Sequence[str]) -> dict[str, float]:
    """Mean over each patient's measured clips, in alphabetical order; NaN where none was measured."""
    if len(clip_values) != len(patients):
        raise MetricsError(
            "there is not one patient a clip",
            key="patients",
            expected=f"{len(clip_values)} names",
            found=f"{len(patients)} names",
            remedy="pass the column clips/patient of the same artifact",
        )
    owner = np.asarray(patients, dtype=object)
    return {
        patient: finite_mean(np.asarray(clip_values)[owner == patient]) for patient in sorted(set(patients))
    }


def patient_table(
    scores: FrameScores, *, start: Array, length: Array, patients: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Frame scores aggregated frame -> clip -> patient, every clip of a patient counting the same.

    Args:
        scores: One row a frame.
        start: (M,) first row of each clip.
        length: (M,) rows of each clip.
        patients: M names.

    Returns:
        Patient -> measure -> mean.
    """
    columns = {
        name: patient_means(clip_means(values, start, length), patients)
        for name, values in scores.columns().items()
    }
    return {patient: {name: columns[name][patient] for name in MEASURES} for patient in sorted(set(patients))}
