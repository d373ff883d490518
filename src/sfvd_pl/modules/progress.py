"""Progress of a training or a prediction: a bar on a terminal, a line now and then in a log file."""

import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar

from sfvd_pl.artifacts import SharedWork
from sfvd_pl.datasets.pieces import PieceBatches

SECONDS_BETWEEN_LINES = 20.0


def make_progress(title: str) -> ProgressBar:
    """What fits where the output goes.

    Args:
        title: What is being done, for the lines of a log.
    """
    return TerminalBar(refresh_rate=10) if sys.stdout.isatty() else LogLines(title)


class TerminalBar(TQDMProgressBar):
    """Lightning's progress bar without the logger's version, which says nothing to anybody."""

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What the bar shows beside the time."""
        items = super().get_metrics(trainer, pl_module)
        items.pop("v_num", None)
        return items

    @property
    def total_predict_batches_current_dataloader(self) -> int | float:
        """What is missing, over all processes; the loader's length is more (``PieceBatches``)."""
        return missing_batches(self.trainer, super().total_predict_batches_current_dataloader)


def missing_batches(trainer: pl.Trainer, otherwise: int | float) -> int | float:
    """Batches that a prediction is to make, over all processes that share the work."""
    dataset = getattr(trainer.predict_dataloaders, "dataset", None)
    return dataset.planned if isinstance(dataset, PieceBatches) else otherwise


class LogLines(ProgressBar):
    """One line every 20 seconds: a bar that redraws itself fills a job's log with megabytes.

    Args:
        title: What is being done.
        seconds: Time between two lines.
    """

    def __init__(self, title: str, seconds: float = SECONDS_BETWEEN_LINES) -> None:
        super().__init__()
        self.title = title
        self.seconds = seconds
        self._enabled = True
        self._begun = self._said = 0.0
        self._first = 0

    def disable(self) -> None:
        """Lightning calls this on every rank but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Speak again."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from the step that the training starts or goes on at."""
        self._start(trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Step, speed, time left, and what the module shows."""
        total = trainer.max_steps if trainer.max_steps > 0 else trainer.estimated_stepping_batches
        shown = {k: v for k, v in self.get_metrics(trainer, pl_module).items() if k != "v_num"}
        values = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())
        self._say("step", trainer.global_step, total, values)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count what is there, whoever has made it."""
        work = _work(trainer)
        self._start(0 if work is None else len(work.pieces) - len(work.open_pieces()))

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Speed and time left: of one's own batches, or of the shards that all processes have made."""
        work = _work(trainer)
        if work is None:
            self._say("batch", batch_idx + 1, trainer.num_predict_batches[dataloader_idx], "")
        elif time.monotonic() - self._said >= self.seconds:  # counting them is a look into their folder
            self._say("shard", len(work.pieces) - len(work.open_pieces()), len(work.pieces), "")

    def _start(self, first: int) -> None:
        self._begun = self._said = time.monotonic()
        self._first = first

    def _say(self, unit: str, done: int, total: float, values: str) -> None:
        now = time.monotonic()
        ended = done >= total > self._first
        if not self._enabled or (now - self._said < self.seconds and not ended):
            return
        self._said = now
        rate = max(done - self._first, 1) / max(now - self._begun, 1e-9)
        left = "" if total == float("inf") else f", {max(total - done, 0) / rate:.0f} s left"
        parts = [f"{self.title}: {unit} {done} of {total:g}", f"{rate:.2f} a second{left}", values]
        print("  ".join(part for part in parts if part), flush=True)


def _work(trainer: pl.Trainer) -> SharedWork | None:
    """The work that a prediction shares with other processes."""
    work = getattr(getattr(trainer, "datamodule", None), "work", None)
    return work if isinstance(work, SharedWork) else None
