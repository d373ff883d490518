"""The wire segmenter: a small U-Net on single frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn

from sfvd_pl.errors import ConfigError


@dataclass(frozen=True)
class SegmenterConfig:
    """Size of a wire segmenter.

    Attributes:
        features: Channels of MONAI's BasicUNet: five levels, and the last upsampling.
        unshuffle: Pixels a side that become channels at the input and pixels again at the output.
        dropout: Probability of dropout in every block.
    """

    features: Sequence[int] = (16, 24, 32, 48, 64, 16)
    unshuffle: int = 2
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
        """Height and width of a frame must be multiples of this, and at least twice it.

        Normalisation over one pixel leaves nothing, so the coarsest level needs more.
        """
        return self.unshuffle * 16


class WireSegmenter(nn.Module):
    """One logit a pixel for one-channel frames.

    Args:
        config: Size of the network.
        init_seed: Seed of the initial weights: two segmenters with the same seed start equal, whatever ran
            before.
    """

    def __init__(self, config: SegmenterConfig, init_seed: int = 0) -> None:
        super().__init__()
        self.config = config
        square = config.unshuffle**2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            self.net = nn.Sequential(
                nn.PixelUnshuffle(config.unshuffle),
                BasicUNet(
                    spatial_dims=2,
                    in_channels=square,
                    out_channels=square,
                    features=tuple(config.features),
                    dropout=config.dropout,
                ),
                nn.PixelShuffle(config.unshuffle),
            )

    def forward(self, image: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Logits of the wire for standardised frames.

        Raises:
            ConfigError: The frames don't fit the network's levels.
        """
        stride, size = self.config.stride, image.shape[-2:]
        if any(side % stride or side < 2 * stride for side in size):
            raise ConfigError(
                "frame size does not fit the segmenter's levels",
                key="window",
                expected=f"height and width multiples of {stride}, at least {2 * stride}",
                found=f"{size[0]}x{size[1]}",
                remedy="change the window, or use a smaller unshuffle",
            )
        logits: Tensor = self.net(image)
        return logits
