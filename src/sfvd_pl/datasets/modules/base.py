"""What every DataModule on a source artifact has."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.index import ClipIndex, Intensity
from sfvd_pl.datasets.loaders import DealtBatches, EpochSampler, ResumableLoader, worker_options

VALIDATION_SEED_OFFSET = 1
"""Added to the seed, so that validation draws differ from those of training."""


def cpu_cores() -> int:
    """The cores this process may use, which on a shared node is fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SourceDataModule(pl.LightningDataModule):
    """What every DataModule on a source artifact has: loaders in a fixed order and the intensity statistics.

    Attributes:
        decisive: Settings that decide which samples a training sees, in which order; the batch size is no such one.
    """

    decisive: tuple[str, ...] = ("seed", "window", "steps_per_epoch")

    def __init__(self, source: Path, seed: int, batch_size: int, steps_per_epoch: int, num_workers: int) -> None:
        super().__init__()
        self.source = Path(source)
        self.seed = seed
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.num_workers = num_workers
        self._intensity: Intensity | None = None

    @property
    def intensity(self) -> Intensity:
        """Statistics of the training patients, which the modules standardise by."""
        if self._intensity is None:
            self._intensity = ClipIndex(self.source, "train").intensity()
        return self._intensity

    @property
    def source_hash(self) -> str:
        """Content hash of the source, which a checkpoint remembers."""
        return Artifact.open(self.source, Kind.SOURCE).content_hash

    @property
    def training_settings(self) -> dict[str, Any]:
        """What a resumed training must share with its beginning."""
        return {key: getattr(self, key) for key in self.decisive}

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients that a model trained here has learned from."""
        return ClipIndex(self.source, "train").patients

    @property
    def unseen(self) -> tuple[str, ...]:
        """Patients whose results are to be trusted, of the validation and the test split."""
        return ClipIndex(self.source, "val").patients + ClipIndex(self.source, "test").patients

    @property
    def validates(self) -> bool:
        """Whether a validation patient has labels. Without, pictures show training clips, and nothing is measured."""
        return len(ClipIndex(self.source, "val").labelled_rows) > 0

    @property
    def workers(self) -> int:
        """Loader processes: as asked, or what the machine has to spare."""
        if self.num_workers >= 0:
            return self.num_workers
        ranks = 1 if self.trainer is None else self.trainer.num_devices
        return min(8, cpu_cores() // ranks - 1)

    def _loader_options(self, collate: Any) -> dict[str, Any]:
        workers = max(0, self.workers)
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        options: dict[str, Any] = {"collate_fn": collate, "num_workers": workers, "pin_memory": on_gpu}
        return options | (worker_options() if workers else {})

    def _training_loader(self, dataset: Dataset[Any], collate: Any) -> ResumableLoader:
        trainer = self.trainer
        world, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        accumulate = 1 if trainer is None else trainer.accumulate_grad_batches
        sampler = EpochSampler(self.steps_per_epoch * accumulate * self.batch_size * world, rank, world)
        return ResumableLoader(
            dataset, sampler, batch_size=self.batch_size, **self._loader_options(collate)
        )

    def _dealt_loader(
        self, dataset: Dataset[Any], batch_size: int, collate: Any, *, measured: bool = True
    ) -> DataLoader[Any]:
        """Samples to measure on, each by one rank; those of one size in one batch."""
        trainer = self.trainer
        world, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        count, sizes = len(dataset), getattr(dataset, "sizes", None)  # type: ignore[arg-type]
        batches = DealtBatches(count, batch_size, rank, world, sizes, measured=measured)
        # A loader draws a seed for its workers, from the global generator otherwise, and a resumed training starts
        # more loaders than an unbroken one.
        generator = torch.Generator()
        return DataLoader(dataset, batch_sampler=batches, collate_fn=collate, num_workers=0, generator=generator)
