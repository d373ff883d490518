"""Pairs of views for the feature network."""

from pathlib import Path

from torch.utils.data import DataLoader

from sfvd_pl.datasets.loaders import ResumableLoader
from sfvd_pl.datasets.modules.base import VALIDATION_SEED_OFFSET, SourceDataModule
from sfvd_pl.datasets.views import ViewBatch, ViewConfig, ViewDataset
from sfvd_pl.errors import ConfigError


class FeaturesDataModule(SourceDataModule):
    """Pairs of views of all training clips, labelled or not, to train the feature network on.

    Args:
        source: The source artifact.
        window: Side of the windows, pixels; cut at native scale.
        frames: Consecutive frames of a window.
        views: What two views may differ in.
        batch_size: Pairs a step on each device.
        steps_per_epoch: Optimiser steps between validations.
        val_samples: Validation pairs, the same each time; none where nobody is in the validation split.
        num_workers: Loader processes; -1 takes what the machine has to spare.
        seed: Decides every sample together with its id.
    """

    def __init__(
        self,
        source: Path,
        window: int = 64,
        frames: int = 4,
        views: ViewConfig = ViewConfig(),  # noqa: B008  # frozen
        batch_size: int = 24,
        steps_per_epoch: int = 100,
        val_samples: int = 48,
        num_workers: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(source, seed, batch_size, steps_per_epoch, num_workers)
        self.window = window
        self.frames = frames
        self.views = views
        self.val_samples = val_samples
        if batch_size < 2:
            raise ConfigError(
                "a window is learned by telling it from others",
                key="data.batch_size",
                expected="at least 2",
                found=batch_size,
                remedy="raise data.batch_size",
            )

    def _dataset(self, split: str, seed: int, count: int | None = None) -> ViewDataset:
        return ViewDataset(
            self.source, split, seed=seed, window=self.window, frames=self.frames, views=self.views, count=count
        )

    def train_dataloader(self) -> ResumableLoader:
        """Pairs of views of the training patients."""
        return self._training_loader(self._dataset("train", self.seed), ViewBatch.collate)

    def val_dataloader(self) -> DataLoader[ViewBatch] | list[DataLoader[ViewBatch]]:
        """Pairs of views of held-out patients, the same each time."""
        dataset = self._dataset("val", self.seed + VALIDATION_SEED_OFFSET, self.val_samples)
        if not len(dataset.index.clips):
            return []
        return self._dealt_loader(dataset, self.batch_size, ViewBatch.collate)
