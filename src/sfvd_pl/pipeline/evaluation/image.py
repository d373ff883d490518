"""The section ``image``: how alike single frames are, in every feature space."""

from typing import Any

from sfvd_pl.metrics.likeness import NEIGHBOURS, likeness_row
from sfvd_pl.networks.features import FeatureSpace
from sfvd_pl.pipeline.evaluation.context import EvaluationContext
from sfvd_pl.pipeline.evaluation.features import ROI_PX, VIEWS, EmbeddedSet, embedded_sets

ROWS = ("synthetic", "floor", "blur", "noise", "wrong masks")
FEW_UNITS = 10
"""Patients or generated clips below which percentile intervals are too narrow."""


def measure_image(context: EvaluationContext) -> dict[str, Any]:
    """Frames of generated clips against those of real test patients, beside real train patients' and degraded ones."""
    return likeness_section(context, embedded_sets(context), video=False)


def likeness_section(context: EvaluationContext, sets: dict[str, EmbeddedSet], *, video: bool) -> dict[str, Any]:
    """The section of embedded sets.

    Args:
        context: Seed and spaces.
        sets: By the name of their row, and ``reference``.
        video: A vector a clip, in every space; otherwise a vector a frame, in spaces of frames.
    """
    reference = sets["reference"]
    spaces = [space for space in context.spaces if video or space.kind == "frame"]
    section: dict[str, Any] = {
        "n_clips": len(reference.rows),
        "n_patients": int(reference.units.max(initial=-1)) + 1,
        "neighbours": NEIGHBOURS,
        "roi_px": ROI_PX,
        "spaces": [],
        "absent": [{"name": name, "why": why} for name, why in sorted(context.absent_spaces.items())],
    }
    for space in spaces:
        entry: dict[str, Any] = {
            "name": space.name,
            "vector": _vector(space.kind, video=video),
            "num_features": space.num_features * (2 if video and space.kind == "frame" else 1),
            "weights_sha256": space.weights_sha256,
            "resizing": space.resizing,
        }
        for view in VIEWS:
            entry[view] = _rows(context, sets, space, view, video=video)
        section["spaces"].append(entry)
    section["note"] = _note(section)
    return section


def _rows(
    context: EvaluationContext, sets: dict[str, EmbeddedSet], space: FeatureSpace, view: str, *, video: bool
) -> list[dict[str, Any]]:
    """A row for each set that has this view."""
    reference, rows = sets["reference"], []
    for name in ROWS:
        if name not in sets or not {view} <= {*reference.columns.views} & {*sets[name].columns.views}:
            continue
        judged = sets[name]
        n = min(reference.count(view), judged.count(view))  # masks of other clips may not fit all of them
        if n >= 2:
            real, other = ((s.clips if video else s.frames)(view, space, n) for s in (reference, judged))
            rows.append(likeness_row(name, real, other, n=n, seed=context.seed))
    return rows


def _vector(kind: str, *, video: bool) -> str:
    if not video:
        return "a frame"
    if kind == "clip":
        return "a clip"
    return "the mean over a clip's frames, and the mean absolute change between consecutive ones"


def _note(section: dict[str, Any]) -> str:
    patients = section["n_patients"]
    if patients >= FEW_UNITS:
        return ""
    return (
        f"{section['n_clips']} clips of {patients} test patients: with so few, intervals are too narrow, and a "
        "difference between two rows may be one between patients"
    )
