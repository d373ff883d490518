"""Label fidelity: whether an independent segmenter finds the wire where a clip's own label says it is.

For a synthetic clip the label is the mask that drove its generation. The same measure on held-out real clips
says what that segmenter can do at all, and the shuffled control, in which every prediction is scored against
the mask of another clip, says what chance gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import (
    Array,
    Floats,
    Ints,
    clip_slices,
    finite_mean,
    require_axes,
    require_same_shape,
)
from sfvd_pl.metrics.bootstrap import Interval, patient_bootstrap
from sfvd_pl.metrics.segmentation import THRESHOLD, dice, frame_flags

VISIBILITY_EDGES: tuple[float, ...] = (float("-inf"), 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, float("inf"))
"""Limits of the bins of visibility (CNR); a bin holds its lower limit and not its upper one."""


@dataclass(frozen=True)
class LabelFidelity:
    """Label fidelity of one set of clips.

    Attributes:
        dice: Mean over clips of the mean Dice over a clip's labelled frames, with its interval over patients.
        n_clips: Clips with at least one labelled frame.
        by_frame: (T,) mean Dice by frame index within the clip, over the clips that have that frame labelled.
        drift: ``by_frame[-1] / by_frame[0]``: below 1 where the label is lost as a clip goes on.
        visibility_edges: (K + 1,) limits of the bins of visibility.
        by_visibility: (K,) mean Dice over the frames in each bin, NaN in an empty one.
        n_by_visibility: (K,) frames in each bin.
        shuffled: As ``dice``'s estimate, against the masks of other clips; NaN where there was no control.
    """

    dice: Interval
    n_clips: int
    by_frame: Floats
    drift: float
    visibility_edges: tuple[float, ...]
    by_visibility: Floats
    n_by_visibility: Ints
    shuffled: float


class LabelFidelityAccumulator:
    """Label fidelity, one clip at a time; keeps a few numbers a clip, never its pictures.

    Args:
        threshold: A pixel is wire where the probability reaches it.
        visibility_edges: Ascending limits of the bins of visibility.

    Raises:
        MetricsError: If the limits do not ascend.
    """

    def __init__(
        self,
        *,
        threshold: int | float = THRESHOLD,
        visibility_edges: Sequence[int | float] = VISIBILITY_EDGES,
    ) -> None:
        self.threshold = threshold
        self.edges = tuple(float(edge) for edge in visibility_edges)
        if len(self.edges) < 2 or any(
            low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)
        ):
            raise MetricsError(
                "the bins of visibility have no width",
                key="visibility_edges",
                expected="at least two limits, ascending",
                found=self.edges,
                remedy="sort the limits and drop repeated ones",
            )
        self._by_patient: dict[str, list[float]] = {}
        self._shuffled: list[float] = []
        self._frame_sums: Floats = np.zeros(0)
        self._frame_counts: Ints = np.zeros(0, dtype=np.int64)
        self._bin_sums: Floats = np.zeros(len(self.edges) - 1)
        self._bin_counts: Ints = np.zeros(len(self.edges) - 1, dtype=np.int64)

    def update(
        self,
        probability: Array,
        wire_mask: Array,
        *,
        patient: str,
        visibility: Array | None = None,
        annotated: Array | None = None,
        other_mask: Array | None = None,
    ) -> float:
        """Add one clip.

        Args:
            probability: (T, H, W) in 0..1, of the independent segmenter.
            wire_mask: (T, H, W), the clip's own label.
            patient: Whose clip it is; clips of a patient are resampled together.
            visibility: (T,) measured CNR, NaN where unknown; None leaves the clip out of the bins.
            annotated: (T,) whether a frame has a label; None: all have one.
            other_mask: (T', H, W), the label of another clip, for the shuffled control, compared as far as
                both reach; None leaves the clip out of the control.

        Returns:
            The clip's mean Dice; NaN, and nothing is added, where no frame has a label.

        Raises:
            MetricsError: If shapes differ.
        """
        require_axes(probability, "T H W", "probability")
        require_same_shape(wire_mask, probability, "wire_mask", "probability")
        found = np.asarray(probability) >= self.threshold
        labelled = frame_flags(annotated, len(found), "annotated")
        if not labelled.any():
            return float("nan")
        scores = np.array(
            [dice(found[t], wire_mask[t]) if labelled[t] else np.nan for t in range(len(found))],
            dtype=np.float64,
        )
        if visibility is not None:
            self._add_to_bins(scores, np.asarray(visibility, dtype=np.float64))
        if other_mask is not None:
            self._shuffled.append(self._control(found, labelled, other_mask))
        self._add_to_frames(scores)
        clip_mean = finite_mean(scores)
        self._by_patient.setdefault(patient, []).append(clip_mean)
        return clip_mean

    def _add_to_frames(self, scores: Floats) -> None:
        missing = max(len(scores) - len(self._frame_sums), 0)
        self._frame_sums = np.pad(self._frame_sums, (0, missing))
        self._frame_counts = np.pad(self._frame_counts, (0, missing))
        known = np.flatnonzero(np.isfinite(scores))
        self._frame_sums[known] += scores[known]
        self._frame_counts[known] += 1

    def _add_to_bins(self, scores: Floats, visibility: Floats) -> None:
        require_same_shape(visibility, scores, "visibility", "scores")
        known = np.isfinite(scores) & np.isfinite(visibility)
        bins = np.searchsorted(self.edges, visibility[known], side="right") - 1
        inside = (bins >= 0) & (bins < len(self._bin_sums))
        np.add.at(self._bin_sums, bins[inside], scores[known][inside])
        np.add.at(self._bin_counts, bins[inside], 1)

    def _control(self, found: Array, labelled: Array, other_mask: Array) -> float:
        require_axes(other_mask, "T H W", "other_mask")
        require_same_shape(other_mask[0], found[0], "other_mask[0]", "probability[0]")
        common = np.flatnonzero(labelled[: len(other_mask)])
        return finite_mean(np.array([dice(found[t], other_mask[t]) for t in common]))

    def result(self, *, n: int = 2000, seed: int = 0) -> LabelFidelity:
        """The measures so far.

        Args:
            n: Resamples of the interval.
            seed: Of the resampling.
        """
        by_frame = _ratio(self._frame_sums, self._frame_counts)
        first, last = (float(by_frame[0]), float(by_frame[-1])) if by_frame.size else (0.0, 0.0)
        return LabelFidelity(
            dice=patient_bootstrap(self._by_patient, n=n, seed=seed),
            n_clips=sum(len(values) for values in self._by_patient.values()),
            by_frame=by_frame,
            drift=last / first if first > 0 else float("nan"),
            visibility_edges=self.edges,
            by_visibility=_ratio(self._bin_sums, self._bin_counts),
            n_by_visibility=self._bin_counts.copy(),
            shuffled=finite_mean(np.asarray(self._shuffled)),
        )


def _ratio(sums: Floats, counts: Ints) -> Floats:
    means: Floats = np.full(sums.shape, np.nan)
    return np.divide(sums, counts, out=means, where=counts > 0)


def derangement(groups: Sequence[str], seed: int) -> Ints | None:
    """A random permutation that gives every clip the mask of a clip of another group.

    One real mask sequence may drive several synthetic clips. Such clips form a group, so that the control
    never scores a clip against a copy of its own mask.

    Args:
        groups: M names, such as the column clips/mask_source; all different where every mask is.
        seed: Of the permutation.

    Returns:
        (M,) int64, entry i the clip whose mask clip i gets; None where no such permutation exists, because
        one group holds more than half of the clips.
    """
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    counts = np.bincount(member, minlength=len(names))
    if len(groups) == 0 or 2 * int(counts.max()) > len(groups):
        return None
    generator = np.random.default_rng(seed)
    # Ordered by group, a shift by the largest group's size leaves every group behind.
    order = np.lexsort((generator.random(len(groups)), generator.permutation(len(names))[member]))
    partner = np.empty(len(groups), dtype=np.int64)
    partner[order] = np.roll(order, -int(counts.max()))
    return partner


def label_fidelity(
    probability: Array,
    wire_mask: Array,
    *,
    start: Array,
    length: Array,
    patients: Sequence[str],
    visibility: Array | None = None,
    annotated: Array | None = None,
    groups: Sequence[str] | None = None,
    threshold: int | float = THRESHOLD,
    visibility_edges: Sequence[int | float] = VISIBILITY_EDGES,
    seed: int = 0,
) -> LabelFidelity:
    """Label fidelity of a set of clips that fits in memory.

    Args:
        probability: (N, H, W) in 0..1, of the independent segmenter.
        wire_mask: (N, H, W) the clips' own labels.
        start: (M,) first row of each clip.
        length: (M,) rows of each clip.
        patients: M names.
        visibility: (N,) measured CNR, NaN where unknown.
        annotated: (N,) whether a frame has a label; None: all have one.
        groups: M names of masks, see :func:`derangement`; None: every clip has a mask of its own.
        threshold: A pixel is wire where the probability reaches it.
        visibility_edges: Ascending limits of the bins of visibility.
        seed: Of the permutation and of the interval.

    Raises:
        MetricsError: If shapes or lengths differ, or a clip leaves the table.
    """
    require_axes(probability, "N H W", "probability")
    require_same_shape(wire_mask, probability, "wire_mask", "probability")
    rows = list(clip_slices(start, length, len(probability)))
    names = [str(i) for i in range(len(rows))] if groups is None else list(groups)
    for key, values in (("patients", patients), ("groups", names)):
        if len(values) != len(rows):
            raise MetricsError(
                f"{key} does not have one name a clip",
                key=key,
                expected=f"{len(rows)} names",
                found=f"{len(values)} names",
                remedy="pass a column of the same clip table",
            )
    partner = derangement(names, seed)
    flags = frame_flags(annotated, len(probability), "annotated")
    accumulator = LabelFidelityAccumulator(threshold=threshold, visibility_edges=visibility_edges)
    for clip, frames in enumerate(rows):
        accumulator.update(
            probability[frames],
            wire_mask[frames],
            patient=patients[clip],
            visibility=None if visibility is None else visibility[frames],
            annotated=flags[frames],
            other_mask=None if partner is None else wire_mask[rows[int(partner[clip])]],
        )
    return accumulator.result(seed=seed)


def label_fidelity_section(synthetic: LabelFidelity, real: LabelFidelity) -> dict[str, object]:
    """The section ``label_fidelity`` of a metrics file, synthetic clips beside held-out real ones.

    Raises:
        MetricsError: If the two were measured with different bins of visibility.
    """
    if synthetic.visibility_edges != real.visibility_edges:
        raise MetricsError(
            "the two sets were measured with different bins of visibility",
            key="visibility_edges",
            expected=synthetic.visibility_edges,
            found=real.visibility_edges,
            remedy="measure both with the same visibility_edges",
        )
    edges = synthetic.visibility_edges
    reference = real.dice.estimate
    return {
        "synthetic": {**synthetic.dice.as_dict("dice"), "n_clips": synthetic.n_clips},
        "real": {**real.dice.as_dict("dice"), "n_clips": real.n_clips},
        "ratio": synthetic.dice.estimate / reference if reference > 0 else float("nan"),
        "shuffled": {"dice": synthetic.shuffled},
        "by_frame": {"synthetic": synthetic.by_frame.tolist(), "real": real.by_frame.tolist()},
        "drift": synthetic.drift,
        "by_visibility": [_bin_row(synthetic, real, edges, index) for index in range(len(edges) - 1)],
    }


def _bin_row(
    synthetic: LabelFidelity, real: LabelFidelity, edges: Sequence[float], index: int
) -> Mapping[str, float | int]:
    return {
        "low": edges[index],
        "high": edges[index + 1],
        "synthetic": float(synthetic.by_visibility[index]),
        "real": float(real.by_visibility[index]),
        "n_synthetic": int(synthetic.n_by_visibility[index]),
        "n_real": int(real.n_by_visibility[index]),
    }
