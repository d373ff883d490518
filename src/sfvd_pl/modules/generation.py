"""Stage 3: the scene and the motion model together, steered by a segmenter and judged by another one."""

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from sfvd_pl.artifacts import SharedWork
from sfvd_pl.augment.columns import median_visibility, quantise
from sfvd_pl.augment.gate import Gate
from sfvd_pl.augment.plan import Plan
from sfvd_pl.datasets.batch import GenerationBatch
from sfvd_pl.datasets.pieces import piece_loader
from sfvd_pl.datasets.sequences import as_generation, scene_image
from sfvd_pl.diffusion import SegmentationGuidance
from sfvd_pl.metrics.segmentation import dice
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.scene import SceneModule, generation_condition
from sfvd_pl.modules.segmentation import GuideSegmenter, SegmentationModule


@dataclass(frozen=True)
class GuideConfig:
    """How the guide steers the sampler.

    Attributes:
        band_radius: Pixels around the wire that may be changed.
        interval: Part of the trajectory that is guided, as fractions of its steps from the noise.
        through_denoiser: Take the gradient through the denoiser too: one backward pass through it a guided step.
        refine_from: Part of the trajectory that the refinement of a given scene leaves out.
    """

    band_radius: int = 3
    interval: tuple[float, float] = (0.2, 0.8)
    through_denoiser: bool = False
    refine_from: float = 0.3


class ClipGenerator(pl.LightningModule):
    """Draws guided clips and lets the gate judge them; used with ``Trainer.predict``.

    Args:
        scene: Trained scene model.
        motion: Trained motion model.
        guide: Segmenter that steers.
        judge: Segmenter that judges, trained independently of the guide.
        gate: Thresholds of the verdict.
        config: How the guide steers.
        intensity_max: Depth of the pixels that are written, on which the clips are judged.
    """

    def __init__(
        self,
        scene: SceneModule,
        motion: MotionModule,
        guide: SegmentationModule,
        judge: SegmentationModule,
        gate: Gate,
        config: GuideConfig,
        intensity_max: int,
    ) -> None:
        super().__init__()
        self.scene = scene
        self.motion = motion
        self.guide = guide
        self.judge = judge
        self.gate = gate
        self.config = config
        self.intensity_max = intensity_max

    def _guidance(
        self, like: SceneModule | MotionModule, wire_mask: Tensor, scale: Tensor
    ) -> SegmentationGuidance:
        return SegmentationGuidance(
            GuideSegmenter(self.guide, like),
            wire_mask,
            scale,
            band_radius=self.config.band_radius,
            interval=self.config.interval,
            through_denoiser=self.config.through_denoiser,
        )

    def generate(self, batch: GenerationBatch) -> Float[Tensor, "B 1 T H W"]:
        """Guided clips in 0..1 for the batch's mask sequences."""
        condition = generation_condition(batch)
        scale = batch.segmentation_scale
        scene = self.scene.generate(
            condition.frames(slice(0, 1)),
            batch.sample_id,
            guide=self._guidance(self.scene, batch.wire_mask[:, :, 0], scale),
            refine=batch.scene,
            refine_from=self.config.refine_from,
        )
        return self.motion.generate(
            scene,
            condition,
            batch.sample_id,
            guide=lambda block: self._guidance(self.motion, batch.wire_mask[:, :, block], scale),
        )

    def predict_step(self, batch: GenerationBatch, batch_idx: int) -> dict[str, Any]:
        """Clips with the gate's verdict."""
        image = self.generate(batch)
        # Judged as it will be read: with the rounding of its pixels.
        pixels = quantise(image[:, 0], self.intensity_max)
        wire_mask = batch.wire_mask[:, 0].cpu().numpy() > 0.5
        found = self._judge(pixels)
        clip_dice = np.array(
            [np.mean([dice(f, m) for f, m in zip(*pair, strict=True)]) for pair in zip(found, wire_mask, strict=True)],
            np.float32,
        )
        visibility = median_visibility(
            np.stack([clip_visibility(p, m) for p, m in zip(pixels, wire_mask, strict=True)])
        )
        reasons = self.gate.reasons(clip_dice, visibility)
        facts = {
            "clips/gate_dice": clip_dice,
            "clips/accepted": np.array([not reason for reason in reasons]),
            "clips/reject_reason": reasons,
        }
        return {"batch": batch, "image": image, "facts": facts}

    def _judge(self, pixels: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Where the judge sees a wire, ``B T H W``."""
        flat = torch.from_numpy(pixels.reshape(-1, 1, *pixels.shape[2:]).astype(np.float32))
        logits = self.judge(flat.to(self.device) / self.intensity_max)
        found: NDArray[np.bool_] = (logits > 0).cpu().numpy().reshape(pixels.shape)
        return found


class PlanDataModule(pl.LightningDataModule):
    """The clips of a plan, as far as this process is to make them.

    Args:
        plan: The plan.
        batch_size: Clips at once.
    """

    def __init__(self, plan: Plan, batch_size: int) -> None:
        super().__init__()
        self.plan = plan
        self.batch_size = batch_size
        self.sample_ids = plan.sample_ids
        self.work: SharedWork | None = None

    def pieces(self, sample_ids: list[int]) -> list[list[int]]:
        """Clips that are made together."""
        return self.plan.batches(sample_ids, self.batch_size)

    def predict_dataloader(self) -> DataLoader[GenerationBatch]:
        """Batches of the plan, each of clips that are refined or drawn throughout."""
        return piece_loader(self.work or self.pieces(self.sample_ids), self.batch_size, self._make)

    def _make(self, ids: list[int]) -> GenerationBatch:
        samples = []
        for sample_id in ids:
            sequence = self.plan.sequence(sample_id)
            planned = self.plan.clip(sample_id, sequence)
            scene = scene_image(self.plan.scenes, planned.scene_row) if planned.scene_row >= 0 else None
            samples.append(
                as_generation(
                    sample_id, sequence, segmentation_scale=planned.segmentation_scale, scene=scene
                )
            )
        return GenerationBatch.collate(samples)
