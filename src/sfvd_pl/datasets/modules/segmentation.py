"""Windows and whole frames for the wire segmenters."""

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from sfvd_pl.artifacts import Artifact, content_hash
from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.loaders import ResumableLoader
from sfvd_pl.datasets.modules.base import SourceDataModule
from sfvd_pl.datasets.segmentation import AnnotatedFrames, MixConfig, SegmentationDataset
from sfvd_pl.errors import ConfigError


class SegmentationDataModule(SourceDataModule):
    """Windows to train a wire segmenter on, whole frames to test it on.

    Args:
        source: The source artifact.
        synthetic: The synthetic artifact, for the arms that use one.
        suspects: The guide's probabilities on the training clips, likewise.
        scenes: The scenes artifact, likewise.
        mix: Which arm, and how much of what is mixed in.
        window: Side of the training windows, pixels.
        frames: Neighbouring frames that the segmenter sees; 1, 3, 5, ... The label is that of the centre one.
        labels: ``labelled``: masks of labelled clips. ``annotated``: of all annotated clips of the training
            patients, for the independent segmenter that measures label fidelity.
        batch_size: Samples a step on each device.
        steps_per_epoch: Optimiser steps between validations.
        eval_batch_size: Whole frames at a time in validation and test.
        val_frames: At most this many validation frames, spread evenly; all are tested.
        num_workers: Loader processes; -1 takes what the machine has to spare.
        seed: Decides every sample together with its id.

    Raises:
        ConfigError: Unknown ``labels``, or an even number of ``frames``.
    """

    decisive = (*SourceDataModule.decisive, "mix", "labels", "val_frames", "frames", "window")

    def __init__(
        self,
        source: Path,
        synthetic: Path | None = None,
        suspects: Path | None = None,
        scenes: Path | None = None,
        mix: MixConfig = MixConfig(),  # noqa: B008  # frozen
        window: int = 96,
        frames: int = 1,
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
        if frames < 1 or frames % 2 == 0:
            raise ConfigError(
                "the labelled frame is in the middle", key="data.frames", expected="1, 3, 5, ...", found=frames
            )
        self.synthetic = synthetic
        self.suspects = suspects
        self.scenes = scenes
        self.mix = mix
        self.window = window
        self.frames = frames
        self.labels = labels
        self.eval_batch_size = eval_batch_size
        self.val_frames = val_frames

    def _needed(self) -> dict[str, Path]:
        """Artifacts that the arm reads beside the source, as far as they are given."""
        return {name: getattr(self, name) for name in self.mix.needs if getattr(self, name) is not None}

    @property
    def training_settings(self) -> dict[str, Any]:
        """As above, with the content hashes of the artifacts that the arm uses."""
        return super().training_settings | {name: content_hash(path) for name, path in self._needed().items()}

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients that a segmenter trained here has learned from, also by way of what was made from them."""
        made = [Artifact.open(path).patients for path in self._needed().values()]
        return tuple(sorted({*super().patients, *(name for patients in made for name in patients)}))

    @property
    def _total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        trainer = self.trainer
        if trainer is None:
            return self.steps_per_epoch
        limits = [trainer.max_steps] if trainer.max_steps >= 0 else []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            limits.append(trainer.max_epochs * self.steps_per_epoch)
        if not limits and self.mix.arm == "pretrain":
            raise ConfigError(
                "the pre-training takes a share of a training whose length isn't known",
                key="trainer.max_steps",
                expected="trainer.max_steps or trainer.max_epochs",
                found="neither",
            )
        return min(limits, default=self.steps_per_epoch)

    def train_dataloader(self) -> ResumableLoader:
        """Windows of labelled frames, and of what else the arm mixes in."""
        trainer = self.trainer
        world = 1 if trainer is None else trainer.world_size * trainer.accumulate_grad_batches
        dataset = SegmentationDataset(
            self.source,
            seed=self.seed,
            window=self.window,
            labels=self.labels,
            mix=self.mix,
            synthetic=self.synthetic,
            suspects=self.suspects,
            scenes=self.scenes,
            frames=self.frames,
            total_samples=self._total_steps * self.batch_size * world,
            unseen=self.unseen,
        )
        return self._training_loader(dataset, FrameBatch.collate)

    def val_dataloader(self) -> DataLoader[FrameBatch]:
        """Whole annotated frames of the validation patients; a batch of training ones where there are none."""
        measured = self.validates
        split, limit = ("val", self.val_frames) if measured else ("train", self.eval_batch_size)
        dataset = AnnotatedFrames(self.source, split, limit=limit, frames=self.frames)
        return self._dealt_loader(dataset, self.eval_batch_size, FrameBatch.collate, measured=measured)

    def test_dataloader(self) -> DataLoader[FrameBatch]:
        """Every annotated frame of the test patients."""
        dataset = AnnotatedFrames(self.source, "test", frames=self.frames)
        return self._dealt_loader(dataset, self.eval_batch_size, FrameBatch.collate)
