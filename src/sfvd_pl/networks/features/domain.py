"""The network of this very domain: small, learned without labels from the training patients' clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from sfvd_pl.errors import ConfigError

GROUP = 8
"""Channels that are normalised together: the share of fine and coarse structure among them stays."""


@dataclass(frozen=True)
class FeatureNetworkConfig:
    """Size of the network.

    Attributes:
        channels: Of four levels, each at half the resolution of the one before; the last is the number of features.
        projection: Width of the heads that only the training uses.
    """

    channels: Sequence[int] = (16, 32, 48, 64)
    projection: int = 128

    def __post_init__(self) -> None:
        """Four levels, whose channels fall into groups."""
        if len(self.channels) != 4 or any(c % GROUP or c < GROUP for c in self.channels):
            raise ConfigError(
                "a feature network needs the channels of four levels",
                key="channels",
                expected=f"4 multiples of {GROUP}",
                found=list(self.channels),
            )

    @property
    def num_features(self) -> int:
        """Length of a frame's or a clip's vector."""
        return self.channels[-1]


def _block(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(channels // GROUP, channels),
        nn.SiLU(),
    )


class FeatureNetwork(nn.Module):
    """One trunk over frames; what it finds is pooled for a frame, or mixed over time and pooled for a clip.

    Works at native scale, so frames may have any size from 16 pixels on.

    Args:
        config: Size of the network.
        init_seed: Seed of the initial weights.
    """

    def __init__(self, config: FeatureNetworkConfig, init_seed: int = 0) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.channels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            self.trunk = nn.Sequential(_block(1, a, 2), _block(a, b, 2), _block(b, b, 1), _block(b, c, 2))
            self.frame_level = nn.Sequential(_block(c, c, 1), _block(c, d, 2))
            self.clip_level = nn.Sequential(
                nn.Conv3d(c, d, (3, 3, 3), stride=(1, 2, 2), padding=1, bias=False),
                nn.GroupNorm(d // GROUP, d),
                nn.SiLU(),
                nn.Conv3d(d, d, (3, 1, 1), padding=(1, 0, 0)),
                nn.SiLU(),
            )

    def frames(self, x0: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B D"]:
        """Vectors of standardised frames."""
        vectors: Tensor = self.frame_level(self.trunk(x0)).mean((-2, -1))
        return vectors

    def clips(self, x0: Float[Tensor, "B 1 T H W"]) -> Float[Tensor, "B D"]:
        """Vectors of standardised clips."""
        found = self.trunk(rearrange(x0, "b c t h w -> (b t) c h w"))
        over_time = rearrange(found, "(b t) c h w -> b c t h w", t=x0.shape[2])
        vectors: Tensor = self.clip_level(over_time).mean((-3, -2, -1))
        return vectors
