"""The section ``wire``: place, width, visibility and tip of the rendered wire against its mask."""

from typing import Any

import numpy as np

from sfvd_pl.metrics.rows import RowAccumulator
from sfvd_pl.metrics.wire_rows import clip_wire, visibility_calibration, wire_section
from sfvd_pl.pipeline.evaluation.rows import REFERENCE, Compared, compared_sets, each


def measure_wire(context: Compared) -> dict[str, Any]:
    """The wire's measures of every set, and how well the requested visibility is met by the synthetic ones."""
    rows: dict[str, dict[str, Any]] = {}
    requested, measured, groups = [], [], []
    for name, clips in compared_sets(context, ("wrong masks",)):
        table = RowAccumulator()
        for group, clip in each(name, clips, "wire"):
            values = clip_wire(clip.image, clip.wire_mask, clip.annotated, intensity_max=clips.intensity_max)
            table.update(group, values)
            if name == "synthetic":
                requested.append(clip.requested_visibility)
                measured.append(float(values["cnr"]))
                groups.append(group)
        rows[name] = table.row(name, seed=context.seed)
    reference = rows.pop(REFERENCE)
    calibration = visibility_calibration(np.array(requested), np.array(measured), groups, seed=context.seed)
    return wire_section(reference, list(rows.values()), calibration)
