"""When a training saves, what it needs to go on exactly, and how it leaves when it is asked to."""

import math
import time
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning_utilities.core.rank_zero import rank_zero_info
from torch import Tensor

from sfvd_pl import signals
from sfvd_pl.errors import ConfigError
from sfvd_pl.modules.logging import JournalLogger
from sfvd_pl.modules.progression import (
    Batches,
    batches_of,
    before_validation,
    refuse_different_steps,
    refuse_other_batch,
    rescaled,
    validation_follows,
)
from sfvd_pl.modules.randomness import gather_random_states, restore_random_state
from sfvd_pl.modules.saving import (
    BEST,
    checkpoint_path,
    keep_newest,
    link_or_copy,
    remove_leftovers,
    set_aside_later,
)

MOST_TIME_SPENT = 0.02
"""Share of a training that saving by the clock may take."""


def answer_signals(trainer: pl.Trainer) -> None:
    """Keep Lightning from answering SIGTERM in this project's place.

    From before its loaders are made, it would end a training with status 0, and have the rank that was asked wait in an
    exchange that the others know nothing of.
    """
    vars(trainer)["_signal_connector"].register_signal_handlers = lambda: None


class AnswersSignals(pl.Callback):
    """Where nothing is trained, a signal ends the command at once; Lightning would note it and go on."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Ahead of Lightning's own registration of handlers."""
        answer_signals(trainer)

    def on_predict_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """An exception that a signal raised is lost where it meets a destructor or a callback of C."""
        signals.raise_if_requested()


