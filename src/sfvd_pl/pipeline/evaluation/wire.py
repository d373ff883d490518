"""The section ``wire``: place, width, visibility and tip of the rendered wire against its mask."""

from functools import partial
from typing import Any

import numpy as np

from sfvd_pl.datasets.sets import MeasuredClip
from sfvd_pl.metrics.rows import RowAccumulator, Values
from sfvd_pl.metrics.wire_rows import clip_wire, visibility_calibration, wire_section
from sfvd_pl.pipeline.evaluation.context import EvaluationContext
from sfvd_pl.pipeline.evaluation.rows import REFERENCE, compared_sets, each


def measure_wire(context: EvaluationContext) -> dict[str, Any]:
    """The wire's measures of every set, and how well the requested visibility is met by the synthetic ones."""
    rows: dict[str, dict[str, Any]] = {}
    requested, measured, names = list[float](), list[float](), list[str]()
    for name, clips in compared_sets(context, ("wrong masks",)):
        table = RowAccumulator()
        for group, (values, asked) in each(context, partial(_clip, scale=clips.intensity_max), name, clips, "wire"):
            table.update(group, values)
            if name == "synthetic":
                requested.append(asked)
                measured.append(float(values["cnr"]))
                names.append(group)
        rows[name] = table.row(name, seed=context.seed)
    reference = rows.pop(REFERENCE)
    calibration = visibility_calibration(np.array(requested), np.array(measured), names, seed=context.seed)
    return wire_section(reference, list(rows.values()), calibration)


def _clip(clip: MeasuredClip, scale: int) -> tuple[Values, float]:
    values = clip_wire(clip.image, clip.wire_mask, clip.annotated, ignore=clip.ignore, intensity_max=scale)
    return values, clip.requested_visibility
