"""The section ``visibility``."""

from typing import Any

import numpy as np

from sfvd_pl.metrics.calibration import visibility_section
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError


def measure_visibility(context: EvaluationContext) -> dict[str, Any]:
    """Visibility asked for against visibility measured, a pair a clip; of the drawn wire, as the artifact has it: the
    masks also hold wires that were in the background.

    Raises:
        NotMeasuredError: None was asked for.
    """
    column = context.synthetic_artifact().column
    asked, measured = column("clips/requested_visibility"), column("clips/measured_visibility")
    if not np.isfinite(asked).any():
        raise NotMeasuredError("no visibility was asked for")
    return visibility_section(asked, measured, column("clips/accepted"), seed=context.seed)
