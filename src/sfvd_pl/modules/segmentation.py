"""The segmentation module: finds the wire in single frames."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from monai.inferers.utils import sliding_window_inference
from monai.losses.cldice import soft_skel
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.classification import BinaryF1Score

from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.modules.base import OptimiserConfig, optimiser_with_schedule
from sfvd_pl.modules.exact import counts, log_and_reset
from sfvd_pl.modules.media import log_frames
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.networks import SegmenterConfig, WireSegmenter


@dataclass(frozen=True)
class SegmentationLossConfig:
    """Weights of the loss's parts.

    Attributes:
        bce: Binary cross-entropy.
        dice: Soft Dice over the batch.
        cldice: Soft clDice (Shit et al. 2021, arXiv 2003.07311), which cares for the wire's continuity.
        skeleton_iterations: Erosions of the soft skeleton; half the widest wire's width, rounded up.
    """

    bce: float = 1.0
    dice: float = 1.0
    cldice: float = 0.3
    skeleton_iterations: int = 3


def soft_dice_loss(probability: Tensor, wire_mask: Tensor) -> Tensor:
    """1 - soft Dice over the whole batch, so that a window without a wire doesn't count as a full miss."""
    overlap = (probability * wire_mask).sum()
    return 1.0 - (2.0 * overlap + 1.0) / (probability.sum() + wire_mask.sum() + 1.0)


def soft_cldice_loss(probability: Tensor, wire_mask: Tensor, iterations: int) -> Tensor:
    """1 - soft clDice (arXiv 2003.07311, algorithm 2), over the whole batch."""
    skeleton, target = soft_skel(probability, iterations), soft_skel(wire_mask, iterations)
    precision = ((skeleton * wire_mask).sum() + 1.0) / (skeleton.sum() + 1.0)
    recall = ((target * probability).sum() + 1.0) / (target.sum() + 1.0)
    return 1.0 - 2.0 * precision * recall / (precision + recall)


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
        loss: SegmentationLossConfig = SegmentationLossConfig(),
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

    def loss(self, logits: Tensor, wire_mask: Tensor) -> Tensor:
        """Cross-entropy, Dice and clDice, weighted."""
        weights = self.loss_weights
        logits = logits.float()
        probability = logits.sigmoid()
        loss = weights.bce * binary_cross_entropy_with_logits(logits, wire_mask)
        loss = loss + weights.dice * soft_dice_loss(probability, wire_mask)
        if weights.cldice > 0:
            loss = loss + weights.cldice * soft_cldice_loss(
                probability, wire_mask, weights.skeleton_iterations
            )
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
