"""The motion module: learns the frames that follow a scene, and rolls clips out block by block."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.datasets.batch import ClipBatch, GenerationBatch
from sfvd_pl.diffusion import SamplerConfig, X0Guidance, sample_noise, share_coarse
from sfvd_pl.errors import CheckpointError, ConfigError
from sfvd_pl.modules.base import DiffusionModule, ObjectiveConfig, OptimiserConfig
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.media import log_clips
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.networks import MotionUNet, UNetConfig, WireCondition, pack_context

VIDEO_SAMPLES = 4
"""Clips in the validation video."""

GuideFactory = Callable[[slice], X0Guidance]
"""Frames of the clip that a block holds -> the guide for them."""


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
        objective: What the loss weighs.
        optimiser: How it is minimised.
        sampler: How frames are drawn.
        seed: Decides the initial weights of what is new and, with the sample ids, all noise.
        compile_network: See :class:`DiffusionModule`.
    """

    def __init__(
        self,
        scene_ckpt: Path | None = None,
        network: UNetConfig = UNetConfig(),  # noqa: B008  # frozen dataclasses
        block: int = 4,
        history: HistoryConfig = HistoryConfig(),
        objective: ObjectiveConfig = ObjectiveConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(),  # noqa: B008
        sampler: SamplerConfig = SamplerConfig(),  # noqa: B008
        seed: int = 0,
        compile_network: bool = False,
    ) -> None:
        super().__init__(
            objective,
            optimiser,
            sampler,
            seed,
            compile_network,
            network=network,
            block=block,
            history=history,
        )
        self.block = block
        self.history = history
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

    def losses(self, batch: ClipBatch) -> Float[Tensor, " B"]:
        """Loss of each sample over the block's regions."""
        past = self.network.context_frames
        frames, condition = self.standardise(batch.image), self.condition_of(batch)
        level = batch.uniforms[:, 1] * self.history.max_level
        context = pack_context(
            noised(frames[:, :, :past], batch.context_noise[:, :, :past], level),
            condition.frames(slice(0, past)),
        )
        x0 = frames[:, :, past:]
        noise = share_coarse(batch.noise[:, :, past:], batch.shared_noise)
        timesteps = self.timesteps(batch.uniforms[:, 0])
        x_t = self.schedule.add_noise(x0, noise, timesteps)
        output = self.network(x_t, timesteps, condition.frames(slice(past, None)), context, level)
        return self.denoising_loss(output, x0, noise, timesteps, batch.region[:, :, past:])

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """One denoising step on a block."""
        return self.log_losses(self.losses(batch))

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """The loss on fixed samples; from the first batch also clips with their regions drawn anew."""
        self.measure_losses(self.losses(batch), batch_idx)
        if batch_idx == 0 and not self.trainer.sanity_checking and self.trainer.is_global_zero:
            first, start = slice(0, VIDEO_SAMPLES), self.history.frames
            # The history's last frame and the block: consecutive frames of a real clip.
            condition = WireCondition(self.condition_of(batch).channels[first, :, start:])
            clips = self.generate(batch.image[first, :, start], condition, batch.sample_id[first])
            log_clips(self.trainer, "clips", clips, batch.wire_mask[first, :, start:])

    @torch.no_grad()
    def generate(
        self,
        scene: Float[Tensor, "B 1 H W"],
        condition: WireCondition,
        sample_ids: Tensor,
        *,
        guide: GuideFactory | None = None,
    ) -> Float[Tensor, "B 1 T H W"]:
        """Draw the regions of the frames that follow a scene, block by block.

        Args:
            scene: First frames, detector signal in 0..1.
            condition: The wire, the region and what is given of every frame, the first included.
            sample_ids: Identities, which decide the noise.
            guide: Makes the guide for a block's frames.

        Returns:
            Clips in 0..1; the first frame is ``scene``.

        Raises:
            ConfigError: The frames behind the first are no whole number of blocks, which is how the model was trained.
        """
        total = condition.channels.shape[2]
        if (total - 1) % self.block:
            raise ConfigError(
                "a clip is its first frame and whole blocks",
                key="data.frames",
                expected=f"1 + a multiple of block = {self.block}",
                found=total,
            )
        frames = [self.standardise(scene)]
        for begin in range(1, total, self.block):
            block = slice(begin, begin + self.block)
            past = [0, *(max(0, i) for i in range(begin - self.history.frames, begin))]
            x0 = self._draw_block(
                torch.stack([frames[i] for i in past], dim=2),
                condition.frames(past),
                condition.frames(block),
                sample_ids,
                begin,
                None if guide is None else guide(block),
            )
            frames += list(x0.unbind(2))
        return self.to_image(torch.stack(frames, dim=2))

    def _draw_block(
        self,
        past: Tensor,
        past_condition: WireCondition,
        condition: WireCondition,
        sample_ids: Tensor,
        begin: int,
        guide: X0Guidance | None,
    ) -> Tensor:
        def noise(purpose: str, shape: Any) -> Tensor:
            return sample_noise(self.seed, sample_ids.cpu(), tuple(shape), f"motion-{purpose}").to(self.device)

        def clip_noise(purpose: str) -> Tensor:
            size = past.shape[-2:]
            independent = noise(f"{purpose}-{begin}", (1, condition.channels.shape[2], *size))
            return share_coarse(independent, noise(f"{purpose}-shared", (1, *size)))

        level = torch.full((len(sample_ids),), self.history.level, device=self.device)
        context = pack_context(noised(past, noise(f"context-{begin}", past.shape[1:]), level), past_condition)
        return self.draw(
            lambda x_t, timesteps: self.network(x_t, timesteps, condition, context, level),
            clip_noise("x_T"),
            condition,
            lambda step: clip_noise(f"step-{step}"),
            guide,
        )

    def predict_step(self, batch: GenerationBatch, batch_idx: int) -> dict[str, Any]:
        """One fresh clip for each scene of the batch."""
        assert batch.scene is not None, "motion prediction reads scenes"
        condition = WireCondition.fresh(batch.wire_mask, batch.nearness)
        return {"batch": batch, "image": self.generate(batch.scene, condition, batch.sample_id)}


def noised(
    frames: Float[Tensor, "B 1 K H W"], noise: Float[Tensor, "B 1 K H W"], level: Float[Tensor, " B"]
) -> Float[Tensor, "B 1 K H W"]:
    """Noise augmentation of context frames (as in cascaded diffusion, Ho et al. 2021, arXiv 2106.15282)."""
    share = level[:, None, None, None, None]
    return (1.0 - share.square()).sqrt() * frames + share * noise
