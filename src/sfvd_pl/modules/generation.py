"""Stage 3: the scene and the motion model draw a wire into the frames of a clip, and its contrast is set."""

from collections.abc import Sequence
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
from sfvd_pl.augment.columns import Columns, DrawnClip, anchored_columns, quantise
from sfvd_pl.augment.dial import attenuation, attenuation_cnr, contrast_for, drawn_share
from sfvd_pl.augment.gate import Gate
from sfvd_pl.augment.plan import Plan, PlannedClip
from sfvd_pl.datasets.pieces import divided, piece_loader
from sfvd_pl.datasets.windows import REGION_RADIUS_PX, band_around, centreline_nearness
from sfvd_pl.diffusion import SegmentationGuidance
from sfvd_pl.metrics.segmentation import dice
from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.modules.segmentation import GuideSegmenter, SegmentationModule
from sfvd_pl.modules.writer import joined
from sfvd_pl.networks import WireCondition

CONTEXT_PX = 16
"""Pixels of the real frame around the region that the networks are shown."""
CANDIDATES = (1.0, 0.75, 0.55, 0.4, 0.3)
"""Shares of the contrast that a hard clip may be given."""


@dataclass(frozen=True)
class GuideConfig:
    """How the guide steers the sampler, where a clip asks for it.

    Attributes:
        band_radius: Pixels around the wire that may be changed.
        interval: Part of the trajectory that is guided, as fractions of its steps from the noise.
    """

    band_radius: int = 3
    interval: tuple[float, float] = (0.2, 0.8)


class ClipGenerator(pl.LightningModule):
    """Draws planned clips and lets the gate judge them; used with ``Trainer.predict``.

    Each clip is drawn by itself, so it depends on its id and not on what it shares a batch with: the frames of a clip,
    with and without its wire, fill a device as well.

    Args:
        scene: Trained scene model.
        motion: Trained motion model.
        guide: Segmenter that steers, and whose failures make a clip hard.
        judge: Second segmenter, trained independently of the guide; None where labels are too few for one.
        gate: The verdict's rules.
        config: How the guide steers.
        plan: What is drawn.
        intensity_max: Depth of the pixels that are written, on which the clips are judged.
    """

    def __init__(
        self,
        scene: SceneModule,
        motion: MotionModule,
        guide: SegmentationModule,
        judge: SegmentationModule | None,
        gate: Gate,
        config: GuideConfig,
        plan: Plan,
        intensity_max: int,
    ) -> None:
        super().__init__()
        self.scene = scene
        self.motion = motion
        self.guide = guide
        self.judge = judge
        self.gate = gate
        self.config = config
        self.plan = plan
        self.intensity_max = intensity_max

    def predict_step(self, batch: list[PlannedClip], batch_idx: int) -> Columns:
        """Clips with the gate's verdict, as columns of the synthetic artifact."""
        return joined([anchored_columns(clip, self.make(clip), self.plan, self.intensity_max) for clip in batch])

    def make(self, clip: PlannedClip) -> DrawnClip:
        """Draw a clip, set its contrast, judge it."""
        with_wire, without_wire = self.pair(clip)
        attenuated = attenuation(with_wire, without_wire, clip.wire_mask)
        base: NDArray[np.float32] = without_wire
        if clip.frames is not None:
            base = np.asarray(clip.frames / self.intensity_max, np.float32)
            if clip.erased:
                base = np.where(band_around(clip.known_wire, REGION_RADIUS_PX), without_wire, base)
        contrast = contrast_for(base, attenuated, clip.wire_mask, clip.ignore, clip.visibility)
        if clip.hard:
            contrast = self._hardest(clip, base, attenuated, contrast)
        drawn = contrast * attenuated
        pixels = self._pixels(clip, base, drawn)
        found = float("nan") if self.judge is None else self._dice(self.judge, pixels, clip)
        cnr, share = attenuation_cnr(base, drawn, clip.wire_mask), drawn_share(attenuated, clip.wire_mask)
        return DrawnClip(pixels, contrast, cnr, found, self.gate.reason(cnr, share, found))

    @torch.no_grad()
    def pair(self, clip: PlannedClip) -> tuple[Float[np.ndarray, "T H W"], Float[np.ndarray, "T H W"]]:
        """The clip with and without its wire, drawn with the same noise; 0..1, outside the region as it was."""
        region = clip.region
        box = _box(region, self.scene.network.config.stride)
        frames = np.zeros(region.shape, np.float32)
        if clip.frames is not None:
            frames = np.asarray(clip.frames / self.intensity_max, np.float32)
        maps = (clip.wire_mask, centreline_nearness(clip.wire_mask), region | (clip.ignore == 0), frames, region)
        wire_mask, nearness, known, image, drawn = (self._tensor(cut(m, box)) for m in maps)
        condition = WireCondition.build(wire_mask, nearness, known, self.scene.standardise(image), drawn)
        condition = condition.cat(condition.without_wire())
        ids = torch.tensor([clip.sample_id, clip.sample_id])
        scale = torch.tensor([clip.segmentation_scale, 0.0], device=self.device)
        masks = wire_mask.repeat(2, 1, 1, 1, 1)
        whole = torch.from_numpy(frames) if clip.frames is not None else None
        mean, std = (None, None) if whole is None else (whole.mean()[None], whole.std()[None])
        segmenter = GuideSegmenter(self.guide, self.scene, mean, std)

        def guide(mask: Tensor) -> SegmentationGuidance:
            return SegmentationGuidance(segmenter, mask, scale, self.config.band_radius, self.config.interval)

        scene = self.scene.generate(condition.frames(slice(0, 1)), ids, guide=guide(masks[:, :, 0]))
        clips = self.motion.generate(scene, condition, ids, guide=lambda block: guide(masks[:, :, block]))
        drawn_pair = clips[:, 0].float().cpu().numpy()
        return paste(frames, drawn_pair[0], box), paste(frames, drawn_pair[1], box)

    def _tensor(self, frames: NDArray[np.generic]) -> Tensor:
        """``T H W`` as ``1 1 T H W`` on this device."""
        return torch.from_numpy(np.ascontiguousarray(frames, np.float32))[None, None].to(self.device)

    def _pixels(
        self, clip: PlannedClip, base: Float[np.ndarray, "T H W"], drawn: Float[np.ndarray, "T H W"]
    ) -> NDArray[np.generic]:
        """Integers of the source's depth; outside the region those of the real frames."""
        pixels = quantise(torch.from_numpy(np.clip(base * np.exp(-drawn), 0.0, 1.0)), self.intensity_max)
        return pixels if clip.frames is None else np.where(clip.region, pixels, clip.frames)

    def _hardest(
        self,
        clip: PlannedClip,
        base: Float[np.ndarray, "T H W"],
        attenuated: Float[np.ndarray, "T H W"],
        contrast: float,
    ) -> float:
        """Of the contrasts that pass the gate's first rule, the one at which the guide finds least."""
        least = self.gate.config.attenuation_cnr
        tried = [contrast * share for share in CANDIDATES]
        fair = [g for g in tried if attenuation_cnr(base, g * attenuated, clip.wire_mask) >= least] or tried[:1]
        found = [self._dice(self.guide, self._pixels(clip, base, g * attenuated), clip) for g in fair]
        return fair[int(np.argmin(found))]

    @torch.no_grad()
    def _dice(self, segmenter: SegmentationModule, pixels: NDArray[np.generic], clip: PlannedClip) -> float:
        """Mean Dice of a segmenter over the clip's frames."""
        image = torch.from_numpy(pixels.astype(np.float32) / self.intensity_max)[:, None]
        found = (segmenter(image.to(self.device)) > 0)[:, 0].cpu().numpy()
        pairs = zip(found & (clip.ignore == 0), clip.label > 0, strict=True)
        return float(np.mean([dice(guess, wire) for guess, wire in pairs]))


