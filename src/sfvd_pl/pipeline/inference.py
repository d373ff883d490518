"""A trained segmenter applied to many frames."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.sets import ClipSet, MeasuredClip
from sfvd_pl.modules.segmentation import SegmentationModule


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
    module: SegmentationModule, dataset: Dataset[FrameBatch], *, batch_size: int = 16, title: str | None = None
) -> Iterator[tuple[FrameBatch, NDArray[np.float32]]]:
    """Batches of frames with the wire probability of each pixel, ``B H W``.

    Args:
        module: The segmenter, on the device it is to run on.
        dataset: Whole frames.
        batch_size: Frames at once.
        title: Shows a progress bar under this title.
    """
    loader: DataLoader[FrameBatch] = DataLoader(
        dataset, batch_size=batch_size, shuffle=False, collate_fn=FrameBatch.collate
    )
    batches = tqdm(loader, desc=title, unit="batch") if title else loader
    for batch in batches:
        probability = module(batch.image.to(module.device)).sigmoid()
        yield batch, probability[:, 0].float().cpu().numpy()


def predict_clips(
    module: SegmentationModule, clips: ClipSet, *, batch_size: int = 16
) -> Iterator[tuple[MeasuredClip, NDArray[np.float32]]]:
    """Every clip with the wire probability of each pixel, ``T H W``.

    Short clips share a batch and long ones take several, so memory depends on neither their number nor their length.

    Args:
        module: The segmenter, on the device it is to run on.
        clips: The set.
        batch_size: Frames at once.
    """
    waiting: list[MeasuredClip] = []
    for clip in clips:
        if waiting and (clip.image.shape[1:] != waiting[0].image.shape[1:] or _frames(waiting) >= batch_size):
            yield from _together(module, waiting, clips.intensity_max, batch_size)
            waiting = []
        waiting.append(clip)
    if waiting:
        yield from _together(module, waiting, clips.intensity_max, batch_size)


def _frames(clips: Iterable[MeasuredClip]) -> int:
    return sum(len(clip.image) for clip in clips)


def _together(
    module: SegmentationModule, clips: list[MeasuredClip], intensity_max: int, batch_size: int
) -> Iterator[tuple[MeasuredClip, NDArray[np.float32]]]:
    """Clips of one size through the network."""
    pixels = np.concatenate([clip.image for clip in clips])
    found = []
    for first in range(0, len(pixels), batch_size):
        part = pixels[first : first + batch_size].astype(np.float32) / intensity_max
        with torch.inference_mode():  # not around a yield: whoever walks over the clips isn't in it
            probability = module(torch.from_numpy(part)[:, None].to(module.device)).sigmoid()
        found.append(probability[:, 0].float().cpu().numpy())
    rows, first = np.concatenate(found), 0
    for clip in clips:
        yield clip, rows[first : first + len(clip.image)]
        first += len(clip.image)
