"""The segmentation module: finds the wire in single frames."""

from math import gcd
from typing import Any

import torch
from jaxtyping import Float
from monai.inferers.utils import sliding_window_inference
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
from sfvd_pl.networks import SegmenterConfig, WireSegmenter


class SegmentationModule(RecordedModule):
    """Trains a :class:`WireSegmenter` on windows and applies it to whole frames.

    Args:
        network: Size of the network.
        loss: Weights of the loss's parts.
        optimiser: How it is minimised.
        window: Side of the training windows; larger frames are segmented in overlapping windows of this size.
        overlap: Share by which those windows overlap.
        seed: Decides the initial weights: arms of a comparison share it.
    """

    def __init__(
        self,
        network: SegmenterConfig = SegmenterConfig(),  # noqa: B008  # frozen dataclasses
        loss: SegmentationLossConfig = SegmentationLossConfig(),  # noqa: B008
        optimiser: OptimiserConfig = OptimiserConfig(lr=3e-3, warmup_steps=20),  # noqa: B008
        window: int = 64,
        overlap: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__(
            network=network, loss=loss, optimiser=optimiser, window=window, overlap=overlap, seed=seed
        )
        self.loss_weights = loss
        self.optimiser = optimiser
        self.window = window
        self.overlap = overlap
        self.network = WireSegmenter(network, init_seed=seed)
        self.val_dice = BinaryF1Score()  # Dice over all pixels of the split is their F1 score
        self.test_dice = BinaryF1Score()

    def forward(self, image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Wire logits of whole frames in 0..1, of any size."""
        return self.frame_logits(self.standardise(image))

    def frame_logits(self, x0: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Wire logits of standardised frames; in overlapping windows where they are larger than the window."""
        if x0.shape[-2:] == (self.window, self.window):
            whole: Tensor = self.network(x0)
            return whole
        stitched = sliding_window_inference(
            x0,
            roi_size=(self.window, self.window),
            sw_batch_size=16,
            predictor=self.network,
            overlap=self.overlap,
            mode="gaussian",
            padding_mode="replicate",
        )
        assert isinstance(stitched, Tensor)  # it returns other containers only for other containers
        return stitched

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

    def loss(self, logits: Float[Tensor, "B 1 H W"], wire_mask: Float[Tensor, "B 1 H W"]) -> Tensor:
        """Cross-entropy, Dice and clDice, weighted; the latter two of all processes' windows."""
        weights = self.loss_weights
        logits = logits.float()
        probability = logits.sigmoid()
        loss = weights.bce * binary_cross_entropy_with_logits(logits, wire_mask)
        sums = overlap_sums(probability, wire_mask)
        if weights.cldice > 0:
            sums = torch.cat([sums, skeleton_sums(probability, wire_mask, weights.skeleton_iterations)], 1)
        sums, share = in_groups(sums, weights.dice_windows, *self._ranks)
        loss = loss + weights.dice * (share * dice_losses(sums[:, :3])).sum()
        if weights.cldice > 0:
            loss = loss + weights.cldice * (share * cldice_losses(sums[:, 3:])).sum()
        return loss

    def training_step(self, batch: FrameBatch, batch_idx: int) -> Tensor:
        """One step on windows."""
        loss = self.loss(self.network(self.standardise(batch.image)), batch.wire_mask)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.row))
        return loss

    def validation_step(self, batch: FrameBatch, batch_idx: int) -> None:
        """Dice on whole frames; the first batch as a picture with the prediction drawn in."""
        logits = self(batch.image)
        if counts(self.trainer, batch_idx):
            self.val_dice.update(logits.sigmoid(), batch.wire_mask.long())
        if batch_idx == 0:
            log_frames(self.trainer, "predictions", batch.image, (logits > 0).float())

    def test_step(self, batch: FrameBatch, batch_idx: int) -> None:
        """Dice over all pixels of the test patients."""
        if counts(self.trainer, batch_idx):
            self.test_dice.update(self(batch.image).sigmoid(), batch.wire_mask.long())

    def on_validation_epoch_end(self) -> None:
        """Dice over the frames of all ranks."""
        log_and_reset(self, val__dice=self.val_dice)

    def on_test_epoch_end(self) -> None:
        """Dice over the frames of all ranks."""
        log_and_reset(self, test__dice=self.test_dice)

    def predict_step(self, batch: FrameBatch, batch_idx: int) -> Tensor:
        """Wire probability of whole frames, ``B 1 H W``."""
        probability: Tensor = self(batch.image).sigmoid()
        return probability

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine."""
        return optimiser_with_schedule(self, self.optimiser)


class GuideSegmenter:
    """A frozen segmenter that sees the pictures of a diffusion module, which may be standardised otherwise.

    Args:
        module: The segmenter.
        like: The module whose x0 it is given.
    """

    def __init__(self, module: SegmentationModule, like: RecordedModule) -> None:
        self.module = module
        self.like = like

    def __call__(self, x0: Tensor) -> Tensor:
        """Logits for x0 in the diffusion module's units; differentiable."""
        image = x0 * (2.0 * self.like.intensity[1]) + self.like.intensity[0]
        return self.module.frame_logits(self.module.standardise(image))
