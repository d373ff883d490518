"""Pairs of views of one window, from which a feature network learns what pictures of this domain differ in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sfvd_pl.datasets.batch import Batch
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.windows import Window, philox
from sfvd_pl.diffusion import sample_seed


@dataclass(frozen=True)
class ViewConfig:
    """What two views of a window may differ in, and so what the features are to disregard.

    Grain and sharpness are not among it beyond a trace: features that disregard them could not tell that generated
    pictures lack them.

    Attributes:
        shift: Distance of the two windows at most, in each direction, as a share of their side.
        brightness: Added at most, as a share of full scale.
        contrast: Factor is 1 give or take this.
        noise: Largest standard deviation of added noise, as a share of full scale.
    """

    shift: float = 0.25
    brightness: float = 0.06
    contrast: float = 0.15
    noise: float = 0.008


@dataclass
class ViewBatch(Batch):
    """Two views each of some windows.

    Attributes:
        views: ``B 2 T H W``, detector signal, about 0..1.
        sample_id: ``B``.
    """

    views: Float[Tensor, "B 2 T H W"]
    sample_id: Int64[Tensor, " B"]


class ViewDataset(Dataset[ViewBatch]):
    """One pair of views for each sample id, from any clip of a split: no mask is used, so no label is needed.

    Args:
        source: The source artifact.
        split: Which patients.
        seed: With the sample id, decides everything that is drawn.
        window: Side of the windows, pixels.
        frames: Consecutive frames of a window; a shorter clip stands still at its end.
        views: What the two may differ in.
        count: Samples that there are; None: no end.
    """

    def __init__(
        self,
        source: Path | str,
        split: str,
        *,
        seed: int,
        window: int,
        frames: int,
        views: ViewConfig,
        count: int | None = None,
    ) -> None:
        self.index = ClipIndex(source, split)
        self.seed = seed
        self.window = window
        self.frames = frames
        self.views = views
        self.count = count

    def __len__(self) -> int:
        """How many samples."""
        return 2**62 if self.count is None else self.count

    def __getitem__(self, sample_id: int) -> ViewBatch:
        """The sample with this id."""
        rng = philox(sample_seed(self.seed, sample_id, "views"))
        clip = int(self.index.clips[int(rng.integers(len(self.index.clips)))])
        length = int(self.index.length[clip])
        first = int(rng.integers(max(1, length - self.frames + 1)))
        offsets = np.minimum(np.arange(first, first + self.frames), length - 1)
        frames = self.index.image(clip, offsets)
        views = np.stack([self._view(rng, frames, place) for place in self._places(rng, frames)])
        return ViewBatch(torch.from_numpy(views)[None], torch.tensor([sample_id], dtype=torch.int64))

    def _places(self, rng: np.random.Generator, frames: NDArray[np.float32]) -> list[Window]:
        """Two overlapping windows, each upside down and mirrored or not on its own."""
        free = np.maximum(np.array(frames.shape[1:]) - self.window, 0)
        corner = rng.integers(free + 1)
        reach = int(self.views.shift * self.window)
        other = np.clip(corner + rng.integers(-reach, reach + 1, size=2), 0, free)
        return [
            Window(int(top), int(left), self.window, 2 * int(rng.integers(2)), bool(rng.integers(2)))
            for top, left in (corner, other)
        ]

    def _view(self, rng: np.random.Generator, frames: NDArray[np.float32], place: Window) -> NDArray[np.float32]:
        low, high = -self.views.contrast, self.views.contrast
        gain = 1.0 + rng.uniform(low, high)
        offset = rng.uniform(-self.views.brightness, self.views.brightness)
        cut = place.cut(frames).astype(np.float32)
        middle = float(cut.mean())
        noise = rng.standard_normal(cut.shape, np.float32) * np.float32(rng.uniform(0.0, self.views.noise))
        return (cut - middle) * np.float32(gain) + np.float32(middle + offset) + noise
