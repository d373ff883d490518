"""The sections that ``sfvd evaluate`` measures, in order: one line each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sfvd_pl.pipeline.evaluation.context import EvaluationContext
from sfvd_pl.pipeline.evaluation.gate import measure_gate
from sfvd_pl.pipeline.evaluation.image import measure_image
from sfvd_pl.pipeline.evaluation.label_fidelity import measure_label_fidelity
from sfvd_pl.pipeline.evaluation.memorisation import measure_memorisation
from sfvd_pl.pipeline.evaluation.motion import measure_motion
from sfvd_pl.pipeline.evaluation.noise import measure_noise
from sfvd_pl.pipeline.evaluation.seam import measure_seam
from sfvd_pl.pipeline.evaluation.segmentation import measure_segmentation
from sfvd_pl.pipeline.evaluation.video import measure_video
from sfvd_pl.pipeline.evaluation.visibility import measure_visibility
from sfvd_pl.pipeline.evaluation.wire import measure_wire


@dataclass(frozen=True)
class SectionMeasure:
    """How one section is measured.

    Attributes:
        name: As in ``metrics.json``.
        measure: Returns the section, and raises a NotMeasuredError where it can't be measured.
        uses: Inputs that it asks the context for; a cached result holds as long as they are the same.
    """

    name: str
    measure: Callable[[EvaluationContext], dict[str, Any]]
    uses: tuple[str, ...]


SETS = ("synthetic", "reference", "training")

SECTION_MEASURES: tuple[SectionMeasure, ...] = (
    SectionMeasure("image", measure_image, (*SETS, "spaces")),
    SectionMeasure("video", measure_video, (*SETS, "spaces")),
    SectionMeasure("noise", measure_noise, SETS),
    SectionMeasure("seam", measure_seam, ("source", "synthetic")),
    SectionMeasure("motion", measure_motion, SETS),
    SectionMeasure("wire", measure_wire, SETS),
    SectionMeasure("visibility", measure_visibility, ("synthetic",)),
    SectionMeasure("label_fidelity", measure_label_fidelity, ("synthetic", "reference", "evaluator")),
    SectionMeasure("gate", measure_gate, ("synthetic",)),
    SectionMeasure("segmentation", measure_segmentation, ("source", "segmentation")),
    SectionMeasure(
        "memorisation", measure_memorisation, ("source", "synthetic", "reference", "evaluator", "spaces")
    ),
)
