"""The section ``wire``: place, width, visibility and tip of the rendered wire against its mask."""

from functools import partial
from typing import Any

from sfvd_pl.datasets.sets import MeasuredClip
from sfvd_pl.metrics.rows import RowAccumulator, Values
from sfvd_pl.metrics.wire_rows import clip_wire, wire_section
from sfvd_pl.pipeline.evaluation.context import EvaluationContext
from sfvd_pl.pipeline.evaluation.rows import REFERENCE, compared_sets, each


def measure_wire(context: EvaluationContext) -> dict[str, Any]:
    """The wire's measures of every set."""
    rows: dict[str, dict[str, Any]] = {}
    for name, clips in compared_sets(context, ("wrong masks",)):
        table = RowAccumulator()
        for group, values in each(context, partial(_clip, scale=clips.intensity_max), name, clips, "wire"):
            table.update(group, values)
        rows[name] = table.row(name, seed=context.seed)
    reference = rows.pop(REFERENCE)
    return wire_section(reference, list(rows.values()))


def _clip(clip: MeasuredClip, scale: int) -> Values:
    return clip_wire(clip.image, clip.wire_mask, clip.annotated, ignore=clip.ignore, intensity_max=scale)
