"""Generated pictures as columns of an artifact."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from sfvd_pl.augment.plan import Plan, PlannedClip
from sfvd_pl.datasets.batch import GenerationBatch
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.metrics.visibility import clip_median, clip_visibility

SYNTHETIC_PATIENT = "synthetic"
Columns = dict[str, NDArray[np.generic] | list[str]]


@dataclass(frozen=True)
class DrawnClip:
    """What came of a planned clip.

    Attributes:
        pixels: ``T H W``, integers of the source's depth.
        contrast: Power of the attenuation.
        attenuation_cnr: How far the drawn wire stands out of the noise.
        gate_dice: Mean Dice of the second segmenter; NaN where there is none.
        reject_reason: The gate's; empty where the clip is accepted.
    """

    pixels: NDArray[np.generic]
    contrast: float
    attenuation_cnr: float
    gate_dice: float
    reject_reason: str


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
        "clips/requested_visibility": np.full(len(ids), np.nan, np.float32),
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


def anchored_columns(clip: PlannedClip, drawn: DrawnClip, plan: Plan, intensity_max: int) -> Columns:
    """Rows of a synthetic artifact: one clip, padded to the artifact's frames."""
    length, height, width = drawn.pixels.shape
    padding = ((0, 0), (0, plan.frame_shape[0] - height), (0, plan.frame_shape[1] - width))
    visibility = clip_visibility(drawn.pixels, clip.wire_mask, ignore=clip.ignore)
    return {
        "frames/image": np.pad(drawn.pixels, padding, mode="edge"),
        "frames/wire_mask": np.pad(clip.label, padding),
        "frames/ignore": np.pad(clip.ignore, padding, constant_values=1),
        "frames/annotated": np.ones(length, np.bool_),
        "frames/visibility": visibility.astype(np.float32),
        "clips/name": [f"{SYNTHETIC_PATIENT}/{clip.sample_id:06d}"],
        "clips/patient": [SYNTHETIC_PATIENT],
        "clips/length": np.array([length], np.int64),
        "clips/height": np.array([height], np.int64),
        "clips/width": np.array([width], np.int64),
        "clips/sample_id": np.array([clip.sample_id], np.int64),
        "clips/sample_seed": np.array([sample_seed(plan.seed, clip.sample_id, "sequence")], np.int64),
        "clips/mask_origin": [clip.mask_origin],
        "clips/mask_source": [clip.mask_source],
        "clips/background": [clip.background],
        "clips/background_patient": [clip.background_patient],
        "clips/background_start": np.array([clip.background_start], np.int64),
        "clips/requested_visibility": np.array([clip.visibility], np.float32),
        "clips/measured_visibility": np.array([clip_median(visibility)], np.float32),
        "clips/contrast": np.array([drawn.contrast], np.float32),
        "clips/attenuation_cnr": np.array([drawn.attenuation_cnr], np.float32),
        "clips/hard": np.array([clip.hard]),
        "clips/segmentation_scale": np.array([clip.segmentation_scale], np.float32),
        "clips/gate_dice": np.array([drawn.gate_dice], np.float32),
        "clips/accepted": np.array([not drawn.reject_reason]),
        "clips/reject_reason": [drawn.reject_reason],
    }
