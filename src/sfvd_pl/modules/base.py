"""What the diffusion modules share: objective, optimiser, standardisation, sampling."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.diffusion import (
    NoiseSchedule,
    Prediction,
    PredictionType,
    Sampler,
    SamplerConfig,
    ScheduleConfig,
    TimestepDensity,
    classifier_free,
    min_snr_weight,
    weighted_mse,
    wire_band,
)
from sfvd_pl.modules.exact import ExactMean, counts, log_and_reset
from sfvd_pl.modules.recorded import RecordedModule


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
        timesteps: Which diffusion times the training sees how often.
        snr_gamma: Bound of the min-SNR weight; None weighs all times alike.
        band_weight: Weight of a pixel within the wire's band against 1 elsewhere.
        band_radius: Dilation of the wire mask that makes the band, pixels.
        mask_dropout: Probability that a labelled sample trains the null branch.
    """

    prediction_type: PredictionType = "v_prediction"
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    timesteps: TimestepDensity = field(default_factory=TimestepDensity)
    snr_gamma: float | None = 5.0
    band_weight: float = 4.0
    band_radius: int = 2
    mask_dropout: float = 0.1


@dataclass(frozen=True)
class MaskGuidanceConfig:
    """Classifier-free guidance on the wire's condition.

    Attributes:
        guidance_scale: 1 is none.
        interval: Diffusion times, as fractions of the schedule (1 is pure noise), at which it is active; at others
            the null branch is not computed.
    """

    guidance_scale: float = 1.5
    interval: tuple[float, float] = (0.2, 0.8)


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
        guidance: Classifier-free guidance on the wire.
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
        guidance: MaskGuidanceConfig,
        seed: int,
        compile_network: bool,
        **config: Any,
    ) -> None:
        super().__init__(
            objective=objective,
            optimiser=optimiser,
            sampler=sampler,
            guidance=guidance,
            seed=seed,
            compile_network=compile_network,
            **config,
        )
        self.compile_network = compile_network
        self.unshuffle = int(config["network"].unshuffle)
        self.objective = objective
        self.optimiser = optimiser
        self.guidance = guidance
        self.seed = seed
        self.schedule = NoiseSchedule(objective.schedule)
        self.prediction = Prediction(self.schedule, objective.prediction_type)
        self.sampler_config = sampler
        self.val_loss = ExactMean()
        self.val_null = ExactMean()

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
        return self.objective.timesteps.timesteps(uniform, self.schedule.num_train_timesteps)

    def denoising_loss(
        self,
        output: Tensor,
        x0: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        wire_mask: Tensor,
    ) -> Float[Tensor, " B"]:
        """Weighted squared error of each sample; ``wire_mask`` is empty where the label is not known."""
        target = self.prediction.training_target(x0, noise, timesteps)
        config = self.objective
        weight = None
        if config.snr_gamma is not None:
            weight = min_snr_weight(self.schedule, timesteps, config.prediction_type, config.snr_gamma)
        pixel_weight = 1.0 + (config.band_weight - 1.0) * wire_band(wire_mask, config.band_radius)
        return weighted_mse(output, target, weight, pixel_weight)

    def log_losses(self, loss: Tensor) -> Tensor:
        """Log the mean loss of a training batch; returns it.

        Args:
            loss: ``B``.
        """
        mean = loss.mean()
        self.log("train/loss", mean, batch_size=len(loss), prog_bar=True)
        return mean

    def measure_losses(self, loss: Tensor, null: Tensor, batch_idx: int) -> None:
        """Take a validation batch into the means over all samples of all ranks.

        Args:
            loss: ``B``.
            null: ``B``, whether a sample was denoised by the null branch.
            batch_idx: Number of the batch on this rank.
        """
        if counts(self.trainer, batch_idx):
            self.val_loss.update(loss)
            self.val_null.update(null)

    def on_validation_epoch_end(self) -> None:
        """The means over all ranks."""
        log_and_reset(self, val__loss=self.val_loss, val__null_share=self.val_null)


def guided_denoiser(
    network: Callable[[Tensor, Tensor, bool], Tensor],
    guidance: MaskGuidanceConfig,
    num_train_timesteps: int,
) -> Callable[[Tensor, Tensor], Tensor]:
    """A denoiser with classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) in an interval of times.

    Limiting it to the middle of the trajectory keeps the variety of the scenes and saves the null branch elsewhere
    (Kynkäänniemi et al. 2024, arXiv 2404.07724).

    Args:
        network: Called with x_t, timesteps and whether to return the conditional output followed by the null
            one along the batch (True) or the conditional one only.
        guidance: Scale and interval.
        num_train_timesteps: Length of the schedule.
    """
    first, last = guidance.interval

    def denoise(x_t: Tensor, timesteps: Tensor) -> Tensor:
        place = float(timesteps[0]) / num_train_timesteps
        if guidance.guidance_scale == 1.0 or not first <= place <= last:
            return network(x_t, timesteps, False)
        cond, uncond = network(x_t, timesteps, True).chunk(2)
        return classifier_free(cond, uncond, guidance.guidance_scale)

    return denoise

