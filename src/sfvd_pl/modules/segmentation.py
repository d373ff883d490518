"""The segmentation module: finds the wire in single frames, or in frames between their neighbours."""

from math import gcd
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.classification import BinaryF1Score

from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.errors import ConfigError
from sfvd_pl.modules.base import OptimiserConfig, optimiser_with_schedule
from sfvd_pl.modules.exact import counts, log_and_reset
from sfvd_pl.modules.media import log_frames
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.modules.wire_loss import (
    SegmentationLossConfig,
    cldice_losses,
    dice_losses,
    in_groups,
    overlap_sums,
    skeleton_sums,
)
from sfvd_pl.networks import SegmenterConfig, WireSegmenter, normalise_frames

IGNORED = -1
"""Target of a pixel that no measure counts."""


class SegmentationModule(RecordedModule):
    """Trains a :class:`WireSegmenter` on windows and applies it to whole frames.

    Args:
        network: Size of the network.
        loss: Weights of the loss's parts.
        optimiser: How it is minimised.
        frames: Neighbouring frames that it sees, odd; it segments the centre one.
        flips: Probabilities are the mean over a frame and its mirror images: four times the work.
        seed: Decides the initial weights: arms of a comparison share it.
    """

    def __init__(
        self,
        network: SegmenterConfig = SegmenterConfig(),  # noqa: B008  # frozen dataclasses
        loss: SegmentationLossConfig = SegmentationLossConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(lr=2e-3, warmup_steps=200),  # noqa: B008
        frames: int = 1,
        flips: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(network=network, loss=loss, optimiser=optimiser, frames=frames, flips=flips, seed=seed)
        self.loss_weights = loss
        self.optimiser = optimiser
        self.frames = frames
        self.flips = flips
        self.network = WireSegmenter(network, frames, init_seed=seed)
        self.val_dice = BinaryF1Score(ignore_index=IGNORED)  # Dice over all pixels of the split is their F1 score
        self.test_dice = BinaryF1Score(ignore_index=IGNORED)

    def forward(self, image: Float[Tensor, "B F H W"]) -> Float[Tensor, "B 1 H W"]:
        """Wire logits of whole frames in 0..1, of any size and within their valid extent."""
        return self.frame_logits(normalise_frames(image))

    def frame_logits(self, normalised: Float[Tensor, "B F H W"]) -> Float[Tensor, "B 1 H W"]:
        """Wire logits of normalised frames of any size."""
        logits: Tensor = self.network(normalised)
        return logits

    def probability(self, normalised: Float[Tensor, "B F H W"]) -> Float[Tensor, "B 1 H W"]:
        """Wire probability of normalised frames, the mean over mirror images if ``flips``."""
        views: list[tuple[int, ...]] = [(), (-1,), (-2,), (-2, -1)] if self.flips else [()]
        found = [self.frame_logits(normalised.flip(view)).float().sigmoid().flip(view) for view in views]
        return torch.stack(found).mean(0)

    def setup(self, stage: str) -> None:
        """As in every module; and see to it that no group of windows is divided between batches of one step.

        Raises:
            ConfigError: One would be.
        """
        super().setup(stage)
        if stage == "fit" and self.trainer.accumulate_grad_batches > 1:
            size, step = self.trainer.datamodule.batch_size, self.batch_unit  # type: ignore[attr-defined]
            if size % step:
                raise ConfigError(
                    "windows that have one Dice would lie in several batches of a step",
                    key="data.batch_size",
                    expected=f"a multiple of {step} (model.loss.dice_windows {self.loss_weights.dice_windows}, "
                    f"{self.trainer.world_size} processes)",
                    found=size,
                    remedy="choose such a size, or leave trainer.accumulate_grad_batches at 1",
                )

    @property
    def batch_unit(self) -> int:
        """A step may be divided into batches that are multiples of this: its loss is then that of the whole step."""
        return self.loss_weights.dice_windows // gcd(self.loss_weights.dice_windows, self._ranks[1])

    @property
    def _ranks(self) -> tuple[int, int]:
        """Which of the training's processes this is, and how many there are."""
        return (0, 1) if self._trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def loss(
        self,
        logits: Float[Tensor, "B 1 H W"],
        wire_mask: Float[Tensor, "B 1 H W"],
        ignore: Float[Tensor, "B 1 H W"],
    ) -> Tensor:
        """Cross-entropy, Dice and clDice of the pixels that aren't ignored, weighted; the latter two of all processes'
        windows."""
        weights = self.loss_weights
        logits = logits.float()
        probability, known = logits.sigmoid(), 1.0 - ignore
        # The mean over all pixels: one over the known ones would depend on how a step is divided into batches.
        loss = weights.bce * (known * binary_cross_entropy_with_logits(logits, wire_mask, reduction="none")).mean()
        sums = overlap_sums(probability, wire_mask, known)
        if weights.cldice > 0:
            sums = torch.cat([sums, skeleton_sums(probability, wire_mask, known, weights.skeleton_iterations)], 1)
        sums, share = in_groups(sums, weights.dice_windows, *self._ranks)
        loss = loss + weights.dice * (share * dice_losses(sums[:, :3])).sum()
        if weights.cldice > 0:
            loss = loss + weights.cldice * (share * cldice_losses(sums[:, 3:])).sum()
        return loss

    def training_step(self, batch: FrameBatch, batch_idx: int) -> Tensor:
        """One step on windows."""
        loss = self.loss(self.frame_logits(batch.image), batch.wire_mask, batch.ignore)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.row))
        return loss

    def validation_step(self, batch: FrameBatch, batch_idx: int) -> None:
        """Dice on whole frames; the first batch as a picture with the prediction drawn in."""
        probability = self._measure(self.val_dice, batch, batch_idx)
        if batch_idx == 0:
            centre = batch.image[:, self.frames // 2, None]
            shown = (0.5 + centre / 6.0).clamp(0.0, 1.0)  # three standard deviations to either side
            log_frames(self.trainer, "predictions", shown, (probability > 0.5).float())

    def test_step(self, batch: FrameBatch, batch_idx: int) -> None:
        """Dice over all pixels of the test patients."""
        self._measure(self.test_dice, batch, batch_idx)

    def _measure(self, dice: BinaryF1Score, batch: FrameBatch, batch_idx: int) -> Tensor:
        probability = self.probability(batch.image)
        if counts(self.trainer, batch_idx):
            dice.update(probability, torch.where(batch.ignore > 0, IGNORED, batch.wire_mask.long()))
        return probability

    def on_validation_epoch_end(self) -> None:
        """Dice over the frames of all ranks."""
        log_and_reset(self, val__dice=self.val_dice)

    def on_test_epoch_end(self) -> None:
        """Dice over the frames of all ranks."""
        log_and_reset(self, test__dice=self.test_dice)

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine."""
        return optimiser_with_schedule(self, self.optimiser)


class GuideSegmenter:
    """A frozen segmenter that sees what a diffusion module draws, crops of frames mostly.

    Args:
        module: The segmenter, of single frames.
        like: The module whose x0 it is given.
        mean: ``B``, of the real frame in 0..1 that each crop belongs to; of the crop itself where None.
        std: Its standard deviation, likewise.

    Raises:
        ConfigError: The segmenter wants neighbouring frames, which the sampler hasn't drawn yet.
    """

    def __init__(
        self,
        module: SegmentationModule,
        like: RecordedModule,
        mean: Float[Tensor, " B"] | None = None,
        std: Float[Tensor, " B"] | None = None,
    ) -> None:
        if module.frames != 1:
            raise ConfigError(
                "the guide must look at single frames", key="data.frames", expected=1, found=module.frames
            )
        self.module = module
        self.like = like
        self.mean = mean
        self.std = std

    def __call__(self, x0: Float[Tensor, "N 1 H W"]) -> Float[Tensor, "N 1 H W"]:
        """Logits for x0 in the diffusion module's units; differentiable.

        Args:
            x0: ``N`` is a multiple of ``B``: the frames of each sample follow one another.
        """
        image = x0 * (2.0 * self.like.intensity[1]) + self.like.intensity[0]
        if self.mean is None or self.std is None:
            return self.module(image)  # type: ignore[no-any-return]
        mean, std = (
            v.to(x0).repeat_interleave(len(x0) // len(v))[:, None, None, None] for v in (self.mean, self.std)
        )
        return self.module.frame_logits((image - mean) / (std + 1e-6))
