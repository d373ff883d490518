"""The rendered wire against the mask that drove it: place, width, visibility, tip."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfvd_pl.metrics.arrays import Array, Bools, Floats, finite_mean, require_axes, require_same_shape
from sfvd_pl.metrics.bootstrap import sums_interval
from sfvd_pl.metrics.calibration import binned_calibration, spearman_interval
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


def visibility_calibration(
    requested: Array, measured: Array, groups: Sequence[str], *, seed: int = 0
) -> dict[str, Any]:
    """Requested against measured visibility: line, rank correlation and binned curve.

    Args:
        requested: (M,) CNR asked for, one a clip; pairs that aren't finite are dropped.
        measured: (M,) CNR measured.
        groups: M names: what each clip is resampled with.
        seed: Of the resampling.

    Returns:
        ``n``; ``slope`` and ``intercept`` of the least-squares line ``measured = intercept + slope * requested`` and
        ``spearman``, each with its interval; ``bins``: ``low``, ``high``, ``n``, ``median``, ``lower_quartile``,
        ``upper_quartile``.

    Raises:
        MetricsError: If the shapes differ.
    """
    require_axes(requested, "M", "requested")
    require_same_shape(measured, requested, "measured", "requested")
    x, y = np.asarray(requested, np.float64), np.asarray(measured, np.float64)
    there = np.isfinite(x) & np.isfinite(y)
    x, y, kept = x[there], y[there], [str(group) for group, ok in zip(groups, there, strict=True) if ok]
    sums = np.stack([np.ones(len(x)), x, y, x * x, x * y], axis=1)
    return {
        "n": len(x),
        "slope": sums_interval(sums, kept, _slope, seed=seed).as_dict(),
        "intercept": sums_interval(sums, kept, _intercept, seed=seed).as_dict(),
        "spearman": spearman_interval(x, y, kept, seed=seed).as_dict(),
        "bins": [vars(row) for row in binned_calibration(x, y)],
    }


def _slope(sums: Floats) -> Floats:
    n, x, y, xx, xy = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    spread = n * xx - x * x
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-9 * np.maximum(n * xx, 1e-30), (n * xy - x * y) / spread, np.nan)


def _intercept(sums: Floats) -> Floats:
    n, x, y = (np.asarray(sums, np.float64)[..., k] for k in range(3))
    return (y - _slope(sums) * x) / n


def wire_section(
    reference: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], calibration: Mapping[str, Any]
) -> dict[str, Any]:
    """The section ``wire`` of a metrics file."""
    return {"reference": dict(reference), "rows": [dict(row) for row in rows], "calibration": dict(calibration)}
