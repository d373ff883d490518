"""Label fidelity: whether an independent segmenter finds the wire where a clip's own label says it is.

For a synthetic clip the label is the mask that drove its generation. The same measure on held-out real clips
says what that segmenter can do at all, and the shuffled control, in which every prediction is scored against
the mask of another clip, says what chance gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Floats, Ints, finite_mean, require_axes, require_same_shape
from sfvd_pl.metrics.bootstrap import Interval
from sfvd_pl.metrics.intervals import mean_intervals
from sfvd_pl.metrics.scores import DEFINITIONS, score_frames
from sfvd_pl.metrics.segmentation import THRESHOLD
from sfvd_pl.metrics.visibility import VISIBILITY_EDGES, require_edges, visibility_bins

MEASURES: tuple[str, ...] = ("dice", "cldice", "tip_error_px", "length_ratio", "false_components")
"""Those of the measures of segmentation that are asked here; in pixels, since generated clips have no spacing."""
SYNTHETIC, REAL, SHUFFLED = "synthetic", "real", "shuffled"
_HIGH = [next(measure.high for measure in DEFINITIONS if measure.name == name) for name in MEASURES]


@dataclass(frozen=True)
class ClipFidelity:
    """Label fidelity of one clip.

    Attributes:
        number: Place of the clip in its set.
        name: Its name.
        group: What it is resampled with.
        n_frames: Labelled frames.
        visibility: Mean measured CNR of its wire, NaN where unknown.
        values: Mean of each of ``MEASURES`` over the labelled frames.
    """

    number: int
    name: str
    group: str
    n_frames: int
    visibility: float
    values: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """As written in a metrics file."""
        return {
            "number": self.number,
            "name": self.name,
            "n_frames": self.n_frames,
            "visibility": self.visibility,
            **self.values,
        }


@dataclass(frozen=True)
class LabelFidelity:
    """Label fidelity of one set of clips; each list of intervals has one a measure, in the order of ``MEASURES``.

    Attributes:
        overall: Means over clips of the means over a clip's labelled frames.
        n_groups: Patients, or whatever is resampled as one.
        by_frame: For each frame index, the means over the clips that have it labelled.
        n_by_frame: (T,) how many these are.
        drift: Dice of the last frame index over that of the first: below 1 where the label is lost as a clip goes on.
        edges: (K + 1,) limits of the bins of visibility.
        by_visibility: For each bin, the means over its frames.
        n_by_visibility: (K,) how many these are.
        clips: Each clip with a labelled frame.
    """

    overall: list[Interval]
    n_groups: int
    by_frame: list[list[Interval]]
    n_by_frame: Ints
    drift: float
    edges: tuple[float, ...]
    by_visibility: list[list[Interval]]
    n_by_visibility: Ints
    clips: tuple[ClipFidelity, ...]

    def row(self, name: str) -> dict[str, Any]:
        """One entry of the section's ``rows``."""
        bins = zip(self.edges[:-1], self.edges[1:], self.n_by_visibility, self.by_visibility, strict=True)
        frames = zip(self.n_by_frame, self.by_frame, strict=True)
        return {
            "name": name,
            "n": len(self.clips),
            "n_groups": self.n_groups,
            **_named(self.overall),
            "drift": self.drift,
            "by_frame": [
                {"frame": index, "n": int(count), **_named(found)} for index, (count, found) in enumerate(frames)
            ],
            "by_visibility": [
                {"low": low, "high": high, "n": int(count), **_named(found)} for low, high, count, found in bins
            ],
        }


def _named(intervals: Sequence[Interval]) -> dict[str, dict[str, float]]:
    return {name: interval.as_dict() for name, interval in zip(MEASURES, intervals, strict=True)}


