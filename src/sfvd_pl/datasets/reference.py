"""Real clips cut like generated ones, so that both are measured on the same footing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8, UInt16
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.sequences import MIN_WIRE_PIXELS, TRIES
from sfvd_pl.datasets.windows import choose_window, philox
from sfvd_pl.diffusion import sample_seed


@dataclass(frozen=True)
class ReferenceClip:
    """A window of a real clip with its label.

    Attributes:
        image: ``T H W``.
        wire_mask: ``T H W``.
        annotated: ``T``.
        patient: Whose it is.
        name: Name of the clip.
    """

    image: UInt8[np.ndarray, "T H W"] | UInt16[np.ndarray, "T H W"]
    wire_mask: UInt8[np.ndarray, "T H W"]
    annotated: Bool[np.ndarray, " T"]
    patient: str
    name: str


def reference_clips(
    source: Path | str, split: str, *, window: int, frames: int, seed: int, windows_per_clip: int = 2
) -> list[ReferenceClip]:
    """Windows of the annotated clips of a split that keep the wire in view, as the mask sequences do.

    Args:
        source: The source artifact.
        split: Which patients.
        window: Side of the windows, pixels.
        frames: Frames of a window; a shorter clip gives all it has.
        seed: Decides where they lie.
        windows_per_clip: How many are cut from each clip.
    """
    index = ClipIndex(source, split, "annotated")
    index.require_labels()
    clips = []
    for clip in index.clips:
        length = int(index.length[clip])
        if not index.known(int(clip), np.arange(length)).any():
            continue
        for number in range(windows_per_clip):
            rng = philox(sample_seed(seed, int(clip) * windows_per_clip + number, "reference"))
            found = _cut(index, int(clip), window, min(frames, length), rng)
            if found is not None:
                clips.append(found)
    return clips


def _cut(
    index: ClipIndex, clip: int, window: int, frames: int, rng: np.random.Generator
) -> ReferenceClip | None:
    for _ in range(TRIES):
        first = int(rng.integers(int(index.length[clip]) - frames + 1))
        offsets = np.arange(first, first + frames)
        known = index.known(clip, offsets)
        masks = index.wire_mask(clip, offsets)
        place = choose_window(
            rng, window, masks.shape[1], masks.shape[2], masks, wire_probability=1.0, augment=False
        )
        cut: NDArray[np.uint8] = place.cut(masks).astype(np.uint8)
        area = cut.reshape(frames, -1).sum(1)
        if known.any() and (area[known] >= MIN_WIRE_PIXELS).all():
            pixels = index.image(clip, offsets) * index.artifact.intensity_max
            dtype = np.uint8 if index.artifact.intensity_max <= 255 else np.uint16
            image = place.cut(pixels.round().astype(dtype))
            return ReferenceClip(image, cut, known, str(index.patient[clip]), str(index.name[clip]))
    return None


class ReferenceFrames(Dataset[FrameBatch]):
    """The frames of reference clips, one after the other."""

    def __init__(self, clips: list[ReferenceClip], intensity_max: int) -> None:
        self.image = np.concatenate([clip.image for clip in clips])
        self.wire_mask = np.concatenate([clip.wire_mask for clip in clips])
        self.intensity_max = intensity_max

    def __len__(self) -> int:
        """How many."""
        return len(self.image)

    def __getitem__(self, row: int) -> FrameBatch:
        """One frame."""
        return FrameBatch(
            image=torch.from_numpy(self.image[row].astype(np.float32) / self.intensity_max)[None, None],
            wire_mask=torch.from_numpy(self.wire_mask[row].astype(np.float32))[None, None],
            row=torch.tensor([row], dtype=torch.int64),
        )
