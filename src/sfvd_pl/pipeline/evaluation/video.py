"""The section ``video``: how alike clips are, in a network over time and in the change of single frames' features."""

from typing import Any

from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError
from sfvd_pl.pipeline.evaluation.features import embedded_sets
from sfvd_pl.pipeline.evaluation.image import likeness_section


def measure_video(context: EvaluationContext) -> dict[str, Any]:
    """Generated clips against those of real test patients, beside real train patients' and degraded ones.

    Raises:
        NotMeasuredError: They are single frames.
    """
    if min(len(clips[0].image) for clips in (context.synthetic, context.reference)) < 2:
        raise NotMeasuredError("single frames don't move")
    return likeness_section(context, embedded_sets(context), video=True)
