"""The motion module: learns the frames that follow a scene, and rolls clips out block by block."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.datasets.batch import ClipBatch, GenerationBatch
from sfvd_pl.diffusion import SamplerConfig, X0Guidance, make_consistency, sample_noise
from sfvd_pl.errors import CheckpointError, ConfigError
from sfvd_pl.modules.base import (
    DiffusionModule,
    MaskGuidanceConfig,
    ObjectiveConfig,
    OptimiserConfig,
    guided_denoiser,
)
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.media import log_clips
from sfvd_pl.modules.scene import SceneModule, generation_condition
from sfvd_pl.networks import MotionUNet, UNetConfig, WireCondition, pack_context

VIDEO_SAMPLES = 4
"""Clips in the validation video."""

GuideFactory = Callable[[slice], X0Guidance]
"""Frames of the clip that a block holds -> the guide for them."""


@dataclass(frozen=True)
class ConsistencyConfig:
    """How the frames of a clip are held together beside the history.

    Attributes:
        strategy: ``none``, ``mixed``, ``progressive`` or ``coarse`` noise.
        alpha: Strength of the correlation.
    """

    strategy: str = "none"
    alpha: float = 0.5


@dataclass(frozen=True)
class HistoryConfig:
    """The frames that a block is conditioned on.

    Attributes:
        frames: Frames directly before the block, beside the clip's first.
        max_level: Largest noise level added to them in training, drawn evenly from 0.
        level: Noise level added while sampling, against errors that build up from block to block.
    """

    frames: int = 2
    max_level: float = 0.3
    level: float = 0.05

    def __post_init__(self) -> None:
        """The network must have met the level that it samples with."""
        if not 0.0 <= self.level <= self.max_level < 1.0:
            raise ConfigError(
                "noise levels of the history do not fit",
                key="history.level",
                expected="0 <= level <= max_level < 1",
                found=f"level {self.level}, max_level {self.max_level}",
            )


class MotionModule(DiffusionModule):
    """Stage 2. Trains a :class:`MotionUNet`; ``predict_step`` rolls out one clip for each scene.

    Args:
        scene_ckpt: Checkpoint of the scene model to start from; None only where the weights come from a motion
            checkpoint.
        network: Size of the network; must be that of the scene model.
        block: Frames that are denoised together.
        history: The frames that a block is conditioned on.
        consistency: How the noise of the frames hangs together.
        objective: What the loss weighs.
        optimiser: How it is minimised.
        sampler: How frames are drawn.
        guidance: Classifier-free guidance on the wire.
        seed: Decides the initial weights of what is new and, with the sample ids, all noise.
        compile_network: See :class:`DiffusionModule`.
    """

    def __init__(
        self,
        scene_ckpt: Path | None = None,
        network: UNetConfig = UNetConfig(),  # noqa: B008  # frozen dataclasses
        block: int = 4,
        history: HistoryConfig = HistoryConfig(),
        consistency: ConsistencyConfig = ConsistencyConfig(),
        objective: ObjectiveConfig = ObjectiveConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(),  # noqa: B008
        sampler: SamplerConfig = SamplerConfig(),  # noqa: B008
        guidance: MaskGuidanceConfig = MaskGuidanceConfig(),  # noqa: B008
        seed: int = 0,
        compile_network: bool = False,
    ) -> None:
        super().__init__(
            objective,
            optimiser,
            sampler,
            guidance,
            seed,
            compile_network,
            network=network,
            block=block,
            history=history,
            consistency=consistency,
        )
        self.block = block
        self.history = history
        self.consistency = make_consistency(consistency.strategy, consistency.alpha)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = MotionUNet(network, history.frames)
        if scene_ckpt is not None:
            self._start_from(scene_ckpt)

    def _start_from(self, scene_ckpt: Path) -> None:
        scene = load_for_inference(SceneModule, scene_ckpt)
        self.inherited_patients = tuple(scene.learned_from.get("patients", ()))
        for key in ("network", "objective"):
            own, theirs = self.recorded_config[key], scene.recorded_config[key]
            if key == "objective":
                # Only what defines the diffusion has to agree; weights of the loss may differ.
                own, theirs = (
                    {k: c[k] for k in ("prediction_type", "schedule")} for c in (own, theirs)
                )
            if own != theirs:
                raise CheckpointError(
                    "the scene model differs from the motion model that is to start from it",
                    file=scene_ckpt,
                    key=f"model.{key}",
                    expected=own,
                    found=theirs,
                    remedy="use the same settings in both stages",
                )
        self.network.load_scene(scene.network)
        self.intensity.copy_(scene.intensity)

    def losses(self, batch: ClipBatch) -> tuple[Float[Tensor, " B"], Tensor]:
        """Loss of each sample, and whether it trained the null branch."""
        context_frames = self.network.context_frames
        frames = self.standardise(batch.image)
        dropped = batch.uniforms[:, 1] < self.objective.mask_dropout
        condition = WireCondition.build(
            batch.wire_mask, batch.nearness, batch.label_known, batch.visibility
        ).drop(dropped)
        level = batch.uniforms[:, 2] * self.history.max_level
        context = pack_context(
            noised(frames[:, :, :context_frames], batch.context_noise[:, :, :context_frames], level),
            condition.frames(slice(0, context_frames)),
        )
        x0 = frames[:, :, context_frames:]
        noise = self.consistency.noise(batch.noise[:, :, context_frames:], shared=batch.shared_noise)
        timesteps = self.timesteps(batch.uniforms[:, 0])
        x_t = self.schedule.add_noise(x0, noise, timesteps)
        output = self.network(
            x_t, timesteps, condition.frames(slice(context_frames, None)), context, level
        )
        wire_mask = batch.wire_mask[:, :, context_frames:]
        loss = self.denoising_loss(output, x0, noise, timesteps, wire_mask)
        return loss, dropped | ~batch.label_known.any(1)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """One denoising step on a block."""
        return self.log_losses(self.losses(batch)[0])

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The loss on fixed samples; from the first batch also rolled-out clips as a video."""
        self.measure_losses(*self.losses(batch), batch_idx)
        if batch_idx == 0 and not self.trainer.sanity_checking and self.trainer.is_global_zero:
            first, start = slice(0, VIDEO_SAMPLES), self.history.frames
            # The history's last frame and the block: consecutive frames of a real clip with their masks.
            wire_mask = batch.wire_mask[first, :, start:]
            condition = WireCondition.build(
                wire_mask,
                batch.nearness[first, :, start:],
                batch.label_known[first, start:],
                batch.visibility[first, start:],
            )
            clips = self.generate(batch.image[first, :, start], condition, batch.sample_id[first])
            log_clips(self.trainer, "clips", clips, wire_mask)

    @torch.no_grad()
    def generate(
        self,
        scene: Float[Tensor, "B 1 H W"],
        condition: WireCondition,
        sample_ids: Tensor,
        *,
        guide: GuideFactory | None = None,
    ) -> Float[Tensor, "B 1 T H W"]:
        """Roll out clips.

        Args:
            scene: First frames, detector signal in 0..1.
            condition: The wire in every frame of the clip, the first included.
            sample_ids: Identities, which decide the noise.
            guide: Makes the guide for a block's frames.

        Returns:
            Clips in 0..1; the first frame is ``scene``.
        """
        total = condition.channels.shape[2]
        frames = [self.standardise(scene)]
        carried: dict[str, Tensor] = {}
        for begin in range(1, total, self.block):
            block = slice(begin, min(begin + self.block, total))
            past = [0, *(max(0, i) for i in range(begin - self.history.frames, begin))]
            x0 = self._denoise_block(
                torch.stack([frames[i] for i in past], dim=2),
                WireCondition(condition.channels[:, :, past], condition.visibility[:, past]),
                condition.frames(block),
                sample_ids,
                begin,
                carried,
                None if guide is None else guide(block),
            )
            frames += list(x0.unbind(2))
        return self.to_image(torch.stack(frames, dim=2))

    def _denoise_block(
        self,
        past: Tensor,
        past_condition: WireCondition,
        condition: WireCondition,
        sample_ids: Tensor,
        begin: int,
        carried: dict[str, Tensor],
        guide: X0Guidance | None,
    ) -> Tensor:
        """Draw one block; ``carried`` keeps the last noise of each purpose for the next."""
        num_frames = condition.channels.shape[2]
        level = torch.full((len(sample_ids),), self.history.level, device=self.device)
        context_noise = self._noise(sample_ids, past.shape[1:], f"context-{begin}")
        noised_past = noised(past, context_noise, level)
        context = pack_context(noised_past, past_condition)
        context_null = pack_context(noised_past, past_condition.null())
        both = condition.cat(condition.null())

        def network(x_t: Tensor, timesteps: Tensor, with_null: bool) -> Tensor:
            arguments = [x_t, timesteps, condition, context, level]
            if with_null:
                pairs = ((x_t, x_t), (timesteps, timesteps), both, (context, context_null), (level, level))
                arguments = [torch.cat(pair) if isinstance(pair, tuple) else pair for pair in pairs]
            output: Tensor = self.network(*arguments)
            return output

        def clip_noise(purpose: str) -> Tensor:
            shape = (1, num_frames, *past.shape[-2:])
            independent = self._noise(sample_ids, shape, f"{purpose}-{begin}")
            shared = self._noise(sample_ids, (1, *shape[2:]), f"{purpose}-shared")
            noise = self.consistency.noise(independent, carried.get(purpose), shared)
            carried[purpose] = noise[:, :, -1]
            return noise

        return self.sampler.sample(
            guided_denoiser(network, self.guidance, self.schedule.num_train_timesteps),
            clip_noise("x_T"),
            step_noise=lambda step: clip_noise(f"step-{step}"),
            x0_guidance=guide,
        )

    def _noise(self, sample_ids: Tensor, shape: Any, purpose: str) -> Tensor:
        return sample_noise(self.seed, sample_ids.cpu(), tuple(shape), f"motion-{purpose}").to(self.device)

    def predict_step(self, batch: GenerationBatch, batch_idx: int) -> dict[str, Any]:
        """One clip for each scene of the batch."""
        assert batch.scene is not None, "motion prediction reads scenes"
        clips = self.generate(batch.scene, generation_condition(batch), batch.sample_id)
        return {"batch": batch, "image": clips}


def noised(
    frames: Float[Tensor, "B 1 K H W"], noise: Float[Tensor, "B 1 K H W"], level: Float[Tensor, " B"]
) -> Float[Tensor, "B 1 K H W"]:
    """Noise augmentation of context frames (as in cascaded diffusion, Ho et al. 2021, arXiv 2106.15282)."""
    share = level[:, None, None, None, None]
    return (1.0 - share.square()).sqrt() * frames + share * noise
