"""The scene module: learns frames with a wire where a mask says, and draws them."""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.datasets.batch import ClipBatch, GenerationBatch
from sfvd_pl.diffusion import SamplerConfig, X0Guidance, sample_noise
from sfvd_pl.modules.base import (
    DiffusionModule,
    MaskGuidanceConfig,
    ObjectiveConfig,
    OptimiserConfig,
    guided_denoiser,
)
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
        guidance: Classifier-free guidance on the wire.
        seed: Decides the initial weights and, with the sample ids, all noise.
        compile_network: See :class:`DiffusionModule`.
    """

    def __init__(
        self,
        network: UNetConfig = UNetConfig(),  # noqa: B008  # frozen dataclasses
        objective: ObjectiveConfig = ObjectiveConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(),  # noqa: B008
        sampler: SamplerConfig = SamplerConfig(),  # noqa: B008
        guidance: MaskGuidanceConfig = MaskGuidanceConfig(),  # noqa: B008
        seed: int = 0,
        compile_network: bool = False,
    ) -> None:
        super().__init__(objective, optimiser, sampler, guidance, seed, compile_network, network=network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SceneUNet(network)

    def losses(self, batch: ClipBatch) -> tuple[Float[Tensor, " B"], Tensor]:
        """Loss of each sample, and whether it trained the null branch."""
        x0 = self.standardise(rearrange(batch.image, "b c 1 h w -> b c h w"))
        noise = rearrange(batch.noise, "b c 1 h w -> b c h w")
        timesteps = self.timesteps(batch.uniforms[:, 0])
        dropped = batch.uniforms[:, 1] < self.objective.mask_dropout
        condition = WireCondition.build(
            batch.wire_mask, batch.nearness, batch.label_known, batch.visibility
        ).drop(dropped)
        x_t = self.schedule.add_noise(x0, noise, timesteps)
        output = self.network(x_t, timesteps, condition)
        wire_mask = rearrange(batch.wire_mask, "b c 1 h w -> b c h w")
        loss = self.denoising_loss(output, x0, noise, timesteps, wire_mask)
        return loss, dropped | ~batch.label_known[:, 0]

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """One denoising step."""
        return self.log_losses(self.losses(batch)[0])

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The loss on fixed samples; from the first batch also a grid of scenes for held-out masks."""
        self.measure_losses(*self.losses(batch), batch_idx)
        if batch_idx == 0 and not self.trainer.sanity_checking and self.trainer.is_global_zero:
            first = slice(0, GRID_SAMPLES)
            condition = WireCondition.build(
                batch.wire_mask[first], batch.nearness[first], batch.label_known[first], batch.visibility[first]
            )
            image = self.generate(condition, batch.sample_id[first])
            log_frames(self.trainer, "scenes", image, batch.wire_mask[first, :, 0])

    @torch.no_grad()
    def generate(
        self,
        condition: WireCondition,
        sample_ids: Tensor,
        *,
        guide: X0Guidance | None = None,
        refine: Float[Tensor, "B 1 H W"] | None = None,
        refine_from: float = 0.2,
    ) -> Float[Tensor, "B 1 H W"]:
        """Draw scenes.

        Args:
            condition: Where the wire is in each (T = 1) and how plain it is to be.
            sample_ids: Identities, which decide the noise.
            guide: Changes the estimates while sampling.
            refine: Scenes in 0..1 to redraw from part of the way instead of drawing new ones (SDEdit, Meng et al.
                2022, arXiv 2108.01073).
            refine_from: Fraction of the trajectory that a refinement leaves out.

        Returns:
            Detector signal in 0..1.
        """
        sampler = self.sampler
        shape = (1, *condition.channels.shape[-2:])
        x_start = self._noise(sample_ids, shape, "scene-x_T")
        start_step = 0
        if refine is not None:
            start_step = round(refine_from * sampler.config.num_inference_steps)
            level = torch.full_like(sample_ids, sampler.timesteps()[start_step])
            x_start = self.schedule.add_noise(self.standardise(refine), x_start, level)
        both = condition.cat(condition.null())

        def network(x_t: Tensor, timesteps: Tensor, with_null: bool) -> Tensor:
            if with_null:
                x_t, timesteps = torch.cat([x_t, x_t]), torch.cat([timesteps, timesteps])
            output: Tensor = self.network(x_t, timesteps, both if with_null else condition)
            return output

        x0 = sampler.sample(
            guided_denoiser(network, self.guidance, self.schedule.num_train_timesteps),
            x_start,
            step_noise=lambda step: self._noise(sample_ids, shape, f"scene-step-{step}"),
            x0_guidance=guide,
            start_step=start_step,
        )
        return self.to_image(x0)

    def _noise(self, sample_ids: Tensor, shape: tuple[int, ...], purpose: str) -> Tensor:
        return sample_noise(self.seed, sample_ids.cpu(), shape, purpose).to(self.device)

    def predict_step(self, batch: GenerationBatch, batch_idx: int) -> dict[str, Any]:
        """One scene for each mask sequence of the batch."""
        condition = generation_condition(batch).frames(slice(0, 1))
        return {"batch": batch, "image": self.generate(condition, batch.sample_id)[:, :, None]}


def generation_condition(batch: GenerationBatch) -> WireCondition:
    """The condition that a mask sequence to generate stands for: known in every frame."""
    frames = batch.wire_mask.shape[2]
    known = torch.ones(len(batch.sample_id), frames, dtype=torch.bool, device=batch.wire_mask.device)
    visibility = batch.visibility[:, None].expand(-1, frames)
    return WireCondition.build(batch.wire_mask, batch.nearness, known, visibility)


