"""Artifacts of any size for the benchmarks, quickly made."""

from pathlib import Path

import numpy as np

from sfvd_pl.artifacts import ArtifactWriter, Kind, Provenance

CLIP = 16
"""Frames a clip."""


def wire_masks(rng: np.random.Generator, side: int) -> np.ndarray:
    """One clip of masks: a band across the frame, moving a little."""
    masks = np.zeros((CLIP, side, side), np.uint8)
    row = int(rng.integers(4, side - 4 - CLIP))
    for frame in range(CLIP):
        masks[frame, row + frame : row + frame + 2, 4:-4] = 1
    return masks


def write_motions(path: Path, frames: int, side: int) -> Path:
    """Noise with wire masks, ``frames`` rounded down to whole clips."""
    rng, clips = np.random.default_rng(0), frames // CLIP
    pool = rng.integers(0, 256, (8 * CLIP, side, side), dtype=np.uint8)
    provenance = Provenance(seed=0, config={}, parents={"source": "0" * 64}, patients=("p0",))
    with ArtifactWriter(path, Kind.MOTIONS, provenance, overwrite=True) as writer:
        for _ in range(clips):
            first = int(rng.integers(0, 7 * CLIP))
            writer.append("frames/image", pool[first : first + CLIP] ^ np.uint8(rng.integers(256)))
            writer.append("frames/wire_mask", wire_masks(rng, side))
        writer.write("frames/annotated", np.ones(clips * CLIP, np.bool_))
        writer.write("frames/visibility", np.full(clips * CLIP, 2, np.float32))
        writer.write("clips/name", [f"p/{k}" for k in range(clips)])
        writer.write("clips/patient", ["p"] * clips)
        writer.write("clips/start", np.arange(clips) * CLIP)
        writer.write("clips/length", np.full(clips, CLIP))
        writer.write("clips/sample_id", np.arange(clips))
        writer.write("clips/sample_seed", np.arange(clips))
        writer.write("clips/requested_visibility", np.full(clips, 2, np.float32))
        writer.write("clips/mask_origin", ["simulated"] * clips)
        writer.write("clips/mask_source", [str(k) for k in range(clips)])
        writer.write("clips/height", np.full(clips, side))
        writer.write("clips/width", np.full(clips, side))
    return path
