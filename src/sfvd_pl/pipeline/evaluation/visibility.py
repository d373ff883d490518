"""The section ``visibility``."""

from typing import Any

import numpy as np

from sfvd_pl.datasets.sets import MeasuredClip
from sfvd_pl.metrics.calibration import visibility_section
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError


def measure_visibility(context: EvaluationContext) -> dict[str, Any]:
    """Visibility asked for against visibility measured, a pair a clip."""
    pairs = list(context.over_clips(_pair, context.synthetic, "visibility"))
    asked, measured = np.array(pairs, np.float64).reshape(-1, 2).T
    if not np.isfinite(asked).any():
        raise NotMeasuredError("no visibility was asked for")
    return visibility_section(asked, measured)


def _pair(clip: MeasuredClip) -> tuple[float, float]:
    measured = clip_visibility(clip.image, clip.wire_mask, ignore=clip.ignore)
    known = measured[np.isfinite(measured)]
    return clip.requested_visibility, float(np.median(known)) if known.size else float("nan")
