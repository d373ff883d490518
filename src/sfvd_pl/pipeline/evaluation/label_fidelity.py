"""The section ``label_fidelity``: the evaluator looks for the wire, and controls say what its answer means."""

from typing import Any

from sfvd_pl.datasets.sets import ClipSet, Degradation, Degraded
from sfvd_pl.metrics.label import (
    REAL,
    SHUFFLED,
    SYNTHETIC,
    LabelFidelity,
    LabelFidelityAccumulator,
    derangement,
    label_fidelity_section,
    other_masks,
)
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.pipeline.evaluation.context import EvaluationContext

DEGRADATIONS: tuple[Degradation, ...] = ("blur", "noise", "wrong masks")


def measure_label_fidelity(context: EvaluationContext) -> dict[str, Any]:
    """Whether the evaluator finds the wire where the labels say, in generated and in real clips.

    Returns:
        Rows ``real``, ``synthetic``, ``shuffled`` (the synthetic clips against masks that drove others; left out where
        one mask drove more than half of them) and the real clips degraded.
    """
    rows = {REAL: _measure(context, context.reference)[0]}
    rows[SYNTHETIC], shuffled = _measure(context, context.synthetic, generated=True)
    if shuffled is not None:
        rows[SHUFFLED] = shuffled
    for kind in DEGRADATIONS:
        rows[kind] = _measure(context, Degraded(context.reference, kind, context.seed))[0]
    return label_fidelity_section(rows)


def _measure(
    context: EvaluationContext, clips: ClipSet, *, generated: bool = False
) -> tuple[LabelFidelity, LabelFidelity | None]:
    """A set's label fidelity; of a generated one also that against the masks of other clips, where there are such."""
    partner = derangement([clip.mask_group or clip.name for clip in clips], context.seed) if generated else None
    whole, shuffled = LabelFidelityAccumulator(), LabelFidelityAccumulator()
    for number, (clip, probability) in enumerate(context.predictions(clips, f"label fidelity, {clips.title}")):
        # Clips that one mask sequence drove share its difficulty; nobody's patient is behind a generated clip.
        group = clip.mask_group or clip.name if generated else clip.patient
        whole.update(
            probability,
            clip.wire_mask,
            ignore=clip.ignore,
            visibility=clip_visibility(clip.image, clip.wire_mask, ignore=clip.ignore),
            annotated=clip.annotated,
            group=group,
            name=clip.name,
        )
        if partner is not None:
            others = other_masks(clips[int(partner[number])].wire_mask, clip.image.shape, clip.ignore)
            shuffled.update(
                probability, others, ignore=clip.ignore, annotated=clip.annotated, group=group, name=clip.name
            )
    seed = context.seed
    return whole.result(seed=seed), None if partner is None else shuffled.result(seed=seed)
