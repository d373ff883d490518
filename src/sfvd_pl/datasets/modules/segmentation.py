"""Windows and whole frames for the wire segmenters."""

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from sfvd_pl.artifacts import Artifact, Kind, content_hash, refuse_seen_by
from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.loaders import ResumableLoader
from sfvd_pl.datasets.modules.base import SourceDataModule
from sfvd_pl.datasets.segmentation import AnnotatedFrames, ArtifactFrames, MixConfig, SegmentationDataset
from sfvd_pl.errors import ConfigError


class SegmentationDataModule(SourceDataModule):
    """Windows to train a wire segmenter on, whole frames to test it on.

    Args:
        source: The source artifact.
        synthetic: The synthetic artifact, for the arms that use one.
        mix: Which arm, and how synthetic frames are mixed in.
        window: Side of the training windows, pixels.
        labels: ``labelled``: masks of labelled clips. ``annotated``: of all annotated clips of the training
            patients, for the independent segmenter that measures label fidelity.
        batch_size: Samples a step on each device.
        steps_per_epoch: Optimiser steps between validations.
        eval_batch_size: Whole frames at a time in validation and test.
        val_frames: At most this many validation frames, spread evenly; all are tested.
        num_workers: Loader processes; -1 takes what the machine has to spare.
        seed: Decides every sample together with its id.
    """

    decisive = (*SourceDataModule.decisive, "mix", "labels", "val_frames")

    def __init__(
        self,
        source: Path,
        synthetic: Path | None = None,
        mix: MixConfig = MixConfig(),  # noqa: B008  # frozen
        window: int = 64,
        labels: str = "labelled",
        batch_size: int = 12,
        steps_per_epoch: int = 100,
        eval_batch_size: int = 8,
        val_frames: int = 48,
        num_workers: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(source, seed, batch_size, steps_per_epoch, num_workers)
        if labels not in ("labelled", "annotated"):
            raise ConfigError(
                "unknown choice of labels", key="data.labels", expected="labelled or annotated", found=labels
            )
        self.synthetic = synthetic
        self.mix = mix
        self.window = window
        self.labels = labels
        self.eval_batch_size = eval_batch_size
        self.val_frames = val_frames

    @property
    def training_settings(self) -> dict[str, Any]:
        """As above, with the content hash of the synthetic clips where the arm uses them."""
        clips = self.synthetic if self.mix.needs_synthetic else None
        return super().training_settings | {"synthetic": None if clips is None else content_hash(clips)}

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients that a segmenter trained here has learned from, also by way of synthetic clips."""
        own = super().patients
        if self.synthetic is None or not self.mix.needs_synthetic:
            return own
        synthetic = Artifact.open(self.synthetic, Kind.SYNTHETIC)
        refuse_seen_by(synthetic, self.unseen, what="the generator of the synthetic clips")
        return tuple(sorted({*own, *synthetic.patients}))

    def train_dataloader(self) -> ResumableLoader:
        """Windows of labelled frames, real or synthetic by the arm."""
        trainer = self.trainer
        steps = self.steps_per_epoch if trainer is None or trainer.max_steps < 0 else trainer.max_steps
        world = 1 if trainer is None else trainer.world_size * trainer.accumulate_grad_batches
        dataset = SegmentationDataset(
            self.source,
            seed=self.seed,
            window=self.window,
            labels=self.labels,
            mix=self.mix,
            synthetic=self.synthetic,
            total_samples=steps * self.batch_size * world,
            unseen=self.unseen,
        )
        return self._training_loader(dataset, FrameBatch.collate)

    def val_dataloader(self) -> DataLoader[FrameBatch]:
        """Whole annotated frames of the validation patients; a batch of training ones where there are none."""
        measured = self.validates
        split, limit = ("val", self.val_frames) if measured else ("train", self.eval_batch_size)
        dataset = AnnotatedFrames(self.source, split, limit=limit)
        return self._dealt_loader(dataset, self.eval_batch_size, FrameBatch.collate, measured=measured)

    def test_dataloader(self) -> DataLoader[FrameBatch]:
        """Every annotated frame of the test patients."""
        return self._dealt_loader(
            AnnotatedFrames(self.source, "test"), self.eval_batch_size, FrameBatch.collate
        )

    def predict_dataloader(self) -> DataLoader[FrameBatch]:
        """Every frame of the source."""
        dataset = ArtifactFrames(Artifact.open(self.source))
        return self._plain_loader(dataset, self.eval_batch_size, FrameBatch.collate)