class _Sums:
    """Sums and counts of the finite values of each measure, by group and by row (frame index or bin)."""

    def __init__(self) -> None:
        self._tables: dict[str, Floats] = {}

    def add(self, group: str, rows: Ints, values: Floats) -> None:
        """Add (n, K) values to rows (n,) of a group."""
        table = self._tables.get(group, np.zeros((2, 0, len(MEASURES))))
        missing = int(rows.max(initial=-1)) + 1 - table.shape[1]
        if missing > 0:
            table = np.pad(table, ((0, 0), (0, missing), (0, 0)))
        known = np.isfinite(values)
        np.add.at(table[0], rows, np.where(known, values, 0.0))
        np.add.at(table[1], rows, known)
        self._tables[group] = table

    def intervals(self, n_rows: int | None, *, n: int, seed: int) -> list[list[Interval]]:
        """For each row, an interval a measure; ``n_rows`` of them, or as many as there are."""
        count = n_rows if n_rows is not None else max((t.shape[1] for t in self._tables.values()), default=0)
        if not self._tables or not count:
            return [[Interval(*[float("nan")] * 3)] * len(MEASURES) for _ in range(count)]
        # By group's name, so that the order in which clips came doesn't matter.
        tables = [self._tables[group] for group in sorted(self._tables)]
        whole = np.stack([np.pad(t, ((0, 0), (0, count - t.shape[1]), (0, 0))) for t in tables], axis=1)
        flat = whole.reshape(2, len(tables), -1)
        high = _HIGH * count
        found = mean_intervals(flat[0], flat[1], n=n, seed=seed, low=0.0, high=high)
        return [found[k : k + len(MEASURES)] for k in range(0, len(found), len(MEASURES))]


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
        self.edges = require_edges(visibility_edges)
        self._seen = 0
        self._clips: list[ClipFidelity] = []
        self._overall, self._frames, self._bins = _Sums(), _Sums(), _Sums()
        self._n_by_frame: Ints = np.zeros(0, dtype=np.int64)
        self._n_by_visibility: Ints = np.zeros(len(self.edges) - 1, dtype=np.int64)

    def update(
        self,
        probability: Array,
        wire_mask: Array,
        *,
        group: str,
        name: str = "",
        ignore: Array | None = None,
        visibility: Array | None = None,
        annotated: Array | None = None,
    ) -> ClipFidelity | None:
        """Add one clip.

        Args:
            probability: (T, H, W) in 0..1, of the independent segmenter.
            wire_mask: (T, H, W), the clip's own label; for the control, that of another one.
            group: What the clip is resampled with: its patient, or the mask sequence that drove it.
            name: Of the clip.
            ignore: (T, H, W), pixels that don't count; see :func:`~sfvd_pl.metrics.scores.score_frames`.
            visibility: (T,) measured CNR, NaN where unknown; None leaves the clip out of the bins.
            annotated: (T,) whether a frame has a label; None: all have one.

        Returns:
            The clip's means; None, and nothing is added but one to the number of the next, where no frame has a label.

        Raises:
            MetricsError: If shapes differ.
        """
        require_axes(probability, "T H W", "probability")
        scores = score_frames(
            probability, wire_mask, ignore=ignore, threshold=self.threshold, annotated=annotated
        )
        values = np.stack([scores[measure] for measure in MEASURES], axis=1)
        seen = np.full(len(values), np.nan) if visibility is None else np.asarray(visibility, dtype=np.float64)
        require_same_shape(seen, values[:, 0], "visibility", "probability[:, 0, 0]")
        labelled = np.flatnonzero(np.isfinite(values[:, 0]))
        self._seen += 1
        if labelled.size == 0:
            return None
        values, seen = values[labelled], seen[labelled]
        means = np.array([finite_mean(column) for column in values.T])
        self._overall.add(group, np.zeros(1, dtype=np.int64), means[None])
        self._frames.add(group, labelled, values)
        self._n_by_frame = np.pad(self._n_by_frame, (0, max(0, len(scores) - len(self._n_by_frame))))
        self._n_by_frame[labelled] += 1
        member = visibility_bins(seen, self.edges)
        inside = member >= 0
        self._bins.add(group, member[inside], values[inside])
        np.add.at(self._n_by_visibility, member[inside], 1)
        clip = ClipFidelity(
            number=self._seen - 1,
            name=name,
            group=group,
            n_frames=int(labelled.size),
            visibility=finite_mean(seen),
            values=dict(zip(MEASURES, means.tolist(), strict=True)),
        )
        self._clips.append(clip)
        return clip

    def result(self, *, n: int = 2000, seed: int = 0) -> LabelFidelity:
        """The measures so far.

        Args:
            n: Resamples of the intervals.
            seed: Of the resampling.
        """
        by_frame = self._frames.intervals(len(self._n_by_frame), n=n, seed=seed)
        dice = [found[0].estimate for found in by_frame] or [float("nan")]
        return LabelFidelity(
            overall=self._overall.intervals(1, n=n, seed=seed)[0],
            n_groups=len({clip.group for clip in self._clips}),
            by_frame=by_frame,
            n_by_frame=self._n_by_frame.copy(),
            drift=dice[-1] / dice[0] if dice[0] > 0 else float("nan"),
            edges=self.edges,
            by_visibility=self._bins.intervals(len(self.edges) - 1, n=n, seed=seed),
            n_by_visibility=self._n_by_visibility.copy(),
            clips=tuple(self._clips),
        )


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


def other_masks(wire_mask: Array, shape: tuple[int, ...], ignore: Array | None = None) -> Array:
    """Masks (T, H, W) as the control of a clip of another ``shape``: repeated or cut to its length, cut or with nothing
    added to its size, and nothing where the clip's pixels don't count."""
    frames, height, width = shape
    cut = wire_mask[np.arange(frames) % len(wire_mask), :height, :width]
    fitted = np.pad(cut, ((0, 0), (0, height - cut.shape[1]), (0, width - cut.shape[2])))
    return fitted if ignore is None else fitted * (np.asarray(ignore) == 0).astype(fitted.dtype)


def label_fidelity_section(rows: Mapping[str, LabelFidelity]) -> dict[str, Any]:
    """The section ``label_fidelity`` of a metrics file.

    Args:
        rows: Name of a set to what was measured, with at least ``synthetic`` and ``real`` (held-out real clips);
            ``shuffled`` is the control.

    Raises:
        MetricsError: If one of the two isn't there, or the sets were measured with different bins of visibility.
    """
    for name in (SYNTHETIC, REAL):
        if name not in rows:
            raise MetricsError(
                "a set of clips was not measured",
                key="rows",
                expected=f"{SYNTHETIC} and {REAL}, at least",
                found=list(rows),
                remedy="measure held-out real clips with the same segmenter",
            )
    made, real = rows[SYNTHETIC], rows[REAL]
    for found in rows.values():
        if found.edges != real.edges:
            raise MetricsError(
                "the sets were measured with different bins of visibility",
                key="visibility_edges",
                expected=real.edges,
                found=found.edges,
                remedy="measure all with the same visibility_edges",
            )
    ratios = {
        name: made.overall[k].estimate / real.overall[k].estimate if real.overall[k].estimate > 0 else float("nan")
        for k, name in enumerate(MEASURES[:2])
    }
    return {
        "rows": [found.row(name) for name, found in rows.items()],
        "ratio": ratios,
        "clips": [clip.as_dict() for clip in made.clips],
    }
