"""The section ``gate``."""

from typing import Any

from sfvd_pl.metrics.calibration import gate_section
from sfvd_pl.pipeline.evaluation.context import EvaluationContext


def measure_gate(context: EvaluationContext) -> dict[str, Any]:
    """What the gate let pass, and why it turned others away."""
    made = context.synthetic_artifact()
    gate = made.config.get("gate") or {}
    dice, visibility = gate.get("dice"), gate.get("visibility")
    return gate_section(
        made.column("clips/accepted"),
        [str(reason) for reason in made.column("clips/reject_reason")],
        dice_threshold=float("nan") if dice is None else dice,
        visibility_threshold=float("nan") if visibility is None else visibility,
    )
