"""Short trainings through Lightning's Trainer."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from toy import FRAMES, WINDOW

from sfvd_pl.datasets.modules.features import FeaturesDataModule
from sfvd_pl.datasets.modules.motion import MotionDataModule
from sfvd_pl.datasets.modules.scene import SceneDataModule
from sfvd_pl.datasets.modules.segmentation import SegmentationDataModule
from sfvd_pl.modules.ema import EMA


class StoppedError(Exception):
    """The run was cut off."""


class Stop(pl.Callback):
    """Saves a checkpoint at an optimiser step and cuts the run off there."""

    def __init__(self, step: int, path: Path) -> None:
        self.step = step
        self.path = path

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise StoppedError


class Weights(pl.Callback):
    """Remembers the weights behind each optimiser step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        if trainer.global_step > len(self.seen):
            self.seen.append({key: value.clone() for key, value in module.state_dict().items()})


def scene_data(source: Path, **changes: Any) -> SceneDataModule:
    settings: dict[str, Any] = {"window": WINDOW, "frames": FRAMES, "batch_size": 2, "steps_per_epoch": 4}
    settings |= {"val_samples": 2, "num_workers": 0, "num_scenes": 3, "predict_batch_size": 2}
    return SceneDataModule(source, **(settings | changes))


def motion_data(source: Path, **changes: Any) -> MotionDataModule:
    settings: dict[str, Any] = {"window": WINDOW, "frames": FRAMES, "batch_size": 2, "steps_per_epoch": 4}
    settings |= {"block": 2, "val_samples": 2, "num_workers": 0}
    return MotionDataModule(source, **(settings | changes))


def segmentation_data(source: Path, **changes: Any) -> SegmentationDataModule:
    settings: dict[str, Any] = {"window": WINDOW, "batch_size": 2, "steps_per_epoch": 4}
    settings |= {"val_frames": 2, "num_workers": 0}
    return SegmentationDataModule(source, **(settings | changes))


def features_data(source: Path, **changes: Any) -> FeaturesDataModule:
    settings: dict[str, Any] = {"window": WINDOW, "frames": 2, "batch_size": 6, "steps_per_epoch": 8}
    settings |= {"val_samples": 4, "num_workers": 0}
    return FeaturesDataModule(source, **(settings | changes))


def fit(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    folder: Path,
    *,
    max_steps: int = 7,
    decay: float = 0.9,
    callbacks: list[pl.Callback] | None = None,
    resume: Path | None = None,
    **options: Any,
) -> pl.Trainer:
    """Train quietly on the CPU with an average of the weights."""
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=max_steps,
        max_epochs=-1,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[EMA(decay), *(callbacks or [])],
        **{"enable_checkpointing": False, **options},
    )
    trainer.fit(module.train(), datamodule=data, ckpt_path=resume)
    return trainer
