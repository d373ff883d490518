"""The section ``label_fidelity``."""

from typing import Any

from sfvd_pl.datasets.sets import ClipSet
from sfvd_pl.metrics.label import (
    LabelFidelity,
    LabelFidelityAccumulator,
    derangement,
    label_fidelity_section,
)
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.pipeline.evaluation.context import EvaluationContext


def measure_label_fidelity(context: EvaluationContext) -> dict[str, Any]:
    """Whether the evaluator finds the wire where the labels say, in generated and in real clips."""
    made, scores = _fidelity(context, context.synthetic, real=False)
    real, _ = _fidelity(context, context.reference, real=True)
    return {**label_fidelity_section(made, real), "clips": scores}


def _fidelity(
    context: EvaluationContext, clips: ClipSet, *, real: bool
) -> tuple[LabelFidelity, list[dict[str, Any]]]:
    """Fidelity of a set, and the Dice of each clip."""
    partner = None if real else derangement([clip.mask_group for clip in clips], context.seed)
    found = LabelFidelityAccumulator()
    scores = []
    for number, (clip, probability) in enumerate(
        context.predictions(clips, f"label fidelity, {clips.title}")
    ):
        score = found.update(
            probability,
            clip.wire_mask,
            # generated clips have no patients of their own: each is resampled by itself
            patient=clip.patient if real else f"{number}",
            visibility=clip_visibility(clip.image, clip.wire_mask),
            annotated=clip.annotated,
            other_mask=None if partner is None else clips[int(partner[number])].wire_mask,
        )
        scores.append({"number": number, "name": clip.name, "dice": score})
    return found.result(seed=context.seed), scores
