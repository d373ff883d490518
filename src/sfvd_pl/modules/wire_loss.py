"""The segmenters' loss, whose parts are those of the whole step however it is divided."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float
from monai.losses.cldice import soft_skel
from torch import Tensor

from sfvd_pl.errors import ConfigError


@dataclass(frozen=True)
class SegmentationLossConfig:
    """Weights of the loss's parts.

    Attributes:
        bce: Binary cross-entropy.
        dice: Soft Dice.
        cldice: Soft clDice (Shit et al. 2021, arXiv 2003.07311), which cares for the wire's continuity.
        skeleton_iterations: Erosions of the soft skeleton; half the widest wire's width, rounded up.
        dice_windows: Dice and clDice are computed over groups of this many consecutive windows. With one, a window that
            hardly has a wire counts as a full miss; with all of a batch, the loss would depend on how a step is
            divided into batches.
    """

    bce: float = 1.0
    dice: float = 1.0
    cldice: float = 0.3
    skeleton_iterations: int = 3
    dice_windows: int = 4

    def __post_init__(self) -> None:
        if self.dice_windows < 1:
            raise ConfigError(
                "a group has windows", key="model.loss.dice_windows", expected="1 or more", found=self.dice_windows
            )


def overlap_sums(
    probability: Float[Tensor, "B 1 H W"], wire_mask: Float[Tensor, "B 1 H W"], known: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, "B 3"]:
    """What Dice is made of, of each window: overlap, predicted, labelled; pixels that are ``known``."""
    parts = (probability * wire_mask, probability, wire_mask)
    return torch.stack([(part * known).sum((1, 2, 3)) for part in parts], 1)


def skeleton_sums(
    probability: Float[Tensor, "B 1 H W"],
    wire_mask: Float[Tensor, "B 1 H W"],
    known: Float[Tensor, "B 1 H W"],
    iterations: int,
) -> Float[Tensor, "B 4"]:
    """What clDice is made of: predicted skeleton within the mask, its length, and the same the other way round."""
    skeleton, target = soft_skel(probability, iterations), soft_skel(wire_mask, iterations)
    parts = (skeleton * wire_mask, skeleton, target * probability, target)
    return torch.stack([(part * known).sum((1, 2, 3)) for part in parts], 1)


def dice_losses(sums: Float[Tensor, "G 3"]) -> Float[Tensor, " G"]:
    """1 - soft Dice of each row; 1 is added above and below, so that a row without a wire can be right."""
    overlap, predicted, labelled = sums.unbind(1)
    return 1.0 - (2.0 * overlap + 1.0) / (predicted + labelled + 1.0)


def cldice_losses(sums: Float[Tensor, "G 4"]) -> Float[Tensor, " G"]:
    """1 - soft clDice of each row (arXiv 2003.07311, algorithm 2)."""
    within, length, covered, target = sums.unbind(1)
    precision, recall = (within + 1.0) / (length + 1.0), (covered + 1.0) / (target + 1.0)
    return 1.0 - 2.0 * precision * recall / (precision + recall)


def in_groups(
    sums: Float[Tensor, "B K"], size: int, rank: int = 0, ranks: int = 1
) -> tuple[Float[Tensor, "G K"], Float[Tensor, " G"]]:
    """Sums over groups of consecutive samples, over the ranks that have each ``ranks``-th of them.

    The gradient with respect to this rank's ``sums`` is ``ranks`` times its share, for DDP takes the mean of the ranks'
    gradients: that mean is then the gradient of the loss of all samples.

    Args:
        sums: Of this rank's samples, in their order.
        size: Samples of a group; the last may have fewer.
        rank: Which of the ranks this is; its sample ``j`` is sample ``j * ranks + rank`` of all.
        ranks: How many there are, each with as many samples.

    Returns:
        The groups' sums, and their share of the samples.
    """
    count = len(sums) * ranks
    groups = -(-count // size)
    group = torch.arange(count, device=sums.device) // size
    member = torch.nn.functional.one_hot(group, groups).to(sums.dtype)  # samples x groups
    own = (member[rank::ranks, :, None] * sums[:, None]).sum(0)  # no matmul: it may round to 10 bits on a GPU
    if ranks > 1:
        total = own.detach().clone()
        dist.all_reduce(total)
        own = total + ranks * (own - own.detach())
    return own, member.mean(0)
