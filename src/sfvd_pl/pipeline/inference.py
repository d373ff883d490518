"""A trained segmenter applied to many frames."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from tqdm import tqdm

from sfvd_pl.artifacts import ArtifactWriter, Kind, Provenance
from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.loaders import DealtBatches
from sfvd_pl.datasets.segmentation import AnnotatedFrames
from sfvd_pl.datasets.sets import ClipSet, MeasuredClip
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.networks import normalise_frames

BATCH_PIXELS = 2**20
"""Pixels of a batch of whole frames: 16 frames of 256x256."""


def default_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def sampling_precision() -> str:
    """``bf16-mixed`` where the hardware multiplies in bfloat16 (2.1 times as fast, and the same wire to 0.4 %)."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    # Since PyTorch 2.12; without it nothing is known of the processor.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16-mixed" if capabilities.get("amx_bf16") else "32-true"


@torch.inference_mode()
def predict_frames(
    module: SegmentationModule, dataset: AnnotatedFrames, *, batch_size: int = 16, title: str | None = None
) -> Iterator[tuple[FrameBatch, NDArray[np.float32]]]:
    """Batches of frames of one size with the wire probability of each pixel, ``B H W``.

    Args:
        module: The segmenter, on the device it is to run on.
        dataset: Whole frames.
        batch_size: Frames at once.
        title: Shows a progress bar under this title.
    """
    together = DealtBatches(len(dataset), batch_size, sizes=dataset.sizes)
    loader: DataLoader[FrameBatch] = DataLoader(dataset, batch_sampler=together, collate_fn=FrameBatch.collate)
    for batch in tqdm(loader, desc=title, unit="batch") if title else loader:
        yield batch, module.probability(batch.image.to(module.device))[:, 0].cpu().numpy()


@torch.inference_mode()
def clip_probability(module: SegmentationModule, image: Float[np.ndarray, "T H W"]) -> Float[np.ndarray, "T H W"]:
    """Wire probability of each pixel of a clip.

    Args:
        module: The segmenter, on the device it is to run on.
        image: In 0..1, within the clip's valid extent.
    """
    frames = normalise_frames(torch.from_numpy(np.ascontiguousarray(image, np.float32)))
    near = torch.arange(-(module.frames // 2), module.frames // 2 + 1)
    found = []
    for rows in torch.split(torch.arange(len(frames)), max(1, BATCH_PIXELS // frames[0].numel())):
        neighbours = frames[(rows[:, None] + near).clamp(0, len(frames) - 1)]  # the first and the last are repeated
        found.append(module.probability(neighbours.to(module.device))[:, 0].cpu())
    return torch.cat(found).numpy()


def predict_clips(
    module: SegmentationModule, clips: ClipSet
) -> Iterator[tuple[MeasuredClip, Float[np.ndarray, "T H W"]]]:
    """Every clip with the wire probability of each pixel; one clip is in memory at a time."""
    for clip in clips:
        yield clip, clip_probability(module, clip.image.astype(np.float32) / clips.intensity_max)


def write_predictions(
    out: Path,
    provenance: Provenance,
    index: ClipIndex,
    rows: NDArray[np.int64],
    predictions: Mapping[str, NDArray[np.float16]],
) -> None:
    """Write probabilities of frames of a source as an artifact.

    Args:
        out: The artifact.
        provenance: Where it comes from.
        index: Of the source.
        rows: ``N``, rows of the source's frames table, ascending.
        predictions: ``N H W`` by arm.
    """
    clips, first, length = np.unique(index.clip_of_frame[rows], return_index=True, return_counts=True)
    with ArtifactWriter(out, Kind.SEGMENTATION, provenance, overwrite=True) as writer:
        writer.write("arms/name", list(predictions))
        writer.write("frames/probability", np.stack(list(predictions.values())))
        writer.write("frames/source_frame", rows.astype(np.int64))
        writer.write("clips/source_clip", clips.astype(np.int64))
        writer.write("clips/name", [str(index.name[c]) for c in clips])
        writer.write("clips/patient", [str(index.patient[c]) for c in clips])
        writer.write("clips/start", first.astype(np.int64))
        writer.write("clips/length", length.astype(np.int64))
