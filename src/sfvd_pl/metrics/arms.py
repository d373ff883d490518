"""Arms of a comparison of segmenters: means over seeds, intervals over patients, differences to a reference and
their tests, and how each arm fares as the wire gets fainter."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Bools, Floats
from sfvd_pl.metrics.intervals import SMALL, interval_method, mean_intervals
from sfvd_pl.metrics.scores import DEFINITIONS, HEADLINE, MEASURES, FrameScores, ScoredFrames
from sfvd_pl.metrics.significance import EXACT_UP_TO, holm, sign_flip_test
from sfvd_pl.metrics.visibility import VISIBILITY_EDGES, require_edges, visibility_bins

LEVEL = 0.95
Arms = Mapping[str, Sequence[FrameScores]]
"""Arm -> the scores of each of its trainings (seeds), all on the same frames."""


def mean_over_seeds(scores: Sequence[FrameScores], frames: ScoredFrames, keep: Bools | None = None) -> Floats:
    """Each patient's measures, frame -> clip -> patient, averaged over repeated trainings, (P, K).

    Args:
        scores: One table a training, at least one.
        frames: Which frames they are of.
        keep: (N,) frames that count; all without it.

    Returns:
        A row a patient, in the order of ``frames.everybody``; a value unknown in one training is left out there.
    """
    tables = np.stack([frames.patient_means(table, keep) for table in scores])
    known = np.isfinite(tables)
    total = np.where(known, tables, 0.0).sum(axis=0)
    means: Floats = np.full(total.shape, np.nan)
    np.divide(total, known.sum(axis=0), out=means, where=known.any(axis=0))
    return means


def segmentation_section(
    arms: Arms,
    frames: ScoredFrames,
    *,
    seeds: Sequence[int],
    reference: str | None = None,
    edges: Sequence[float] = VISIBILITY_EDGES,
    n: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """The section ``segmentation`` of a metrics file.

    Args:
        arms: One table of scores for each of ``seeds``.
        frames: The frames that all of them were scored on.
        seeds: Of the trainings, the same for every arm.
        reference: The arm that the others are compared with, patient by patient; None: the first.
        edges: Ascending limits of the bins of visibility.
        n: Resamples of the intervals.
        seed: Of the resampling.

    Returns:
        Means and intervals over patients of each arm, its patients' values, its means by visibility, and the paired
        difference to the reference (absent from the reference itself); tests of these differences.

    Raises:
        MetricsError: If there is no arm, the reference is not one, an arm has not one table a seed, or the scores
            are not of these frames.
    """
    chosen = _reference(arms, seeds, reference)
    require_edges(edges)
    means = {name: mean_over_seeds(tables, frames) for name, tables in arms.items()}
    rows = []
    for name, tables in arms.items():
        row: dict[str, object] = {
            "name": name,
            **_intervals(means[name], n=n, seed=seed),
            "patients": _by_name(frames.everybody, means[name]),
            "by_visibility": _by_visibility(tables, frames, edges, n=n, seed=seed),
        }
        if name != chosen:
            gap = means[name] - means[chosen]
            row["difference"] = {"reference": chosen, **_intervals(gap, n=n, seed=seed, signed=True)}
        rows.append(row)
    return {
        "n_patients": len(frames.everybody),
        "n_clips": len(frames.names),
        "n_frames": len(frames),
        "seeds": [int(value) for value in seeds],
        "reference": chosen,
        "interval": {"level": LEVEL, "method": interval_method(len(frames.everybody)), "bootstrap_from": SMALL},
        "arms": rows,
        "tests": paired_tests(means, chosen, seed=seed),
    }


def paired_tests(means: Mapping[str, Floats], reference: str, *, seed: int = 0) -> dict[str, object]:
    """Sign-flip tests of every arm against the reference on the headline measures, one family for Holm's correction.

    Args:
        means: Arm -> (P, K) means of the same patients.
        reference: The arm that the others are held against.
        seed: Of random flips, where there are too many patients for all of them.

    Returns:
        ``rows``, one a test, and what so few patients can show at all: ``smallest_p`` is the least p of one test, and
        ``smallest_p_holm`` the least of the smallest p once corrected.
    """
    rows: list[dict[str, Any]] = []
    smallest = [float("nan")]
    for name, table in means.items():
        for measure in HEADLINE if name != reference else ():
            column = MEASURES.index(measure)
            test = sign_flip_test(table[:, column] - means[reference][:, column], seed=seed)
            rows.append({"arm": name, "measure": measure, "n_patients": test.n, "p": test.p})
            smallest.append(test.smallest)
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = corrected
    family = sum(bool(np.isfinite(row["p"])) for row in rows)
    least = float(np.nanmin(smallest)) if family else float("nan")
    return {
        "method": f"sign flips of paired patients, all of them up to {EXACT_UP_TO} patients; two-sided; Holm",
        "family": family,
        "smallest_p": least,
        "smallest_p_holm": min(1.0, least * family) if family else float("nan"),
        "rows": rows,
    }


def _reference(arms: Arms, seeds: Sequence[int], reference: str | None) -> str:
    names = list(arms)
    chosen = reference if reference is not None else (names[0] if names else None)
    if chosen is None or chosen not in arms:
        raise MetricsError(
            "the reference arm is not there",
            key="reference",
            expected=names or "at least one arm",
            found=reference,
            remedy="name one of the arms",
        )
    for name, tables in arms.items():
        if len(tables) != len(seeds) or not tables:
            raise MetricsError(
                f"arm {name!r} does not have one table a seed",
                key="arms",
                expected=f"{len(seeds)} tables, at least one",
                found=f"{len(tables)} tables",
                remedy="evaluate every seed of every arm",
            )
    return chosen


def _intervals(means: Floats, *, n: int, seed: int, signed: bool = False) -> dict[str, dict[str, float]]:
    """Mean and interval of each column of (P, K) patient means; ``signed``: of differences."""
    high = [measure.high for measure in DEFINITIONS]
    low = [-value if signed else 0.0 for value in high]
    found = mean_intervals(means, n=n, level=LEVEL, seed=seed, low=low, high=high)
    return {name: interval.as_dict() for name, interval in zip(MEASURES, found, strict=True)}


def _by_name(everybody: Sequence[str], means: Floats) -> dict[str, dict[str, float]]:
    return {
        patient: dict(zip(MEASURES, row, strict=True)) for patient, row in zip(everybody, means.tolist(), strict=True)
    }


def _by_visibility(
    tables: Sequence[FrameScores], frames: ScoredFrames, edges: Sequence[float], *, n: int, seed: int
) -> list[dict[str, object]]:
    member = visibility_bins(frames.visibility, edges)
    rows: list[dict[str, object]] = []
    for number, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        keep = member == number
        means = mean_over_seeds(tables, frames, keep)
        rows.append(
            {
                "low": float(low),
                "high": float(high),
                "n_frames": int(keep.sum()),
                "n_patients": int(np.isfinite(means[:, 0]).sum()),
                **_intervals(means, n=n, seed=seed),
            }
        )
    return rows
