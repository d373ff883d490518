"""Every measure of segmentation on every frame, and their means: frame -> clip -> patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Bools, Floats, Ints, require_axes, require_same_shape
from sfvd_pl.metrics.segmentation import (
    THRESHOLD,
    cldice,
    false_components,
    length_ratio,
    overlap_scores,
    surface_distances,
    wire_pair,
)
from sfvd_pl.metrics.wire import Wire, mean_tip_error, tip_distances

PCK_PX = (2, 5, 10)
PCK_MM = (1, 2, 5)
"""Distances up to which a tip counts as found."""


@dataclass(frozen=True)
class Measure:
    """What a reader needs to know of a measure.

    Attributes:
        name: Key in tables and in ``metrics.json``.
        title: For people.
        unit: ``share``, ``px``, ``mm``, ``ratio`` or ``count``.
        high: The largest value that is possible; the least is 0.
        better: The ``higher``, the ``lower``, or the closer to ``one``.
    """

    name: str
    title: str
    unit: Literal["share", "px", "mm", "ratio", "count"]
    high: float
    better: Literal["higher", "lower", "one"]


DEFINITIONS: tuple[Measure, ...] = (
    Measure("dice", "Dice", "share", 1, "higher"),
    Measure("iou", "IoU", "share", 1, "higher"),
    Measure("cldice", "clDice", "share", 1, "higher"),
    Measure("tip_error_px", "tip error", "px", inf, "lower"),
    Measure("tip_error_mm", "tip error", "mm", inf, "lower"),
    *(Measure(f"pck_{k}px", f"tip within {k} px", "share", 1, "higher") for k in PCK_PX),
    *(Measure(f"pck_{k}mm", f"tip within {k} mm", "share", 1, "higher") for k in PCK_MM),
    Measure("hd95_px", "HD95", "px", inf, "lower"),
    Measure("hd95_mm", "HD95", "mm", inf, "lower"),
    Measure("assd_px", "ASSD", "px", inf, "lower"),
    Measure("assd_mm", "ASSD", "mm", inf, "lower"),
    Measure("length_ratio", "length, found / label", "ratio", inf, "one"),
    Measure("false_components", "false wires a frame", "count", inf, "lower"),
)
MEASURES: tuple[str, ...] = tuple(measure.name for measure in DEFINITIONS)
HEADLINE: tuple[str, ...] = ("dice", "cldice", "tip_error_px")
"""Measures that arms are tested on; a test of each of them all would only invite picking."""


@dataclass(frozen=True)
class FrameScores:
    """All measures of some frames.

    Attributes:
        values: (N, K) float64, a row a frame and a column a measure, as ``MEASURES`` has them; NaN where a frame
            can't be measured: no label, no tip in view, no spacing, no length to be compared with.
    """

    values: Floats

    def __post_init__(self) -> None:
        """One column a measure."""
        require_axes(self.values, "N K", "values")
        if self.values.shape[1] != len(MEASURES):
            raise MetricsError(
                "a table of scores does not have one column a measure",
                key="values",
                expected=f"{len(MEASURES)} columns",
                found=f"shape {self.values.shape}",
                remedy="make it with score_frames",
            )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.values)

    def __getitem__(self, measure: str) -> Floats:
        """One measure of every frame, (N,)."""
        column: Floats = self.values[:, MEASURES.index(measure)]
        return column

    def columns(self) -> dict[str, Floats]:
        """The measures by name, in order."""
        return dict(zip(MEASURES, self.values.T, strict=True))

    @staticmethod
    def concatenate(parts: Sequence["FrameScores"]) -> "FrameScores":
        """Scores of consecutive runs of frames as one table; lets a caller read one clip at a time."""
        return FrameScores(np.concatenate([np.empty((0, len(MEASURES))), *(part.values for part in parts)]))


def score_frame(predicted: Array | Wire, label: Array | Wire, *, spacing_mm: float = float("nan")) -> dict[str, float]:
    """Every measure of one frame, in the order of ``MEASURES``.

    Args:
        predicted: (H, W), non-zero on the wire; the valid extent of a padded frame only.
        label: (H, W).
        spacing_mm: Distance between pixel centres; NaN where unknown, as are all measures in mm then.

    Raises:
        MetricsError: If the shapes differ or are not (H, W).
    """
    found, wire = wire_pair(predicted, label)
    overlap, union = overlap_scores(found, wire)
    hd95, assd = surface_distances(found, wire)
    tips = tip_distances(found, wire)
    error = mean_tip_error(tips, wire.diagonal)
    return {
        "dice": overlap,
        "iou": union,
        "cldice": cldice(found, wire),
        "tip_error_px": error,
        "tip_error_mm": error * spacing_mm,
        **{f"pck_{k}px": _within(tips, k) for k in PCK_PX},
        **{f"pck_{k}mm": _within(tips, k / spacing_mm) for k in PCK_MM},
        "hd95_px": hd95,
        "hd95_mm": hd95 * spacing_mm,
        "assd_px": assd,
        "assd_mm": assd * spacing_mm,
        "length_ratio": length_ratio(found, wire),
        "false_components": float(false_components(found, wire)),
    }


def _within(tips: Floats, limit: float) -> float:
    """Share of the tips in view that were found within ``limit`` px; NaN without any, or if the limit isn't known."""
    return float((tips <= limit).mean()) if tips.size and limit == limit else float("nan")