class Checkpoints(Checkpoint):
    """Saves at optimiser steps, keeps the last few and the best, and leaves in good order when asked to.

    A checkpoint is written every ``every_minutes`` (less often where writing is so slow that it would take more than a
    fiftieth of the training), before each validation, at the last step, and when the process is asked to stop. Each
    holds all that a bit-equal continuation needs. The best by ``monitor`` is the one written before the validation
    that found it so, under a second name.

    Args:
        dirpath: Where they lie.
        every_minutes: Time between two.
        every_n_train_steps: Optimiser steps between two; 0 goes by the clock alone.
        keep: How many of the last are kept.
        monitor: Measure of the validation that says which one is the best; None keeps no best one.
        mode: Whether the smallest or the largest is best.

    Attributes:
        seconds_left: A training stops, as by a signal, behind the step at which so much time is over; None knows none.
    """

    def __init__(
        self,
        dirpath: Path | None = None,
        every_minutes: float = 2.0,
        every_n_train_steps: int = 0,
        keep: int = 2,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        if keep < 1 or every_n_train_steps < 0 or not every_minutes > 0:
            raise ConfigError(
                "there would be nothing to resume from",
                key="checkpoint",
                expected="keep >= 1, every_n_train_steps >= 0, every_minutes > 0",
                found=f"keep {keep}, every_n_train_steps {every_n_train_steps}, every_minutes {every_minutes}",
            )
        self.dirpath = dirpath
        self.every_minutes = every_minutes
        self.every_n_train_steps = every_n_train_steps
        self.keep = keep
        self.monitor = monitor
        self.mode = mode
        self.best: float | None = None
        self.seconds_left: float | None = None
        self.count, self.seconds, self.slowest = 0, 0.0, 0.0
        self._seen = self._saved_step = -1
        self._saved_at = self._begun = time.monotonic()
        self._pending = False
        self._restored: dict[str, Any] | None = None
        self._max_steps: int | None = None

    @property
    def folder(self) -> Path:
        """Where they lie."""
        assert self.dirpath is not None  # setup has seen to it
        return Path(self.dirpath)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Beside the run's other results unless told otherwise; this class decides when to leave."""
        if self.dirpath is None:
            self.dirpath = Path(trainer.default_root_dir) / "checkpoints"
        answer_signals(trainer)
        launcher = trainer.strategy.launcher
        signals.take_along(lambda: getattr(launcher, "procs", ()))

    # -- what is in a checkpoint -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        self.best = state_dict["best"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Random states of all processes, the position in the data, and whether a validation is due."""
        checkpoint["random_states"] = gather_random_states()
        checkpoint["batches"] = batches_of(trainer).as_dict()
        checkpoint["validation_due"] = self._pending
        if self._pending:
            before_validation(checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take it up again, also on another number of devices with the same samples a step."""
        if not trainer.training or "batches" not in checkpoint:
            return
        now, then = batches_of(trainer), Batches(**checkpoint["batches"])
        refuse_other_batch(now, then)
        if now.accumulate != then.accumulate:
            rescaled(checkpoint["loops"]["fit_loop"], then.accumulate, now.accumulate)
        self._restored = checkpoint["random_states"][min(trainer.global_rank, then.ranks - 1)]
        self._pending = bool(checkpoint["validation_due"])
        self._seen = self._saved_step = int(checkpoint["global_step"])
        rank_zero_info(f"going on behind optimiser step {self._seen}, sample {self._seen * now.samples_a_step}")

    # -- when one is written ---------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A training that was cut off in its last validation has taken all its steps: let it go in once more."""
        if self._pending and trainer.max_steps == self._seen:
            self._max_steps = trainer.max_steps
            trainer.fit_loop.epoch_loop.max_steps += 1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Clear up after a killed process, restore random states.

        Raises:
            CheckpointError: The processes didn't find the same checkpoint.
        """
        refuse_different_steps(trainer)
        if trainer.is_global_zero:
            remove_leftovers(self.folder)
            aside = set_aside_later(self.folder, trainer.global_step)
            if aside is not None:
                rank_zero_info(f"checkpoints of an earlier training were moved to {aside}")
            for logger in trainer.loggers:
                if aside is not None and trainer.global_step == 0 and isinstance(logger, JournalLogger):
                    logger.begin_anew()
        if self._restored is not None:
            restore_random_state(self._restored)
            self._restored = None
        self._seen = trainer.global_step
        self._begun = self._saved_at = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Save behind an optimiser step where it is time to, and leave if any process was asked to.

        Raises:
            Stopped: One was; all leave behind the same step.
        """
        step = trainer.global_step
        if step == self._seen:
            return  # gradients are still being accumulated
        self._seen = step
        stop, late, due = self._agree(trainer, self._due(trainer, step))
        self._pending = validation_follows(trainer)
        leaving = stop != 0 or (late and not 0 < trainer.max_steps <= step)
        if leaving or late or due or self._pending:
            self._log_step(trainer, step, leaving)
            self._save(trainer, step)
        if leaving:
            where = f"{checkpoint_path(self.folder, step)} holds optimiser step {step}"
            raise signals.Stopped(stop, where, by="trainer.max_time")

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """A single process leaves at once: what came before the validation is saved, and it will be done again."""
        if trainer.world_size == 1 and not trainer.sanity_checking and trainer.state.fn == "fit":
            self._leave(signals.requested())

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Several leave here, where they meet; the checkpoint from before may be the best one."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._leave(self._agree(trainer, False)[0])  # a time that is over is noticed behind the next step
        self._remember_best(trainer)
        self._pending = False
        if self._max_steps is not None:
            trainer.fit_loop.epoch_loop.max_steps = self._max_steps
            self._max_steps = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A training that counts epochs, or that a callback ends, has not known its last step before."""
        limit = trainer.max_epochs
        over = trainer.should_stop or (limit is not None and 0 < limit <= trainer.current_epoch + 1)
        if over and self._saved_step != trainer.global_step:
            self._pending = False
            self._save(trainer, trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what saving has cost."""
        total = max(time.monotonic() - self._begun, 1e-9)
        rank_zero_info(
            f"wrote {self.count} checkpoints in {self.seconds:.1f} s ({self.seconds / total:.1%} of the training,"
            f" the slowest in {self.slowest:.1f} s)"
        )

    def _due(self, trainer: pl.Trainer, step: int) -> bool:
        every = self.every_n_train_steps
        waited = time.monotonic() - self._saved_at
        by_clock = waited >= max(60.0 * self.every_minutes, self.slowest / MOST_TIME_SPENT)
        return by_clock or (every > 0 and step % every == 0) or 0 < trainer.max_steps <= step

    def _agree(self, trainer: pl.Trainer, due: bool) -> tuple[int, bool, bool]:
        """The signal that any process got; by the first one's clock, whether time is over and whether to save."""
        late = self.seconds_left is not None and time.monotonic() - self._begun >= self.seconds_left
        first = trainer.is_global_zero
        wishes = torch.tensor([signals.requested(), int(late and first), int(due and first)])
        if trainer.world_size > 1:
            wishes = wishes.to(trainer.strategy.root_device)
            torch.distributed.all_reduce(wishes, torch.distributed.ReduceOp.MAX)
        stop, over, wanted = wishes.tolist()
        return int(stop), bool(over), bool(wanted)

    def _leave(self, signum: int) -> None:
        if signum:
            where = checkpoint_path(self.folder, self._saved_step)
            raise signals.Stopped(signum, f"{where} holds optimiser step {self._saved_step}, its validation is to come")

    def _log_step(self, trainer: pl.Trainer, step: int, leaving: bool) -> None:
        """What Lightning logs of a step behind this hook; who leaves here, or is killed next, never comes to it."""
        if step % max(vars(trainer)["log_every_n_steps"], 1):
            return
        values = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("train/")}
        for logger in trainer.loggers:
            if leaving or isinstance(logger, JournalLogger):  # which takes nothing twice
                logger.log_metrics(values | {"epoch": trainer.current_epoch}, step=step - 1)

    def _save(self, trainer: pl.Trainer, step: int) -> None:
        begun = time.monotonic()
        for logger in trainer.loggers:
            logger.save()  # curves reach as far as the weights
        trainer.save_checkpoint(checkpoint_path(self.folder, step), weights_only=False)
        if trainer.is_global_zero:
            keep_newest(self.folder, self.keep)
        self._saved_step, self._saved_at = step, time.monotonic()
        spent = self._saved_at - begun
        self.count, self.seconds, self.slowest = self.count + 1, self.seconds + spent, max(self.slowest, spent)
        for logger in trainer.loggers:
            logger.log_metrics({"checkpoint/seconds": spent}, step=max(step - 1, 0))  # from 0, as Lightning counts

    def _remember_best(self, trainer: pl.Trainer) -> None:
        value = trainer.callback_metrics.get(self.monitor or "")
        if not isinstance(value, Tensor) or not math.isfinite(float(value)):
            return
        score = float(value)
        better = self.best is None or (score < self.best if self.mode == "min" else score > self.best)
        if better:
            self.best = score
            if trainer.is_global_zero and self._saved_step == trainer.global_step:
                link_or_copy(checkpoint_path(self.folder, self._saved_step), self.folder / BEST)