Box = tuple[int, int, int, int]
"""Top, left, height, width; it may reach beyond the frame's lower and right edge."""


def _box(region: NDArray[np.bool_], stride: int) -> Box:
    """The region's surroundings, of a size that fits the network."""
    sides = []
    for axis, size in ((2, region.shape[1]), (1, region.shape[2])):
        inside = np.flatnonzero(region.any(axis=(0, axis)))
        first = max(0, int(inside[0]) - CONTEXT_PX)
        length = min(size, int(inside[-1]) + 1 + CONTEXT_PX) - first
        length = -(-length // stride) * stride
        sides.append((max(0, min(first, size - length)), length))
    (top, height), (left, width) = sides
    return top, left, height, width


def cut(frames: NDArray[np.generic], box: Box) -> NDArray[np.generic]:
    """The box of ``T H W``; where it reaches beyond the frame, the edge is repeated."""
    top, left, height, width = box
    part = frames[:, top : top + height, left : left + width]
    return np.pad(part, ((0, 0), (0, height - part.shape[1]), (0, width - part.shape[2])), mode="edge")


def paste(frames: Float[np.ndarray, "T H W"], part: Float[np.ndarray, "T h w"], box: Box) -> NDArray[np.float32]:
    """The frames with the box's content replaced."""
    top, left = box[:2]
    out = frames.copy()
    target = out[:, top : top + box[2], left : left + box[3]]
    target[...] = part[:, : target.shape[1], : target.shape[2]]
    return out


class PlanDataModule(pl.LightningDataModule):
    """The clips of a plan, as far as this process is to make them.

    Args:
        plan: The plan.
        batch_size: Clips that are kept together.
    """

    def __init__(self, plan: Plan, batch_size: int) -> None:
        super().__init__()
        self.plan = plan
        self.batch_size = batch_size
        self.sample_ids = plan.sample_ids
        self.work: SharedWork | None = None

    def pieces(self, sample_ids: Sequence[int]) -> list[list[int]]:
        """Clips that are kept together."""
        return divided(sample_ids, self.batch_size)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Lists of planned clips."""
        pieces = self.work or self.pieces(self.sample_ids)
        return piece_loader(pieces, self.batch_size, lambda ids: [self.plan.clip(i) for i in ids])

    def transfer_batch_to_device(
        self, batch: list[PlannedClip], device: torch.device, dataloader_idx: int
    ) -> list[PlannedClip]:
        """A plan stays where it is; what the networks need of it is moved as it is cut."""
        return batch
