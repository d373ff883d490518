"""Writes what predict generates, shard by shard, beside any number of other processes; one of them merges."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import BasePredictionWriter

from sfvd_pl.artifacts import Kind, Provenance, ShardSet, SharedWork
from sfvd_pl.augment.columns import Columns
from sfvd_pl.modules.workers import Worker

ToColumns = Callable[[dict[str, Any]], Columns]
"""What a predict_step returned -> columns of the artifact."""


def shards_folder(out: Path) -> Path:
    """Where the shards of an artifact lie."""
    return out.with_name(f"{out.stem}.shards")


class GenerationWriter(BasePredictionWriter):
    """Keeps every piece as a shard beside the artifact; killed, the samples that are missing are made by the next.

    Args:
        out: The artifact.
        kind: Its kind.
        provenance: Where it comes from; shards of another provenance are set aside.
        intensity_max: Depth of the pixels.
        to_columns: Turns a prediction into columns.
        worker: This process among those that write the artifact.
        options: Of ``SharedWork``.
    """

    def __init__(
        self,
        out: Path,
        kind: Kind,
        provenance: Provenance,
        intensity_max: int,
        to_columns: ToColumns,
        worker: Worker = Worker(),  # noqa: B008  # frozen
        **options: Any,
    ) -> None:
        super().__init__(write_interval="batch")
        self.out = Path(out)
        self.to_columns = to_columns
        shards = ShardSet(shards_folder(self.out), kind, provenance, intensity_max=intensity_max)
        self.work = SharedWork(shards, self.out, place=worker.place, wait=worker.leads, **options)
        self._speaks = worker.rank == 0
        self._parts: list[Columns] = []

    def begin(self, datamodule: Any) -> None:
        """Find out what is to be made, and have the DataModule hand it out."""
        self.work.begin(datamodule.sample_ids, datamodule.pieces)
        datamodule.work = self.work
        total = len(self.work.sample_ids)
        missing = sum(map(len, self.work.open_pieces()))
        if not self._speaks:
            return
        if self.work.made():
            print(f"{self.out} holds all {total} samples already: nothing to do", flush=True)
        elif missing < total:
            print(f"{total - missing} of {total} samples are there, going on with the rest", flush=True)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """As ``begin``, before the DataModule makes its loader."""
        if not self.work.begun:
            self.begin(trainer.datamodule)  # type: ignore[attr-defined]

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
        """One shard when the last batch of a piece is there."""
        self._parts.append(self.to_columns(prediction))
        ids = [int(i) for part in self._parts for i in part["clips/sample_id"]]
        if ids == self.work.current:
            self.work.write(ids, joined(self._parts))
            self._parts = []

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give back what others can go on with."""
        self.work.close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remove the shards where this process has merged them."""
        self.work.close()


def joined(parts: list[Columns]) -> Columns:
    """The columns of several batches, one after the other."""
    if len(parts) == 1:
        return parts[0]
    columns: Columns = {}
    for key, first in parts[0].items():
        values = [part[key] for part in parts]
        if isinstance(first, list):
            columns[key] = [text for value in values for text in value]
        else:
            columns[key] = np.concatenate([np.asarray(value) for value in values])
    return columns
