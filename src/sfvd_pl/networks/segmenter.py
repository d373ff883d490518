"""The wire segmenter: a small U-Net on single frames, or on a frame between its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn
from torch.nn.functional import pad

from sfvd_pl.errors import ConfigError


def normalise_frames(image: Float[Tensor, "... H W"]) -> Float[Tensor, "... H W"]:
    """Each frame with mean 0 and standard deviation 1, whatever its units: dose and contrast differ between patients.

    Args:
        image: Whole frames within their valid extent; windows are cut afterwards.
    """
    mean, std = image.mean((-2, -1), keepdim=True), image.std((-2, -1), keepdim=True, correction=0)
    return (image - mean) / (std + 1e-6)


@dataclass(frozen=True)
class SegmenterConfig:
    """Size of a wire segmenter.

    Attributes:
        features: Channels of MONAI's BasicUNet: five levels, and the last upsampling.
        unshuffle: Pixels a side that become channels at the input and pixels again at the output.
        dropout: Probability of dropout in every block.
    """

    features: Sequence[int] = (16, 16, 32, 64, 128, 16)
    unshuffle: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """BasicUNet has five levels and one last layer."""
        if len(self.features) != 6:
            raise ConfigError(
                "a segmenter needs the channels of five levels and of the last upsampling",
                key="features",
                expected="6 numbers",
                found=list(self.features),
            )

    @property
    def stride(self) -> int:
        """The coarsest level has one pixel for so many of a side."""
        return self.unshuffle * 16


class WireSegmenter(nn.Module):
    """One logit a pixel of the centre one of neighbouring frames.

    Args:
        config: Size of the network.
        frames: How many it sees.
        init_seed: Seed of the initial weights: two segmenters with the same seed start equal, whatever ran
            before.
    """

    def __init__(self, config: SegmenterConfig, frames: int = 1, init_seed: int = 0) -> None:
        super().__init__()
        self.config = config
        square = config.unshuffle**2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            self.net = nn.Sequential(
                nn.PixelUnshuffle(config.unshuffle),
                BasicUNet(
                    spatial_dims=2,
                    in_channels=square * frames,
                    out_channels=square,
                    features=tuple(config.features),
                    dropout=config.dropout,
                ),
                nn.PixelShuffle(config.unshuffle),
            )

    def forward(self, image: Float[Tensor, "B F H W"]) -> Float[Tensor, "B 1 H W"]:
        """Logits of the wire for normalised frames of any size."""
        height, width = image.shape[-2:]
        # Two strides at least: normalisation over the one pixel that the coarsest level would have leaves nothing.
        missing = [max(-(-side // self.config.stride), 2) * self.config.stride - side for side in (width, height)]
        if any(missing):
            mode = "reflect" if max(missing) < min(height, width) else "replicate"  # a mirror shows a side once
            image = pad(image, (0, missing[0], 0, missing[1]), mode=mode)
        logits: Tensor = self.net(image)
        return logits[..., :height, :width]
