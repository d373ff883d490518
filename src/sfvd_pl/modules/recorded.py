"""What every module has: standardised pictures, and checkpoints that say what they are and where they fit."""

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from sfvd_pl import __version__
from sfvd_pl.artifacts import git_commit, refuse_seen
from sfvd_pl.errors import CheckpointError
from sfvd_pl.modules.checkpoint import RECORD_KEY, differences, to_plain

EXACT_TRAINER_SETTINGS = ("max_steps", "max_epochs", "precision", "gradient_clip_val", "gradient_clip_algorithm")
"""Settings of Lightning's Trainer that a resumed training must share with its beginning."""
SHOWN = 8
"""Differences that an error lists before it only counts them."""


class RecordedModule(pl.LightningModule):
    """A module that works on standardised pictures and whose checkpoints say what they are.

    ``x0 = (image - mean) / (2 * std)`` with the mean and standard deviation of the training patients' detector
    signal, so that x0 has a standard deviation of about 0.5, as diffusion schedules expect. The two numbers travel
    in the checkpoint.

    Args:
        config: The module's arguments by name, from which a checkpoint rebuilds it.

    Attributes:
        learned_from: Content hash of the source and names of the patients that the weights know.
        inherited_patients: Those that the initial weights know; None where they don't come from another model.
    """

    intensity: Tensor

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.recorded_config = to_plain(config)
        self.learned_from: dict[str, Any] = {}
        self.inherited_patients: tuple[str, ...] | None = None
        self.register_buffer("intensity", torch.tensor([math.nan, math.nan]))

    def setup(self, stage: str) -> None:
        """Take the statistics and the data's identity from the DataModule when training starts."""
        if stage != "fit":
            return
        # Constants, the same on every rank. Else each step begins with an exchange of them, and validation hangs where
        # one rank has a batch more than another.
        ignored = [name for name, _ in self.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self, ignored)  # type: ignore[no-untyped-call]
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.inherited_patients is not None:
            refuse_seen(self.inherited_patients, datamodule.unseen, what="the model to start from", file=None)
        patients = sorted({*datamodule.patients, *(self.inherited_patients or ())})
        self.learned_from = {"source": datamodule.source_hash, "patients": patients}
        if torch.isnan(self.intensity).any():
            measured = datamodule.intensity
            self.intensity.copy_(torch.tensor([measured.mean, measured.std]))

    @property
    def batch_unit(self) -> int:
        """A step may be divided into batches of multiples of so many samples on each process: its loss is the same."""
        return 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the record: which class, with which settings, by which code, learned from whom and how."""
        checkpoint[RECORD_KEY] = {
            "class": type(self).__name__,
            "version": __version__,
            "commit": git_commit(),
            "config": self.recorded_config,
            **self.learned_from,
        }
        if self._trainer is not None and self.trainer.training:
            checkpoint[RECORD_KEY] |= training_settings(self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of another architecture, and to go on training on other data or with other settings."""
        record = checkpoint.get(RECORD_KEY, {})
        self._refuse_misfit(checkpoint, record)
        known = self.learned_from.get("patients", ())
        self.learned_from = {key: record[key] for key in ("source", "patients") if key in record}
        if self._trainer is None:
            return
        if self.trainer.testing or self.trainer.validating:
            unseen = self.trainer.datamodule.unseen  # type: ignore[attr-defined]
            refuse_seen(record.get("patients", ()), unseen, what="the model", file=None)
        if self.trainer.training:
            if "optimizer_states" not in checkpoint:
                raise CheckpointError(
                    "the checkpoint holds a finished model, not the state of a training",
                    key="optimizer_states",
                    remedy="resume from a file in the training's checkpoints folder, or with --ckpt_path last",
                )
            now = {"config": self.recorded_config, "source": self.trainer.datamodule.source_hash}  # type: ignore[attr-defined]
            refuse_differences(now | training_settings(self.trainer), record)
            self.learned_from["patients"] = sorted({*record.get("patients", ()), *known})

    def _refuse_misfit(self, checkpoint: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        own = {"class": type(self).__name__, "model": {"network": self.recorded_config.get("network")}}
        theirs = {"class": record.get("class"), "model": {"network": record.get("config", {}).get("network")}}
        found = differences(own, theirs)
        if not found and "state_dict" in checkpoint:
            shapes = {key: tuple(value.shape) for key, value in self.state_dict().items()}
            found = differences(shapes, {key: tuple(value.shape) for key, value in checkpoint["state_dict"].items()})
        if found:
            raise CheckpointError(
                "the checkpoint does not fit the model that is to take its weights",
                key=", ".join(key for key, *_ in found[:SHOWN]),
                expected=_listed(found, 1),
                found=_listed(found, 2),
                remedy="pass the checkpoint of the right stage, with the settings it was trained with",
            )

    def standardise(self, image: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """Detector signal in 0..1 to x0."""
        self._require_intensity()
        return (image - self.intensity[0]) / (2.0 * self.intensity[1])

    def to_image(self, x0: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """x0 to detector signal, clamped to 0..1."""
        self._require_intensity()
        return (x0 * (2.0 * self.intensity[1]) + self.intensity[0]).clamp(0.0, 1.0)

    def _require_intensity(self) -> None:
        if not torch.isfinite(self.intensity).all():
            raise CheckpointError(
                "the model has never been trained, so it does not know its data's intensities",
                key="intensity",
                expected="a mean and a standard deviation",
                found="NaN",
                remedy="pass a checkpoint of a trained model (--ckpt_path)",
            )


def training_settings(trainer: pl.Trainer) -> dict[str, Any]:
    """What decides a training beside the module: its data's settings and those of the trainer, by section."""
    callbacks: list[Any] = vars(trainer)["callbacks"]
    decay = next((callback.decay for callback in callbacks if hasattr(callback, "decay")), None)
    return {
        "data": to_plain(trainer.datamodule.training_settings),  # type: ignore[attr-defined]
        "trainer": {key: to_plain(getattr(trainer, key)) for key in EXACT_TRAINER_SETTINGS},
        "ema": {"decay": decay},
    }


def refuse_differences(now: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """A training is resumed with the data and settings that it began with, or not at all.

    Args:
        now: Sections that are compared.
        record: The checkpoint's record.

    Raises:
        CheckpointError: They differ; each difference by its key.
    """
    then = {"model" if key == "config" else key: record.get(key) for key in now}
    found = differences({"model" if key == "config" else key: value for key, value in now.items()}, then)
    if found:
        raise CheckpointError(
            "the checkpoint belongs to another training",
            key=", ".join(key for key, *_ in found[:SHOWN]),
            expected=_listed(found, 2),
            found=_listed(found, 1),
            remedy="resume with the data and settings it was made with, or start anew in another folder",
        )


def _listed(found: list[tuple[str, Any, Any]], side: int) -> str:
    """``key value`` of one side of each difference; the value alone where there is but one."""
    if len(found) == 1:
        return str(found[0][side])
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(f"{item[0]} {item[side]}" for item in found[:SHOWN]) + more
