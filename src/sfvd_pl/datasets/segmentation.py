"""Frames to train and test wire segmenters on."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sfvd_pl.artifacts import Artifact, Kind, refuse_seen_by
from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.transforms import apply_classical, classical_augmentation
from sfvd_pl.datasets.windows import choose_window, philox
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.errors import ConfigError

Arm = Literal["real", "classical", "synthetic", "pretrain"]
"""What a segmenter of the comparison learns from; all arms take the same number of optimiser steps."""


@dataclass(frozen=True)
class MixConfig:
    """How synthetic frames are used.

    Attributes:
        arm: ``real`` only, ``classical`` augmentation of real ones, ``synthetic`` mixed with real ones, or
            ``pretrain`` on synthetic and then fine-tune on real ones.
        synthetic_share: Share of synthetic frames in the mixed arm.
        pretrain_share: Share of the training that the pre-training takes.
    """

    arm: Arm = "real"
    synthetic_share: float = 0.5
    pretrain_share: float = 0.5

    def __post_init__(self) -> None:
        """Shares lie strictly between 0 and 1, or the arm would be another one."""
        for key in ("synthetic_share", "pretrain_share"):
            if not 0.0 < getattr(self, key) < 1.0:
                raise ConfigError(
                    "a share must lie between 0 and 1", key=key, expected="0 < x < 1", found=getattr(self, key)
                )

    @property
    def needs_synthetic(self) -> bool:
        """Whether the arm reads synthetic clips."""
        return self.arm in ("synthetic", "pretrain")


class SyntheticFrames:
    """The accepted frames of a synthetic artifact.

    Args:
        path: The synthetic artifact.
        unseen: Patients that nothing in it may have been learned from; a LeakError names those that it was.
        source_hash: Content hash of the source whose clips it is mixed with. Names say who is who only within one
            source, so there is a warning where the clips were made from another one.
    """

    def __init__(self, path: Path | str, unseen: tuple[str, ...], source_hash: str | None = None) -> None:
        self.artifact = Artifact.open(Path(path), Kind.SYNTHETIC)
        refuse_seen_by(self.artifact, unseen, what="the generator of the synthetic clips")
        if source_hash is not None and self.artifact.parents.get("source") != source_hash:
            warnings.warn(
                f"{path} was made from another source: its patients are told apart from the held-out ones by their "
                "names only. Look for clips of one patient under two names with `sfvd data check`.",
                UserWarning,
                stacklevel=2,
            )
        accepted = np.flatnonzero(self.artifact.column("clips/accepted"))
        start, length = self.artifact.column("clips/start"), self.artifact.column("clips/length")
        self.rows: NDArray[np.int64] = np.concatenate(
            [np.arange(start[c], start[c] + length[c]) for c in accepted] or [np.empty(0, np.int64)]
        )
        if len(self.rows) == 0:
            raise ConfigError(
                "the gate accepted none of the synthetic clips",
                file=path,
                key="clips/accepted",
                expected="at least one",
                found=f"0 of {self.artifact.n_clips}",
                remedy="train the scene and motion models longer, or lower the gate's thresholds",
            )

    def frame(self, row: int) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
        """Picture in 0..1 and mask, ``H W``."""
        image = self.artifact.rows("frames/image", row, row + 1)[0].astype(np.float32)
        return image / self.artifact.intensity_max, self.artifact.rows("frames/wire_mask", row, row + 1)[0]


class SegmentationDataset(Dataset[FrameBatch]):
    """One training window for each sample id.

    Args:
        source: The source artifact.
        seed: With the sample id, decides everything that is drawn.
        window: Side of the windows, pixels.
        labels: See :class:`ClipIndex`.
        mix: Which arm.
        synthetic: The synthetic artifact, where the arm needs one.
        total_samples: Samples of the whole training, which the pre-training takes its share of.
        unseen: Patients that synthetic clips must not stem from.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        seed: int,
        window: int,
        labels: str,
        mix: MixConfig,
        synthetic: Path | str | None,
        total_samples: int,
        unseen: tuple[str, ...],
    ) -> None:
        self.index = ClipIndex(source, "train", labels)
        self.index.require_labels()
        self.rows = self.index.labelled_rows
        self.seed = seed
        self.window = window
        self.mix = mix
        self.total_samples = total_samples
        self.synthetic: SyntheticFrames | None = None
        if mix.needs_synthetic:
            if synthetic is None:
                raise ConfigError(
                    "this arm needs synthetic clips",
                    key="data.synthetic",
                    expected="a synthetic artifact",
                    found="none",
                    remedy="run the augment stage first, or choose the arm real or classical",
                )
            self.synthetic = SyntheticFrames(synthetic, unseen, self.index.artifact.content_hash)
        self.classical = classical_augmentation(seed) if mix.arm == "classical" else None

    def is_synthetic(self, sample_id: int, uniform: float) -> bool:
        """Whether a sample is drawn from the synthetic clips."""
        if self.mix.arm == "synthetic":
            return uniform < self.mix.synthetic_share
        return self.mix.arm == "pretrain" and sample_id < self.mix.pretrain_share * self.total_samples

    def __getitem__(self, sample_id: int) -> FrameBatch:
        """The sample with this id; the draws of an id are the same in every arm."""
        rng = philox(sample_seed(self.seed, sample_id, "segmentation"))
        uniform = rng.random(2)
        if self.synthetic is not None and self.is_synthetic(sample_id, float(uniform[0])):
            row = int(self.synthetic.rows[int(uniform[1] * len(self.synthetic.rows))])
            image, wire_mask = self.synthetic.frame(row)
        else:
            row = int(self.rows[int(uniform[1] * len(self.rows))])
            clip = int(self.index.clip_of_frame[row])
            offset = np.array([row - self.index.start[clip]])
            image, wire_mask = self.index.image(clip, offset)[0], self.index.wire_mask(clip, offset)[0]
        window = choose_window(
            rng,
            self.window,
            image.shape[0],
            image.shape[1],
            wire_mask[None],
            wire_probability=0.8,
            augment=True,
        )
        image, wire_mask = window.cut(image).astype(np.float32), window.cut(wire_mask)
        if self.classical is not None:
            seed = sample_seed(self.seed, sample_id, "classical")
            image, wire_mask = apply_classical(self.classical, seed, image, wire_mask)
        return FrameBatch(
            image=torch.from_numpy(np.ascontiguousarray(image))[None, None],
            wire_mask=torch.from_numpy(wire_mask.astype(np.float32))[None, None],
            row=torch.tensor([sample_id], dtype=torch.int64),
        )


