"""A trained segmenter applied to many frames."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.modules.segmentation import SegmentationModule


def default_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
