"""Settings of Lightning's Trainer that a stage can't do with, and how a training came to its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Timer

from sfvd_pl.errors import ConfigError

UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "enable_checkpointing": (
        (None, True),
        "a training goes on from its checkpoints, and its model is made of the last one",
        "leave it out; --checkpoint.keep says how many are kept",
    ),
    "overfit_batches": (
        (None, 0, 0.0),
        "samples are numbered over the whole training, so none come again",
        "lower --trainer.max_steps, or import one patient as a source of its own",
    ),
    "precision": (
        (None, 16, 32, "16", "32", "bf16", "16-mixed", "bf16-mixed", "32-true", "16-true", "bf16-true"),
        "the networks' blocks calculate in 32 bits or fewer",
        "32-true, bf16-mixed or 16-mixed",
    ),
    "num_sanity_val_steps": (
        (None, 0),
        "an untrained model doesn't know its data's intensities yet",
        "leave it out; --trainer.val_check_interval brings the first validation forward",
    ),
    "use_distributed_sampler": (
        (None, False),
        "sample ids are dealt to the ranks already",
        "leave it out",
    ),
    "barebones": ((None, False), "a training without checkpoints leaves no model", "leave it out"),
}
"""Settings of the Trainer: which values are possible, why no others, and what to do."""


def refuse_unsupported(settings: dict[str, Any]) -> None:
    """Refuse what would fail later, or end without a model.

    Args:
        settings: Of the Trainer, as they were given.

    Raises:
        ConfigError: One of them is unsupported.
    """
    for key, (possible, why, remedy) in UNSUPPORTED.items():
        if (value := settings.get(key)) not in possible:
            raise ConfigError(f"no stage can do so: {why}", key=f"trainer.{key}", found=value, remedy=remedy)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what Lightning refuses of the Trainer's settings into an error for the user.

    Raises:
        ConfigError: It refused them.
    """
    try:
        yield
    except (MisconfigurationException, ValueError) as error:
        raise ConfigError("Lightning refuses these settings", key="trainer", found=str(error)) from error


def allowed_seconds(max_time: Any) -> float | None:
    """Seconds of ``trainer.max_time``; None where there is no such limit.

    Raises:
        ConfigError: It is no duration.
    """
    if max_time is None:
        return None
    with explained():
        return Timer(max_time).time_remaining()


def has_ended(trainer: pl.Trainer) -> bool:
    """Whether a training came to its end: all steps, all epochs, or a callback that saw no sense in going on."""
    steps = trainer.max_steps > 0 and trainer.global_step >= trainer.max_steps
    epochs = trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch
    return steps or epochs or trainer.should_stop
