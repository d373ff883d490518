"""Pictures and clips that show whether a training works: on disk always, in W&B where it listens."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.modules.logging import JournalLogger
from sfvd_pl.report.animation import save_gif
from sfvd_pl.report.overlay import grid_picture, save_png


def picture_folder(trainer: pl.Trainer) -> Path:
    """Where a training leaves its pictures."""
    folder = Path(trainer.default_root_dir) / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _wandb_loggers(trainer: pl.Trainer) -> list[JournalLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, JournalLogger)]


def _logged_step(trainer: pl.Trainer) -> int:
    """Of the optimiser step just taken; Lightning counts them from 0 where it logs."""
    return max(trainer.global_step - 1, 0)


def log_frames(
    trainer: pl.Trainer, name: str, image: Float[Tensor, "B 1 H W"], wire_mask: Float[Tensor, "B 1 H W"]
) -> Path | None:
    """Save and log a grid of frames, plain and with their masks drawn in; rank 0 only.

    Args:
        trainer: Whose root folder and loggers.
        name: Name of the picture.
        image: Detector signal in 0..1.
        wire_mask: The masks.
    """
    if not trainer.is_global_zero or trainer.sanity_checking:
        return None
    grid = grid_picture(image[:, 0].float().cpu().numpy(), wire_mask[:, 0].cpu().numpy() > 0.5)
    path = picture_folder(trainer) / f"{name}-{trainer.global_step:06d}.png"
    save_png(path, grid)
    for logger in _wandb_loggers(trainer):
        logger.log_image(key=name, images=[str(path)], step=_logged_step(trainer))
    return path


def log_clips(
    trainer: pl.Trainer, name: str, image: Float[Tensor, "B 1 T H W"], wire_mask: Float[Tensor, "B 1 T H W"]
) -> Path | None:
    """Save and log clips side by side as an animation; rank 0 only."""
    if not trainer.is_global_zero or trainer.sanity_checking:
        return None
    path = picture_folder(trainer) / f"{name}-{trainer.global_step:06d}.gif"
    clips = (image[:, 0].float().cpu().numpy() * 255.0).round().astype(np.uint8)
    save_gif(path, clips, wire_mask[:, 0].cpu().numpy() > 0.5)
    for logger in _wandb_loggers(trainer):
        logger.log_video(key=name, videos=[str(path)], step=_logged_step(trainer))
    return path
