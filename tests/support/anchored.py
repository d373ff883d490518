"""A synthetic artifact whose clips show real training clips, of two sizes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from toy import FRAMES, WINDOW, patients_of, toy_clips, write_suspects, write_toy_source

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.augment.columns import DrawnClip, anchored_columns
from sfvd_pl.augment.plan import Plan, PlanConfig

GATE = {"attenuation_cnr": 0.3, "drawn_share": 0.8, "dice_ratio": 0.5, "min_labelled_clips": 8, "dice": None}


def write_uneven_source(path: Path) -> Path:
    """The toy source; every second clip lost its last rows and columns."""
    clips = [
        replace(clip, image=clip.image[:, :44, :40], wire_mask=clip.wire_mask[:, :44, :40]) if k % 2 else clip
        for k, clip in enumerate(toy_clips())
    ]
    return write_toy_source(path, clips=clips)


def write_anchored(path: Path, source: Path, *, count: int = 6, **changes: Any) -> Path:
    """Clips of a plan with a plain dark wire in each; the last one was rejected, the first is hard."""
    suspects = write_suspects(path.with_suffix(".suspects.h5"), source)
    settings = {"num_clips": count, "frames": FRAMES, "window": WINDOW, "vessel_share": 0.0, "labelled_share": 0.5}
    plan = Plan(PlanConfig(**(settings | changes)), source, suspects, 0)
    origin = Provenance(
        seed=0,
        config={"plan": {"erase_known": plan.config.erase_known}, "gate": GATE},
        parents={"source": Artifact.open(source, Kind.SOURCE).content_hash},
        patients=tuple(sorted(patients_of(source, "train"))),
    )
    parts = []
    for number in range(count):
        clip = replace(plan.clip(number), hard=number == 0)
        real = np.full(clip.wire_mask.shape, 120, np.uint8) if clip.frames is None else clip.frames
        pixels = np.where(clip.wire_mask > 0, real * 0.7, real).round().astype(np.uint8)
        reason = "lost in the noise" if number == count - 1 else ""
        parts.append(anchored_columns(clip, DrawnClip(pixels, 1.0, 1.0, float("nan"), reason), plan, 255))
    with ArtifactWriter(path, Kind.SYNTHETIC, origin) as writer:
        for key, first in parts[0].items():
            texts = isinstance(first, list) and isinstance(first[0], str)
            values = [text for part in parts for text in part[key]]
            writer.write(key, values if texts else np.concatenate([np.asarray(part[key]) for part in parts]))
        writer.write("clips/start", FRAMES * np.arange(count))
    return path
