"""Frames for the scene model."""

from pathlib import Path

from torch.utils.data import DataLoader

from sfvd_pl.artifacts import SharedWork
from sfvd_pl.datasets.batch import ClipBatch, GenerationBatch
from sfvd_pl.datasets.clips import ClipDataset, FixedSamples
from sfvd_pl.datasets.loaders import ResumableLoader
from sfvd_pl.datasets.modules.base import VALIDATION_SEED_OFFSET, SourceDataModule
from sfvd_pl.datasets.pieces import divided, piece_loader
from sfvd_pl.datasets.sequences import SequenceBank, SequenceConfig, SequenceDataset


class SceneDataModule(SourceDataModule):
    """Single frames to train the scene model on; mask sequences to draw fresh scenes for.

    Args:
        source: The source artifact.
        window: Side of the training windows and of what is generated, pixels; cut at native scale.
        frames: Length of the mask sequences that the generated scenes are to follow.
        batch_size: Samples a step on each device.
        steps_per_epoch: Optimiser steps between validations; training draws samples without end.
        suspects: What the guide suspects in the training clips; without, unlabelled frames teach nothing of wires.
        labelled_share: Share of samples drawn from labelled frames.
        anchored_share: Share of samples whose region is a band around courses; the others' is the whole window.
        val_samples: Validation samples, the same each time.
        num_scenes: Scenes that predict generates.
        predict_batch_size: Samples that are generated at once.
        simulated_share: Share of simulated wires among the generated.
        num_workers: Loader processes; -1 takes what the machine has to spare.
        seed: Decides every sample together with its id.
    """

    decisive = (*SourceDataModule.decisive, "labelled_share", "anchored_share", "val_samples")

    def __init__(
        self,
        source: Path,
        window: int = 64,
        frames: int = 9,
        batch_size: int = 16,
        steps_per_epoch: int = 100,
        suspects: Path | None = None,
        labelled_share: float = 0.5,
        anchored_share: float = 0.9,
        val_samples: int = 32,
        num_scenes: int = 32,
        predict_batch_size: int = 16,
        simulated_share: float = 0.5,
        num_workers: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(source, seed, batch_size, steps_per_epoch, num_workers)
        self.window = window
        self.frames = frames
        self.suspects = suspects
        self.labelled_share = labelled_share
        self.anchored_share = anchored_share
        self.val_samples = val_samples
        self.num_scenes = num_scenes
        self.predict_batch_size = predict_batch_size
        self.sequences = SequenceConfig(frames, window, simulated_share)
        self.work: SharedWork | None = None

    def train_dataloader(self) -> ResumableLoader:
        """Windows of frames, labelled and unlabelled."""
        dataset = ClipDataset(
            self.source,
            "train",
            seed=self.seed,
            window=self.window,
            labelled_share=self.labelled_share,
            anchored_share=self.anchored_share,
            suspects=self.suspects,
        )
        return self._training_loader(dataset, ClipBatch.collate)

    def val_dataloader(self) -> DataLoader[ClipBatch]:
        """Labelled windows of held-out patients, the same each time; a batch of training ones where there are none."""
        measured = self.validates
        dataset = ClipDataset(
            self.source,
            "val" if measured else "train",
            seed=self.seed + VALIDATION_SEED_OFFSET,
            window=self.window,
            labelled_share=1.0,
            anchored_share=self.anchored_share,
            augment=False,
        )
        samples = FixedSamples(dataset, self.val_samples if measured else self.batch_size)
        return self._dealt_loader(samples, self.batch_size, ClipBatch.collate, measured=measured)

    @property
    def sample_ids(self) -> list[int]:
        """Sample ids of the scenes that predict generates."""
        return list(range(self.num_scenes))

    def pieces(self, sample_ids: list[int]) -> list[list[int]]:
        """Samples that are generated together."""
        return divided(sample_ids, self.predict_batch_size)

    def predict_dataloader(self) -> DataLoader[GenerationBatch]:
        """Mask sequences whose scenes are to be made by this process."""
        bank = SequenceBank(self.source, self.sequences, self.seed)

        def make(ids: list[int]) -> GenerationBatch:
            sequences = SequenceDataset(bank, ids)
            return GenerationBatch.collate([sequences[k] for k in range(len(ids))])

        return piece_loader(self.work or self.pieces(self.sample_ids), self.predict_batch_size, make)