class AnnotatedFrames(Dataset[FrameBatch]):
    """Every annotated frame of a split, whole: for validation and test."""

    def __init__(self, source: Path | str, split: str, *, limit: int | None = None) -> None:
        self.index = ClipIndex(source, split, "annotated")
        self.index.require_labels()
        rows = self.index.labelled_rows
        if limit is not None and len(rows) > limit:
            rows = rows[np.linspace(0, len(rows) - 1, limit).astype(int)]
        self.rows = rows

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def __getitem__(self, position: int) -> FrameBatch:
        """The frame at a position; ``row`` is its row in the frames table."""
        row = int(self.rows[position])
        artifact = self.index.artifact
        image = artifact.rows("frames/image", row, row + 1).astype(np.float32) / artifact.intensity_max
        return FrameBatch(
            image=torch.from_numpy(image)[None],
            wire_mask=torch.from_numpy(artifact.rows("frames/wire_mask", row, row + 1).astype(np.float32))[None],
            row=torch.tensor([row], dtype=torch.int64),
        )


class ArtifactFrames(Dataset[FrameBatch]):
    """Every frame of any artifact that holds clips, in order, with its mask: for prediction and measuring."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    def __len__(self) -> int:
        """How many."""
        return self.artifact.n_frames

    def __getitem__(self, row: int) -> FrameBatch:
        """The frame at a row of the frames table."""
        image = self.artifact.rows("frames/image", row, row + 1).astype(np.float32)
        mask = self.artifact.rows("frames/wire_mask", row, row + 1)
        return FrameBatch(
            image=torch.from_numpy(image / self.artifact.intensity_max)[None],
            wire_mask=torch.from_numpy(mask.astype(np.float32))[None],
            row=torch.tensor([row], dtype=torch.int64),
        )
