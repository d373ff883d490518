"""The scene module: learns to draw a wire into a frame where a mask says, or the whole frame with it."""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.datasets.batch import ClipBatch, GenerationBatch
from sfvd_pl.diffusion import SamplerConfig, X0Guidance, sample_noise
from sfvd_pl.modules.base import DiffusionModule, ObjectiveConfig, OptimiserConfig
from sfvd_pl.modules.media import log_frames
from sfvd_pl.networks import SceneUNet, UNetConfig, WireCondition

GRID_SAMPLES = 8
"""Frames in the validation picture."""


class SceneModule(DiffusionModule):
    """Stage 1. Trains a :class:`SceneUNet`; ``predict_step`` draws one scene for each mask sequence.

    Args:
        network: Size of the network.
        objective: What the loss weighs.
        optimiser: How it is minimised.
        sampler: How scenes are drawn.
        seed: Decides the initial weights and, with the sample ids, all noise.
        compile_network: See :class:`DiffusionModule`.
    """

    def __init__(
        self,
        network: UNetConfig = UNetConfig(),  # noqa: B008  # frozen dataclasses
        objective: ObjectiveConfig = ObjectiveConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(),  # noqa: B008
        sampler: SamplerConfig = SamplerConfig(),  # noqa: B008
        seed: int = 0,
        compile_network: bool = False,
    ) -> None:
        super().__init__(objective, optimiser, sampler, seed, compile_network, network=network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SceneUNet(network)

    def losses(self, batch: ClipBatch) -> Float[Tensor, " B"]:
        """Loss of each sample over its region."""
        condition = self.condition_of(batch)
        x0, noise, region = (
            rearrange(x, "b c 1 h w -> b c h w")
            for x in (self.standardise(batch.image), batch.noise, batch.region)
        )
        timesteps = self.timesteps(batch.uniforms[:, 0])
        output = self.network(self.schedule.add_noise(x0, noise, timesteps), timesteps, condition)
        return self.denoising_loss(output, x0, noise, timesteps, region)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """One denoising step."""
        return self.log_losses(self.losses(batch))

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The loss on fixed samples; from the first batch also frames with their regions drawn anew."""
        self.measure_losses(self.losses(batch), batch_idx)
        if batch_idx == 0 and not self.trainer.sanity_checking and self.trainer.is_global_zero:
            first = slice(0, GRID_SAMPLES)
            condition = WireCondition(self.condition_of(batch).channels[first])
            image = self.generate(condition, batch.sample_id[first])
            log_frames(self.trainer, "scenes", image, batch.wire_mask[first, :, 0])

    @torch.no_grad()
    def generate(
        self, condition: WireCondition, sample_ids: Tensor, *, guide: X0Guidance | None = None
    ) -> Float[Tensor, "B 1 H W"]:
        """Draw the region of frames.

        Args:
            condition: The wire, the region and what is given of each frame (T = 1).
            sample_ids: Identities, which decide the noise.
            guide: Changes the estimates while sampling.

        Returns:
            Detector signal in 0..1.
        """
        shape = (1, *condition.channels.shape[-2:])

        def noise(purpose: str) -> Tensor:
            return sample_noise(self.seed, sample_ids.cpu(), shape, f"scene-{purpose}").to(self.device)

        x0 = self.draw(
            lambda x_t, timesteps: self.network(x_t, timesteps, condition),
            noise("x_T"),
            condition,
            lambda step: noise(f"step-{step}"),
            guide,
        )
        return self.to_image(x0)

    def predict_step(self, batch: GenerationBatch, batch_idx: int) -> dict[str, Any]:
        """One fresh scene for each mask sequence of the batch."""
        condition = WireCondition.fresh(batch.wire_mask[:, :, :1], batch.nearness[:, :, :1])
        return {"batch": batch, "image": self.generate(condition, batch.sample_id)[:, :, None]}
