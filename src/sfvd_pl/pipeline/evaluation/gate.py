"""The section ``gate``."""

from typing import Any

from sfvd_pl.metrics.calibration import gate_section
from sfvd_pl.pipeline.evaluation.context import EvaluationContext


def measure_gate(context: EvaluationContext) -> dict[str, Any]:
    """What the gate let pass, by which rules, and why it turned others away."""
    made = context.synthetic_artifact()
    reasons = [str(reason) for reason in made.column("clips/reject_reason")]
    return gate_section(made.column("clips/accepted"), reasons, made.config.get("gate", {}))
