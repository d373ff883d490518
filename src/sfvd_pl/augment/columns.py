"""Generated pictures as columns of an artifact."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from sfvd_pl.datasets.batch import GenerationBatch
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.metrics.visibility import clip_visibility

SYNTHETIC_PATIENT = "synthetic"
Columns = dict[str, NDArray[np.generic] | list[str]]


def quantise(image: Float[torch.Tensor, "*S"], intensity_max: int) -> NDArray[np.generic]:
    """Detector signal in 0..1 as integers of the source's depth."""
    dtype = np.uint8 if intensity_max <= 255 else np.uint16
    return np.asarray((image.float() * intensity_max).round().cpu().numpy(), dtype)


def identity_columns(batch: GenerationBatch, seed: int) -> Columns:
    """Who each clip is and what was asked of it."""
    ids = [int(i) for i in batch.sample_id]
    length = batch.wire_mask.shape[2]
    return {
        "clips/name": [f"{SYNTHETIC_PATIENT}/{i:06d}" for i in ids],
        "clips/patient": [SYNTHETIC_PATIENT] * len(ids),
        "clips/length": np.full(len(ids), length, np.int64),
        "clips/sample_id": np.array(ids, np.int64),
        "clips/sample_seed": np.array([sample_seed(seed, i, "sequence") for i in ids], np.int64),
        "clips/requested_visibility": batch.visibility.float().cpu().numpy(),
        "clips/mask_origin": list(batch.origin),
        "clips/mask_source": list(batch.mask_source),
        "clips/height": np.full(len(ids), batch.wire_mask.shape[3], np.int64),
        "clips/width": np.full(len(ids), batch.wire_mask.shape[4], np.int64),
    }


def _masks(batch: GenerationBatch) -> NDArray[np.uint8]:
    """``B T H W``, 0 or 1."""
    return np.asarray(batch.wire_mask[:, 0].cpu().numpy() > 0.5, np.uint8)


def scene_columns(
    batch: GenerationBatch, image: Float[torch.Tensor, "B 1 1 H W"], seed: int, intensity_max: int
) -> Columns:
    """Rows of a scenes artifact."""
    masks, pixels = _masks(batch), quantise(image[:, 0, 0], intensity_max)
    measured = clip_visibility(pixels, masks[:, 0])
    return {
        **identity_columns(batch, seed),
        "clips/scene": pixels,
        "clips/measured_visibility": measured.astype(np.float32),
        "frames/wire_mask": masks.reshape(-1, *masks.shape[2:]),
    }


def clip_columns(
    batch: GenerationBatch, image: Float[torch.Tensor, "B 1 T H W"], seed: int, intensity_max: int
) -> Columns:
    """Rows of a motions artifact; the common part of a synthetic one."""
    masks, pixels = _masks(batch), quantise(image[:, 0], intensity_max)
    flat_masks, flat_pixels = (a.reshape(-1, *a.shape[2:]) for a in (masks, pixels))
    return {
        **identity_columns(batch, seed),
        "frames/image": flat_pixels,
        "frames/wire_mask": flat_masks,
        "frames/annotated": np.ones(len(flat_masks), np.bool_),
        "frames/visibility": clip_visibility(flat_pixels, flat_masks).astype(np.float32),
    }


def synthetic_columns(
    batch: GenerationBatch,
    image: Float[torch.Tensor, "B 1 T H W"],
    seed: int,
    intensity_max: int,
    facts: Mapping[str, NDArray[np.generic] | list[str]],
) -> Columns:
    """Rows of a synthetic artifact.

    Args:
        batch: What was asked for.
        image: What came of it.
        seed: Of the run.
        intensity_max: Depth of the pixels.
        facts: Columns that only the caller knows: background, contrast, the gate's verdict. One of them may replace
            a column of a fresh clip: nothing ignored, no background, contrast 1, not chosen for being hard.
    """
    columns = clip_columns(batch, image, seed, intensity_max)
    visibility = np.asarray(columns["frames/visibility"]).reshape(len(batch.sample_id), -1)
    clips = len(batch.sample_id)
    return {
        **columns,
        "frames/ignore": np.zeros_like(columns["frames/wire_mask"]),
        "clips/background": [""] * clips,
        "clips/background_patient": [""] * clips,
        "clips/background_start": np.zeros(clips, np.int64),
        "clips/contrast": np.ones(clips, np.float32),
        "clips/attenuation_cnr": np.full(clips, np.nan, np.float32),
        "clips/hard": np.zeros(clips, np.bool_),
        "clips/measured_visibility": median_visibility(visibility),
        "clips/segmentation_scale": batch.segmentation_scale.float().cpu().numpy(),
        **facts,
    }


def median_visibility(visibility: NDArray[np.generic]) -> NDArray[np.float32]:
    """Median over the frames of each clip, ``B``; NaN where no frame's visibility could be measured."""
    values = np.asarray(visibility, np.float64)
    known = np.isfinite(values).any(1)
    out = np.full(len(values), np.nan, np.float32)
    out[known] = np.nanmedian(values[known], axis=1)
    return out
