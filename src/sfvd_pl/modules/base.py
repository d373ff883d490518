"""What the diffusion modules share: objective, optimiser, sampling."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.datasets.batch import ClipBatch
from sfvd_pl.diffusion import (
    Denoiser,
    NoiseSchedule,
    Prediction,
    PredictionType,
    Sampler,
    SamplerConfig,
    ScheduleConfig,
    X0Guidance,
    min_snr_weight,
    weighted_mse,
)
from sfvd_pl.modules.exact import ExactMean, counts, log_and_reset
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.networks import WireCondition


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with a linear warm-up and a cosine decay.

    Attributes:
        lr: Peak learning rate.
        weight_decay: Decoupled weight decay.
        betas: Of Adam's moments.
        warmup_steps: Optimiser steps up to the peak.
        final_lr_ratio: Learning rate at the last step over that at the peak.
    """

    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = 50
    final_lr_ratio: float = 0.05


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the denoising loss weighs.

    Attributes:
        prediction_type: What the network predicts.
        schedule: The noise schedule.
        snr_gamma: Bound of the min-SNR weight; None weighs all times alike.
    """

    prediction_type: PredictionType = "v_prediction"
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    snr_gamma: float | None = 5.0


def cosine_with_warmup(step: int, *, warmup: int, total: int, final: float) -> float:
    """Factor of the learning rate at an optimiser step."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def optimiser_with_schedule(module: pl.LightningModule, config: OptimiserConfig) -> dict[str, Any]:
    """AdamW and its schedule over ``trainer.max_steps``, in Lightning's form."""
    total = int(module.trainer.estimated_stepping_batches)
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=config.lr, weight_decay=config.weight_decay, betas=config.betas
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: cosine_with_warmup(
            step, warmup=config.warmup_steps, total=total, final=config.final_lr_ratio
        ),
    )
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class DiffusionModule(RecordedModule):
    """Base of the scene and the motion module.

    Args:
        objective: What the loss weighs.
        optimiser: How it is minimised.
        sampler: How pictures are drawn.
        seed: Decides all noise together with the sample ids.
        compile_network: Compile the network (torch.compile) for training: minutes once, faster steps after; pays on
            a GPU and in long trainings.
        config: The subclass's further arguments.
    """

    def __init__(
        self,
        objective: ObjectiveConfig,
        optimiser: OptimiserConfig,
        sampler: SamplerConfig,
        seed: int,
        compile_network: bool,
        **config: Any,
    ) -> None:
        super().__init__(
            objective=objective,
            optimiser=optimiser,
            sampler=sampler,
            seed=seed,
            compile_network=compile_network,
            **config,
        )
        self.compile_network = compile_network
        self.unshuffle = int(config["network"].unshuffle)
        self.objective = objective
        self.optimiser = optimiser
        self.seed = seed
        self.schedule = NoiseSchedule(objective.schedule)
        self.prediction = Prediction(self.schedule, objective.prediction_type)
        self.sampler_config = sampler
        self.val_loss = ExactMean()

    def setup(self, stage: str) -> None:
        """As every module; and compile the network in place, which leaves the names of its weights alone."""
        super().setup(stage)
        if stage == "fit" and self.compile_network:
            self.get_submodule("network").compile()

    @property
    def sampler(self) -> Sampler:
        """A sampler that keeps x0 within the detector's range, and free of the lattice of the network's squares."""
        low, high = (float(v) for v in self.standardise(torch.tensor([0.0, 1.0], device=self.device)))
        config = self.sampler_config
        if config.clip_x0 is None:
            config = replace(config, clip_x0=(low, high))
        if config.lattice is None:
            config = replace(config, lattice=self.unshuffle)
        return Sampler(self.prediction, config)

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine."""
        return optimiser_with_schedule(self, self.optimiser)

    def timesteps(self, uniform: Float[Tensor, " B"]) -> Tensor:
        """Diffusion times from numbers in [0, 1)."""
        count = self.schedule.num_train_timesteps
        return (uniform * count).long().clamp(max=count - 1)  # rounding must not lead out of the table

    def denoising_loss(
        self,
        output: Tensor,
        x0: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        region: Tensor,
    ) -> Float[Tensor, " B"]:
        """Mean squared error of each sample over its region."""
        target = self.prediction.training_target(x0, noise, timesteps)
        config = self.objective
        weight = None
        if config.snr_gamma is not None:
            weight = min_snr_weight(self.schedule, timesteps, config.prediction_type, config.snr_gamma)
        return weighted_mse(output, target, weight, region)

    def condition_of(self, batch: ClipBatch) -> WireCondition:
        """What the network is told of a batch's frames."""
        x0 = self.standardise(batch.image)
        return WireCondition.build(batch.wire_mask, batch.nearness, batch.known, x0, batch.region)

    def draw(
        self,
        denoise: Denoiser,
        x_T: Tensor,
        condition: WireCondition,
        step_noise: Callable[[int], Tensor],
        guide: X0Guidance | None,
    ) -> Tensor:
        """Sample the region; what lies outside it is the condition's background, exactly.

        Args:
            denoise: The network with its condition.
            x_T: Noise, (B, 1, H, W) or (B, 1, T, H, W).
            condition: Of the same frames.
            step_noise: Fresh noise of a stochastic sampler's step.
            guide: Changes the estimates.

        Returns:
            x0, shaped like ``x_T``.
        """
        background, region = (c.reshape(x_T.shape) for c in (condition.background, condition.region))
        given = None if bool((region > 0).all()) else (background, region)
        return self.sampler.sample(denoise, x_T, step_noise=step_noise, x0_guidance=guide, given=given)

    def log_losses(self, loss: Tensor) -> Tensor:
        """Log the mean loss of a training batch; returns it.

        Args:
            loss: ``B``.
        """
        mean = loss.mean()
        self.log("train/loss", mean, batch_size=len(loss), prog_bar=True)
        return mean

    def measure_losses(self, loss: Tensor, batch_idx: int) -> None:
        """Take a validation batch's losses, ``B``, into the mean over all samples of all ranks."""
        if counts(self.trainer, batch_idx):
            self.val_loss.update(loss)

    def on_validation_epoch_end(self) -> None:
        """The means over all ranks."""
        log_and_reset(self, val__loss=self.val_loss)
