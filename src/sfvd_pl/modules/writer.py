"""Writes what predict generates, shard by shard, and merges it when all is there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning_utilities.core.rank_zero import rank_zero_info

from sfvd_pl.artifacts import Kind, Provenance, ShardSet
from sfvd_pl.augment.columns import Columns

ToColumns = Callable[[dict[str, Any]], Columns]
"""What a predict_step returned -> columns of the artifact."""


class GenerationWriter(BasePredictionWriter):
    """Keeps every batch as a shard beside the artifact; killed, it goes on with the samples that are missing.

    Args:
        out: The artifact.
        kind: Its kind.
        provenance: Where it comes from; shards of another provenance are set aside.
        intensity_max: Depth of the pixels.
        to_columns: Turns a prediction into columns.
    """

    def __init__(
        self, out: Path, kind: Kind, provenance: Provenance, intensity_max: int, to_columns: ToColumns
    ) -> None:
        super().__init__(write_interval="batch")
        self.out = Path(out)
        self.to_columns = to_columns
        folder = self.out.with_name(f"{self.out.stem}.shards")
        self.shards = ShardSet(folder, kind, provenance, intensity_max=intensity_max)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Tell the DataModule which samples are missing, before it makes its loader."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        done = self.shards.done()
        # Every rank has to see the same shards before one of them writes the next.
        trainer.strategy.barrier("shards")
        if trainer.is_global_zero:
            self.shards.expect(datamodule.sample_ids)
        datamodule.pending = [i for i in datamodule.sample_ids if i not in done]
        if done:
            rank_zero_info(f"{len(done)} of {len(datamodule.sample_ids)} samples are there, going on with the rest")

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """One shard for the batch."""
        ids = [int(i) for i in prediction["batch"].sample_id]
        self.shards.write(ids, self.to_columns(prediction))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Merge on rank 0 once every rank is done."""
        trainer.strategy.barrier("generated")
        if trainer.is_global_zero:
            sample_ids = trainer.datamodule.sample_ids  # type: ignore[attr-defined]
            self.shards.merge(self.out, sample_ids, overwrite=True)
            self.shards.remove()
        trainer.strategy.barrier("merged")
