"""``suspects.h5``: where the guide sees wires in the training clips."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from sfvd_pl.artifacts import Provenance
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.hashing import file_hash
from sfvd_pl.pipeline.inference import clip_probability, default_device, write_predictions


def write_suspects(out: Path, source: Path, guide_ckpt: Path, *, seed: int) -> Path:
    """The guide's probabilities on all frames of all training clips, labelled or not, as one artifact.

    Args:
        out: The artifact, of kind ``segmentation`` with the one arm ``guide``; pixels beyond a frame's extent are 0.
        source: The source artifact.
        guide_ckpt: The guide.
        seed: Of the guide.
    """
    index = ClipIndex(source, "train")
    artifact, clips = index.artifact, index.clips
    module = load_for_inference(SegmentationModule, guide_ckpt, default_device())
    provenance = Provenance(
        seed=seed,
        config={},
        parents={"source": artifact.content_hash, "guide": file_hash(guide_ckpt)},
        patients=tuple(sorted({*index.patients, *module.learned_from.get("patients", ())})),
    )
    length = index.length[clips]
    found = np.zeros((int(length.sum()), *artifact.frame_shape), np.float16)
    first = np.cumsum(length) - length
    for clip, start in zip(tqdm(clips, desc="suspects", unit="clip"), first, strict=True):
        probability = clip_probability(module, index.image(int(clip), np.arange(index.length[clip])))
        frames, height, width = probability.shape
        found[start : start + frames, :height, :width] = probability
    rows = np.flatnonzero(np.isin(index.clip_of_frame, clips))
    write_predictions(out, provenance, index, rows, {"guide": found})
    return out
