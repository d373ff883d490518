"""Blocks of frames for the motion model."""

from pathlib import Path

from torch.utils.data import DataLoader

from sfvd_pl.artifacts import Artifact, Kind, SharedWork
from sfvd_pl.datasets.batch import ClipBatch, GenerationBatch
from sfvd_pl.datasets.clips import ClipDataset, FixedSamples
from sfvd_pl.datasets.loaders import ResumableLoader
from sfvd_pl.datasets.modules.base import VALIDATION_SEED_OFFSET, SourceDataModule
from sfvd_pl.datasets.modules.scene import SceneDataModule
from sfvd_pl.datasets.pieces import divided, piece_loader
from sfvd_pl.datasets.sequences import SceneRollouts
from sfvd_pl.errors import ConfigError


class MotionDataModule(SourceDataModule):
    """Blocks of frames with their context to train the motion model on; scenes to roll out.

    Args:
        source: The source artifact.
        scenes: The scenes artifact, which predict rolls out.
        window: Side of the windows, pixels.
        frames: Length of the clips to generate.
        block: Frames that are denoised together.
        history: Frames before the block that the model is given beside the first one.
        batch_size: Samples a step on each device.
        steps_per_epoch: Optimiser steps between validations.
        suspects: What the guide suspects in the training clips; without, unlabelled frames teach nothing of wires.
        labelled_share: Share of samples drawn from labelled frames.
        anchored_share: Share of samples whose region is a band around courses; the others' is the whole window.
        val_samples: Validation samples, the same each time.
        predict_batch_size: Clips that are generated at once.
        num_clips: Clips that predict generates; at most as many as there are scenes.
        num_workers: Loader processes; -1 takes what the machine has to spare.
        seed: Decides every sample together with its id.
    """

    decisive = (*SceneDataModule.decisive, "frames", "block", "history")

    def __init__(
        self,
        source: Path,
        scenes: Path | None = None,
        window: int = 64,
        frames: int = 9,
        block: int = 4,
        history: int = 2,
        batch_size: int = 4,
        steps_per_epoch: int = 100,
        suspects: Path | None = None,
        labelled_share: float = 0.5,
        anchored_share: float = 0.9,
        val_samples: int = 16,
        predict_batch_size: int = 8,
        num_clips: int = 16,
        num_workers: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(source, seed, batch_size, steps_per_epoch, num_workers)
        self.scenes = None if scenes is None else Path(scenes)
        self.window = window
        self.frames = frames
        self.block = block
        self.history = history
        self.suspects = suspects
        self.labelled_share = labelled_share
        self.anchored_share = anchored_share
        self.val_samples = val_samples
        self.predict_batch_size = predict_batch_size
        self.num_clips = num_clips
        self.work: SharedWork | None = None
        if frames < 1 + block or (frames - 1) % block:
            raise ConfigError(
                "a clip is its first frame and whole blocks",
                key="data.frames",
                expected=f"1 + a multiple of block = {block}",
                found=frames,
                remedy="change data.block or data.frames",
            )

    def _dataset(self, split: str, seed: int, *, labelled_share: float, augment: bool) -> ClipDataset:
        return ClipDataset(
            self.source,
            split,
            seed=seed,
            window=self.window,
            context=1 + self.history,
            block=self.block,
            frames=self.frames,
            labelled_share=labelled_share,
            anchored_share=self.anchored_share,
            suspects=self.suspects if split == "train" else None,
            augment=augment,
        )

    def train_dataloader(self) -> ResumableLoader:
        """Blocks with their context, labelled and unlabelled."""
        dataset = self._dataset("train", self.seed, labelled_share=self.labelled_share, augment=True)
        return self._training_loader(dataset, ClipBatch.collate)

    def val_dataloader(self) -> DataLoader[ClipBatch]:
        """Labelled blocks of held-out patients, the same each time; a batch of training ones where there are none."""
        measured = self.validates
        dataset = self._dataset(
            "val" if measured else "train", self.seed + VALIDATION_SEED_OFFSET, labelled_share=1.0, augment=False
        )
        samples = FixedSamples(dataset, self.val_samples if measured else self.batch_size)
        return self._dealt_loader(samples, self.batch_size, ClipBatch.collate, measured=measured)

    @property
    def sample_ids(self) -> list[int]:
        """Sample ids of the scenes that predict rolls out."""
        return [int(i) for i in self._open_scenes().column("clips/sample_id")[: self.num_clips]]

    def _open_scenes(self) -> Artifact:
        if self.scenes is None:
            raise ConfigError(
                "rolling out clips needs scenes",
                key="data.scenes",
                expected="a scenes artifact",
                found="none",
                remedy="run `sfvd scene predict` first and pass its artifact",
            )
        return Artifact.open(self.scenes, Kind.SCENES)

    def pieces(self, sample_ids: list[int]) -> list[list[int]]:
        """Samples that are generated together."""
        return divided(sample_ids, self.predict_batch_size)

    def predict_dataloader(self) -> DataLoader[GenerationBatch]:
        """Scenes whose clips are to be made by this process."""
        scenes = self._open_scenes()
        if scenes.frame_shape != (self.window, self.window):
            raise ConfigError(
                "the scenes have another size than the motion model's windows",
                file=self.scenes,
                key="data.window",
                expected=self.window,
                found=scenes.frame_shape,
                remedy="generate the scenes with the same window",
            )
        row_of = {int(i): row for row, i in enumerate(scenes.column("clips/sample_id"))}

        def make(ids: list[int]) -> GenerationBatch:
            rollouts = SceneRollouts(scenes, [row_of[i] for i in ids])
            return GenerationBatch.collate([rollouts[k] for k in range(len(ids))])

        return piece_loader(self.work or self.pieces(self.sample_ids), self.predict_batch_size, make)