def score_frames(
    probability: Array,
    wire_mask: Array | Sequence[Wire],
    *,
    ignore: Array | None = None,
    threshold: int | float = THRESHOLD,
    annotated: Array | None = None,
    spacing_mm: float = float("nan"),
) -> FrameScores:
    """Score every frame of one clip, or of clips of one spacing.

    Args:
        probability: (N, H, W) in 0..1; a pixel is wire where it reaches ``threshold``. The valid extent of a
            padded frame only, or the rim of the picture would not be known.
        wire_mask: (N, H, W) labels, non-zero on the wire; or N wires, which are thinned once for all predictions.
        ignore: (N, H, W), non-zero where nobody knows whether there is a wire; what is predicted there counts neither
            as found nor as false. The labels' wires must not lie there. None: nowhere.
        threshold: Probability in 0..1.
        annotated: (N,) whether a label exists; frames without one get NaN in every measure. None: all have
            one.
        spacing_mm: Distance between pixel centres; NaN where unknown.

    Raises:
        MetricsError: If shapes differ or axes are wrong.
    """
    require_axes(probability, "N H W", "probability")
    if isinstance(wire_mask, np.ndarray):
        require_same_shape(wire_mask, probability, "wire_mask", "probability")
    elif len(wire_mask) != len(probability):
        raise MetricsError(
            "there is not one label a frame",
            key="wire_mask",
            expected=f"{len(probability)} wires",
            found=f"{len(wire_mask)} wires",
            remedy="pass the labels of the same frames",
        )
    if ignore is not None:
        require_same_shape(ignore, probability, "ignore", "probability")
    labelled = frame_flags(annotated, len(probability), "annotated")
    table = np.full((len(probability), len(MEASURES)), np.nan)
    for row in np.flatnonzero(labelled).tolist():
        found = np.asarray(probability[row]) >= threshold
        if ignore is not None:
            found &= np.asarray(ignore[row]) == 0
        table[row] = list(score_frame(found, wire_mask[row], spacing_mm=spacing_mm).values())
    return FrameScores(table)


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


@dataclass(frozen=True)
class ScoredFrames:
    """What is known of the frames that every arm was scored on.

    Attributes:
        clip: (N,) which of the clips a frame belongs to.
        frame: (N,) its index within the clip.
        visibility: (N,) CNR of its wire; NaN where it can't be measured.
        spacing_mm: (N,) NaN where unknown.
        names: Name of each clip.
        patients: Patient of each clip.
    """

    clip: Ints
    frame: Ints
    visibility: Floats
    spacing_mm: Floats
    names: tuple[str, ...]
    patients: tuple[str, ...]

    def __post_init__(self) -> None:
        """One value a frame, one name and patient a clip, clips that are there."""
        for key in ("frame", "visibility", "spacing_mm"):
            require_same_shape(getattr(self, key), self.clip, key, "clip")
        if len(self.names) != len(self.patients):
            raise MetricsError(
                "there is not one patient a clip",
                key="patients",
                expected=f"{len(self.names)} names",
                found=f"{len(self.patients)} names",
                remedy="pass the column clips/patient of the same artifact",
            )
        if len(self.clip) and not (0 <= self.clip.min() and self.clip.max() < len(self.names)):
            raise MetricsError(
                "a frame belongs to no clip",
                key="clip",
                expected=f"numbers within 0..{len(self.names) - 1}",
                found=f"{self.clip.min()}..{self.clip.max()}",
                remedy="verify the artifact that the clip table came from",
            )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.clip)

    @property
    def everybody(self) -> tuple[str, ...]:
        """The patients, in alphabetical order."""
        return tuple(sorted(set(self.patients)))

    @property
    def owner(self) -> Ints:
        """(M,) which of ``everybody`` each clip belongs to."""
        return np.searchsorted(np.asarray(self.everybody), np.asarray(self.patients)).astype(np.int64)

    def clip_means(self, scores: FrameScores, keep: Bools | None = None) -> Floats:
        """(M, K) mean of each measure over a clip's frames.

        Args:
            scores: Of these frames.
            keep: (N,) frames that count; all without it.

        Raises:
            MetricsError: If they are the scores of other frames.
        """
        require_same_shape(scores.values[:, 0], self.clip, "scores", "clip")
        values = scores.values if keep is None else np.where(keep[:, None], scores.values, np.nan)
        return group_means(values, self.clip, len(self.names))

    def patient_means(self, scores: FrameScores, keep: Bools | None = None) -> Floats:
        """(P, K) mean of each measure over a patient's clips, which all count the same; in the order of
        ``everybody``. Arguments and errors as :meth:`clip_means`.
        """
        return group_means(self.clip_means(scores, keep), self.owner, len(self.everybody))


def group_means(values: Array, group: Array, count: int) -> Floats:
    """Means of the finite values in each group, column by column.

    Args:
        values: (N, K).
        group: (N,) numbers of groups.
        count: How many groups there are, G.

    Returns:
        (G, K); NaN where a group has no finite value.
    """
    known = np.isfinite(values)
    sums, counts = np.zeros((count, values.shape[1])), np.zeros((count, values.shape[1]), dtype=np.int64)
    np.add.at(sums, group, np.where(known, values, 0.0))
    np.add.at(counts, group, known)
    means: Floats = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means
