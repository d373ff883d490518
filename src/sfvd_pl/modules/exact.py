"""Figures over a whole split that don't depend on how many processes share it."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torchmetrics import Metric

from sfvd_pl.datasets.loaders import DealtBatches

SCALE = 2.0**28
"""Values are summed as multiples of 1 / SCALE."""
LARGEST = 2.0**15


class ExactMean(Metric):
    """Mean of many values, the same to the last bit in whatever order and by however many processes.

    Sums of floating-point numbers depend on their order; those of integers don't. Values are rounded to 4e-9 and
    clamped to +-32768, so that a million of them fit into 64 bits. NaN if any value isn't finite.
    """

    total: Tensor
    count: Tensor
    unknown: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count", "unknown"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add values of any shape."""
        values = values.detach().double()
        known = values.isfinite()
        scaled = (values.nan_to_num(0.0).clamp(-LARGEST, LARGEST) * SCALE).round().to(torch.int64)
        self.total += scaled.sum()
        self.count += values.numel()
        self.unknown += (~known).sum()

    def compute(self) -> Tensor:
        """The mean over all processes."""
        mean = self.total.double() / SCALE / self.count
        return torch.where(self.unknown > 0, torch.full_like(mean, torch.nan), mean).float()


def counts(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a validation or test batch is this rank's to count (``DealtBatches``)."""
    batches = _dealt(trainer)
    return batches is None or batches.counts(batch_idx)


def _dealt(trainer: pl.Trainer) -> DealtBatches | None:
    loader: Any = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    sampler = getattr(loader, "batch_sampler", None)
    return sampler if isinstance(sampler, DealtBatches) else None


def log_and_reset(module: pl.LightningModule, **metrics: Metric) -> None:
    """Log metrics over all ranks at the end of an epoch; every rank must call it, for they exchange their counts.

    Where nothing is measured (``DealtBatches``) nothing is logged.

    Args:
        module: Whose epoch ends.
        metrics: By their names in the log, with ``__`` for ``/``.
    """
    batches = _dealt(module.trainer)
    if batches is not None and not batches.measured:
        return
    for name, metric in metrics.items():
        module.log(name.replace("__", "/"), metric.compute(), prog_bar=True)
        metric.reset()
