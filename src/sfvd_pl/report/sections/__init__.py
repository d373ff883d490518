"""Sections of the page, a module each: from a section of ``metrics.json`` to a view."""

from collections.abc import Callable, Mapping
from typing import Any

from sfvd_pl.metrics.schema import SECTIONS
from sfvd_pl.report.media import ReportMedia
from sfvd_pl.report.sections.features import image_view, video_view
from sfvd_pl.report.sections.labels import labels_view
from sfvd_pl.report.sections.memorisation import memorisation_view
from sfvd_pl.report.sections.motion import motion_view
from sfvd_pl.report.sections.noise import noise_view
from sfvd_pl.report.sections.other import other_view
from sfvd_pl.report.sections.segmentation import segmentation_view
from sfvd_pl.report.sections.wire import gate_view, seam_view, visibility_view, wire_view
from sfvd_pl.report.views import View

VIEWS: Mapping[str, Callable[[Any], View]] = {
    "image": image_view,
    "video": video_view,
    "noise": noise_view,
    "seam": seam_view,
    "motion": motion_view,
    "wire": wire_view,
    "visibility": visibility_view,
    "label_fidelity": labels_view,
    "gate": gate_view,
    "segmentation": segmentation_view,
}
"""How a section is shown; one that isn't here is shown in the words of the file."""


def section_views(metrics: Mapping[str, Any], media: ReportMedia) -> list[View]:
    """A view of every section that was measured, in the schema's order."""
    found = []
    for name in SECTIONS:
        if name == "memorisation" and name in metrics:
            found.append(memorisation_view(metrics[name], media.suspects, media.originals))
        elif name in metrics:
            found.append(VIEWS[name](metrics[name]) if name in VIEWS else other_view(name, metrics[name]))
    return found
