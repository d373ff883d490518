"""The sections of a metrics file, in the order of the report; one line and one module each."""

from collections.abc import Mapping

from sfvd_pl.metrics.schema import (
    gate,
    image,
    label_fidelity,
    memorisation,
    motion,
    noise,
    seam,
    segmentation,
    visibility,
    wire,
)
from sfvd_pl.metrics.schema.checks import Section

ANNOUNCED = (
    "image", "video", "noise", "seam", "motion", "wire", "visibility", "label_fidelity", "gate", "segmentation",
    "memorisation",
)  # fmt: skip
"""Every name that a section may have. One without checks yet is refused as unknown."""

SECTION_CHECKS: Mapping[str, Section] = {
    "image": image.SECTION,
    "video": image.SECTION,
    "noise": noise.SECTION,
    "seam": seam.SECTION,
    "motion": motion.SECTION,
    "wire": wire.SECTION,
    "visibility": visibility.SECTION,
    "label_fidelity": label_fidelity.SECTION,
    "gate": gate.SECTION,
    "segmentation": segmentation.SECTION,
    "memorisation": memorisation.SECTION,
}
"""What each holds; a section that is announced above gets its line here, and its checks in a module of its name."""

SECTIONS: tuple[str, ...] = tuple(name for name in ANNOUNCED if name in SECTION_CHECKS)
"""Those that a file may have, in order."""
