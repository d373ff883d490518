"""The rendered wire against the mask that drove it: place, width, visibility, tip."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfvd_pl.metrics.arrays import Array, Bools, finite_mean, require_axes, require_same_shape
from sfvd_pl.metrics.displacement import wire_offsets
from sfvd_pl.metrics.rows import Values
from sfvd_pl.metrics.shadow import wire_shape
from sfvd_pl.metrics.tip import wire_tips
from sfvd_pl.metrics.visibility import clip_visibility


def clip_wire(
    clip: Array,
    wire_mask: Array,
    annotated: Bools | None = None,
    *,
    ignore: Array | None = None,
    intensity_max: int | float = 255,
) -> Values:
    """Measures of a clip's wire, by name; see ``docs/metrics.md``.

    Args:
        clip: (T, H, W), the valid extent only.
        wire_mask: (T, H, W), non-zero on the wire.
        annotated: (T,), frames whose mask is known; all without it.
        ignore: (T, H, W), pixels that don't count in the wire's surroundings; none without it.
        intensity_max: Full scale.

    Raises:
        MetricsError: If axes or shapes are wrong.
    """
    require_axes(clip, "T H W", "clip")
    require_same_shape(wire_mask, clip, "wire_mask", "clip")
    known = np.ones(len(clip), np.bool_) if annotated is None else np.asarray(annotated, np.bool_)
    values, wire = np.asarray(clip).astype(np.float64)[known] / intensity_max, np.asarray(wire_mask)[known]
    offsets = [gap for gap in wire_offsets(values, wire) if gap.size]
    gaps = np.concatenate(offsets) if offsets else np.empty(0)
    shape, tips = wire_shape(values, wire), wire_tips(values, wire)
    return {
        "cnr": finite_mean(clip_visibility(values, wire, ignore=None if ignore is None else ignore[known])),
        "depth": shape.depth,
        "width_px": shape.width_px,
        "label_width_px": shape.label_width_px,
        "width_ratio": shape.width_px / shape.label_width_px,
        "offset_px": float(np.abs(gaps).mean()) if gaps.size else float("nan"),
        "tip_found": tips.found / tips.n if tips.n else float("nan"),
        "tip_offset_px": finite_mean(tips.offset_px),
        "tip_error_px": finite_mean(np.abs(tips.offset_px)),
    }


def wire_section(reference: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The section ``wire`` of a metrics file."""
    return {"reference": dict(reference), "rows": [dict(row) for row in rows]}
