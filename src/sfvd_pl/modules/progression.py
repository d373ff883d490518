"""How far a training has come, in the terms of Lightning's loops.

This is the one place that knows how they count (Lightning 2.6); ``tests/modules/test_exact_resume.py`` holds it.
"""

from dataclasses import asdict, dataclass
from typing import Any

import lightning.pytorch as pl
import torch

from sfvd_pl.errors import CheckpointError

COUNTERS = ("ready", "started", "processed", "completed")


@dataclass(frozen=True)
class Batches:
    """What makes the samples of one optimiser step.

    Attributes:
        size: Samples in a batch.
        ranks: Processes.
        accumulate: Batches whose gradients are added up.
    """

    size: int
    ranks: int
    accumulate: int

    @property
    def samples_a_step(self) -> int:
        """Samples of an optimiser step."""
        return self.size * self.ranks * self.accumulate

    def as_dict(self) -> dict[str, int]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        """The sum."""
        return f"{self.samples_a_step} = {self.size} a batch x {self.ranks} processes x {self.accumulate} batches"


def batches_of(trainer: pl.Trainer) -> Batches:
    """Of a training that is set up."""
    size = trainer.datamodule.batch_size  # type: ignore[attr-defined]
    return Batches(size, trainer.world_size, trainer.accumulate_grad_batches)


def refuse_other_batch(now: Batches, then: Batches) -> None:
    """Going on with another number of samples a step would be another training.

    Raises:
        CheckpointError: It differs.
    """
    if now.samples_a_step != then.samples_a_step:
        raise CheckpointError(
            "the checkpoint belongs to a training with another number of samples an optimiser step",
            key="data.batch_size, trainer.devices, trainer.accumulate_grad_batches",
            expected=then,
            found=now,
            remedy="change the batch size or accumulate_grad_batches with the number of devices, so that the product "
            "stays the same",
        )


def refuse_different_steps(trainer: pl.Trainer) -> None:
    """Each process looks for the newest checkpoint by itself, and a network disk may show one of them an old folder.

    Raises:
        CheckpointError: They are not behind the same optimiser step.
    """
    if trainer.world_size == 1:
        return
    bounds = torch.tensor([trainer.global_step, -trainer.global_step], device=trainer.strategy.root_device)
    torch.distributed.all_reduce(bounds, torch.distributed.ReduceOp.MAX)
    last, first = int(bounds[0]), -int(bounds[1])
    if first != last:
        raise CheckpointError(
            "the processes of this training found different checkpoints",
            file=trainer.default_root_dir,
            key="global_step",
            expected=f"optimiser step {last} on each",
            found=f"optimiser step {trainer.global_step} on rank {trainer.global_rank}, {first} on the last one",
            remedy="give the same command again when the disk shows all of them the same, or name one with --ckpt_path",
        )


def validation_follows(trainer: pl.Trainer) -> bool:
    """Whether a validation comes directly behind the batch that has just been trained on."""
    fit = trainer.fit_loop
    fetcher = fit._data_fetcher
    return fetcher is not None and fit.epoch_loop._should_check_val_fx(fetcher)


def before_validation(loops: dict[str, Any]) -> None:
    """Let a state that was saved behind a batch go on with the validation that follows.

    Lightning takes a state whose last batch was completed, and whose validation had begun its first batch, for one that
    was cut off in the validation, and does it again from its start. Saved as it is, it would skip the validation.
    """
    batches, validation = loops["epoch_loop.batch_progress"], loops["epoch_loop.val_loop.batch_progress"]
    for part in ("total", "current"):
        batches[part] = {**batches[part], "completed": batches[part]["processed"]}
    done = validation["total"]["completed"]
    validation["total"] = {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}
    validation["current"] = dict.fromkeys(COUNTERS, 0)
    validation["is_last_batch"] = False


def rescaled(loops: dict[str, Any], then: int, now: int) -> None:
    """Count the batches of a state as if ``now`` instead of ``then`` of them had made each optimiser step."""
    for part in ("total", "current"):
        counted = loops["epoch_loop.batch_progress"][part]
        behind = counted["processed"] - counted["completed"]
        scaled = counted["processed"] * now // then
        loops["epoch_loop.batch_progress"][part] = dict.fromkeys(COUNTERS, scaled) | {"completed": scaled - behind}
    for state in loops["state_dict"].get("combined_loader", []):
        state["batches"] = state["batches"] * now // then
