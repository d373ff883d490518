"""Training samples of the diffusion models: windows of frames with every random number that a step needs."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sfvd_pl.datasets.batch import ClipBatch
from sfvd_pl.datasets.courses import random_course
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.suspicion import RIM_PX, Suspicion, suspected
from sfvd_pl.datasets.windows import REGION_RADIUS_PX, band_around, centreline_nearness, choose_window, philox
from sfvd_pl.diffusion import sample_noise, sample_seed
from sfvd_pl.errors import SourceError

GOLDEN_RATIO = 0.6180339887498949
"""The additive recurrence of this step fills [0, 1) most evenly (Roberts 2018), so that consecutive samples cover
the diffusion times and the loss varies less from batch to batch than with independent draws."""
COURSE_WIDTH_PX = 2.0
"""Width of the courses along which no wire is."""


class ClipDataset(Dataset[ClipBatch]):
    """One training sample for each sample id, whatever the order in which they are asked for.

    An *anchored* sample has a band around courses for its region: around the wire where the label is known, and around
    random courses, along which there is no wire as far as is known. A *fresh* one has the whole window. An unlabelled
    frame is known to have no wire where the guide suspects none.

    Args:
        source: The source artifact.
        split: Which patients.
        seed: With the sample id, decides everything that is drawn.
        window: Side of the windows, pixels.
        context: Frames before the block that the motion model is given, the clip's first included; 0 for scenes.
        block: Frames to denoise; 1 for scenes.
        frames: Length of the clips that will be generated, which bounds how far a block lies from its first frame.
        labelled_share: Share of the samples drawn from labelled frames.
        anchored_share: Share of the anchored samples.
        suspects: What the guide suspects in the training clips; without, nothing is known of unlabelled frames.
        augment: Turn and mirror the windows.
    """

    def __init__(
        self,
        source: Path | str,
        split: str,
        *,
        seed: int,
        window: int,
        context: int = 0,
        block: int = 1,
        frames: int = 1,
        labelled_share: float = 0.5,
        anchored_share: float = 0.9,
        suspects: Path | str | None = None,
        augment: bool = True,
    ) -> None:
        self.index = ClipIndex(source, split)
        self.suspicion = None if suspects is None else Suspicion(suspects, self.index.artifact)
        self.seed = seed
        self.window = window
        self.context = context
        self.block = block
        self.frames = frames
        self.labelled_share = labelled_share
        self.anchored_share = anchored_share
        self.augment = augment
        self._choose_clips()

    def _choose_clips(self) -> None:
        """Clips that are long enough, those with labels apart."""
        self.index.require_labels()
        needed = self.block + (1 if self.context else 0)
        long_enough = [int(c) for c in self.index.clips if self.index.length[c] >= needed]
        known = self.index.label_known
        starts, lengths = self.index.start, self.index.length
        self.labelled = [c for c in long_enough if known[starts[c] : starts[c] + lengths[c]].any()]
        self.unlabelled = [c for c in long_enough if not known[starts[c] : starts[c] + lengths[c]].all()]
        if not self.labelled:
            raise SourceError(
                "no labelled clip is long enough for a training block",
                file=self.index.artifact.path,
                key="clips/length",
                expected=f"at least {needed} frames",
                found=f"longest {max(lengths[self.index.clips])}",
                remedy="shorten data.block, or bring longer clips",
            )

    def __getitem__(self, sample_id: int) -> ClipBatch:
        """The sample with this id."""
        rng = philox(sample_seed(self.seed, sample_id, "window"))
        labelled = rng.random() < self.labelled_share or not self.unlabelled
        pool = self.labelled if labelled else self.unlabelled
        clip = pool[int(rng.integers(len(pool)))]
        offsets = self._offsets(rng, clip, labelled)
        wire_mask = self.index.wire_mask(clip, offsets)
        if not labelled:
            # A frame drawn as unlabelled stays so even in a clip that is labelled in part.
            wire_mask = np.zeros_like(wire_mask)
        window = choose_window(
            rng,
            self.window,
            int(self.index.height[clip]),
            int(self.index.width[clip]),
            wire_mask,
            wire_probability=0.85,
            augment=self.augment,
        )
        known = window.cut(self._known(clip, offsets, labelled))
        wire_mask = window.cut(wire_mask)
        region = self._region(rng, wire_mask)
        return self._sample(sample_id, window.cut(self.index.image(clip, offsets)), wire_mask, known, region)

    def _known(self, clip: int, offsets: NDArray[np.int64], labelled: bool) -> NDArray[np.bool_]:
        """Where it is known whether there is a wire, ``T H W``."""
        if labelled:
            known = self.index.known(clip, offsets)[:, None, None]
            return np.asarray(known & (self.index.ignore(clip, offsets) == 0))
        shape = (len(offsets), int(self.index.height[clip]), int(self.index.width[clip]))
        if self.suspicion is None:
            return np.zeros(shape, np.bool_)
        rows = self.index.start[clip] + offsets
        suspects = np.stack([suspected(self.suspicion.probability(int(row))) for row in rows])
        return ~(suspects | band_around(self.index.wire_mask(clip, offsets), RIM_PX))

    def _region(self, rng: np.random.Generator, wire_mask: NDArray[np.generic]) -> NDArray[np.bool_]:
        """What the network is to draw, ``T H W``."""
        uniform = rng.random(2)
        if uniform[0] >= self.anchored_share:
            return np.ones(wire_mask.shape, np.bool_)
        drawn: NDArray[np.bool_] = wire_mask != 0
        if uniform[1] < 0.5 or not drawn.any():
            course = random_course(rng, self.window, self.window, COURSE_WIDTH_PX) > 0.5
            # A course drifts through the frames as a wire does.
            drift = np.cumsum(rng.normal(0.0, 1.0, (len(wire_mask), 2)), axis=0).round().astype(int)
            drawn = drawn | np.stack([np.roll(course, shift, (0, 1)) for shift in drift])
        return band_around(drawn, REGION_RADIUS_PX)

    def _offsets(self, rng: np.random.Generator, clip: int, labelled: bool) -> NDArray[np.int64]:
        """Frames of the sample: first frame, history, block; just one for scenes."""
        length = int(self.index.length[clip])
        uniform = rng.random(2)
        if self.context == 0:
            candidates = np.arange(length)
            if labelled:
                candidates = candidates[self.index.known(clip, candidates)]
            return candidates[[int(uniform[0] * len(candidates))]]
        span = min(self.frames, length)
        first = int(uniform[0] * (length - span + 1))
        begin = 1 + int(uniform[1] * (span - self.block))
        history = np.maximum(np.arange(begin - (self.context - 1), begin), 0)
        return first + np.concatenate([[0], history, np.arange(begin, begin + self.block)])

    def _sample(
        self,
        sample_id: int,
        image: NDArray[np.generic],
        wire_mask: NDArray[np.generic],
        known: NDArray[np.generic],
        region: NDArray[np.bool_],
    ) -> ClipBatch:
        shape = (1, *image.shape)
        draws = philox(sample_seed(self.seed, sample_id, "draws")).random(2)
        offset = philox(sample_seed(self.seed, 0, "time")).random()
        draws[0] = (offset + sample_id * GOLDEN_RATIO) % 1.0

        def tensor(frames: NDArray[np.generic]) -> torch.Tensor:
            return torch.from_numpy(frames.astype(np.float32))[None, None]

        return ClipBatch(
            image=torch.from_numpy(image)[None, None],
            wire_mask=tensor(wire_mask),
            nearness=tensor(centreline_nearness(wire_mask)),
            known=tensor(known),
            region=tensor(region),
            noise=sample_noise(self.seed, [sample_id], shape, "noise"),
            shared_noise=sample_noise(self.seed, [sample_id], (1, *shape[2:]), "shared"),
            context_noise=sample_noise(self.seed, [sample_id], shape, "context"),
            uniforms=torch.from_numpy(draws.astype(np.float32))[None].clamp_(max=1 - 2**-24),
            sample_id=torch.tensor([sample_id], dtype=torch.int64),
        )


class FixedSamples(Dataset[ClipBatch]):
    """The first ``count`` samples of a dataset, the same in every epoch: for validation."""

    def __init__(self, dataset: ClipDataset, count: int) -> None:
        self.dataset = dataset
        self.count = count

    def __len__(self) -> int:
        """How many."""
        return self.count

    def __getitem__(self, index: int) -> ClipBatch:
        """The sample whose id is ``index``."""
        return self.dataset[index]
