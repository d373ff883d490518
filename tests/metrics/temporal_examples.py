"""Sections noise, motion and wire as they are measured: of two patients with one clip each."""

from functools import lru_cache
from typing import Any

import numpy as np
from rendered import arc, mask, picture

from sfvd_pl.datasets.windows import band_around
from sfvd_pl.metrics.motion_rows import MotionAccumulator, clip_motion, motion_section
from sfvd_pl.metrics.noise import NoiseAccumulator, noise_section
from sfvd_pl.metrics.noise_rows import clip_noise, noise_rows_section
from sfvd_pl.metrics.rows import RowAccumulator
from sfvd_pl.metrics.seam import EDGE_PX, clip_seam
from sfvd_pl.metrics.wire_rows import clip_wire, wire_section

MASKS = np.stack([mask(arc(shift)) for shift in (0.0, 1.0, 0.3, 0.0)])
CLIP = np.stack([picture(arc(shift)) for shift in (0.0, 1.0, 0.3, 0.0)])
CLIP += np.random.default_rng(0).normal(0, 0.02, CLIP.shape)


@lru_cache(maxsize=1)
def temporal_sections() -> dict[str, dict[str, Any]]:
    """By name; made once, so copy what is to be changed."""
    noise, wire, motion = RowAccumulator(), RowAccumulator(), MotionAccumulator(frames=4)
    pooled = NoiseAccumulator(intensity_max=1)
    for patient in "ab":
        noise.update(patient, clip_noise(CLIP, MASKS, intensity_max=1))
        wire.update(patient, clip_wire(CLIP, MASKS, intensity_max=1))
        motion.update(patient, clip_motion(CLIP, MASKS, intensity_max=1))
        pooled.update(CLIP, MASKS)

    def two(table: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return table.row("real"), [table.row("synthetic"), table.row("floor")]

    seam = RowAccumulator()
    for patient in "ab":
        seam.update(patient, clip_seam(CLIP, CLIP, band_around(MASKS, 4.0)))
    return {
        "noise": {**noise_section(pooled.result(), pooled.result()), **noise_rows_section(*two(noise))},
        "motion": motion_section(*two(motion)),
        "seam": {"edge_px": EDGE_PX, "rows": [seam.row("synthetic")]},
        "wire": wire_section(*two(wire)),
    }
