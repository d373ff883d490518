"""The scene network: a 2D U-Net that denoises one frame, told where the wire is."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from sfvd_pl.errors import ConfigError
from sfvd_pl.networks.condition import CONDITION_CHANNELS, WireCondition


@dataclass(frozen=True)
class UNetConfig:
    """Size of a denoising network.

    Attributes:
        block_out_channels: Channels of each resolution level, finest first.
        layers_per_block: Residual blocks a level.
        unshuffle: Each square of this many pixels a side becomes channels at the input and pixels again at the
            output (a rearrangement, nothing is lost), which divides the cost of the finest level by its square.
        norm_num_groups: Groups of every group normalisation.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, a third more time.
    """

    block_out_channels: Sequence[int] = (32, 64, 96)
    layers_per_block: int = 1
    unshuffle: int = 2
    norm_num_groups: int = 8
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Check what the blocks would refuse later with a message about shapes."""
        bad = [c for c in self.block_out_channels if c % self.norm_num_groups]
        if bad:
            raise ConfigError(
                "channels of a level can't be divided into the groups of its normalisation",
                key="block_out_channels",
                expected=f"multiples of norm_num_groups = {self.norm_num_groups}",
                found=bad,
                remedy="change block_out_channels or norm_num_groups",
            )

    @property
    def stride(self) -> int:
        """Height and width of a frame must be multiples of this."""
        return int(self.unshuffle * 2 ** (len(self.block_out_channels) - 1))


def build_unet(config: UNetConfig, in_channels: int, out_channels: int) -> UNet2DModel:
    """A diffusers U-Net, convolutional throughout: it is trained on windows and draws frames of any size.

    Its class embedding takes whatever is to be added to the embedding of the time.
    """
    levels = len(config.block_out_channels)
    unet: UNet2DModel = UNet2DModel(
        in_channels=in_channels * config.unshuffle**2,
        out_channels=out_channels * config.unshuffle**2,
        block_out_channels=tuple(config.block_out_channels),
        layers_per_block=config.layers_per_block,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=config.norm_num_groups,
        add_attention=False,
        class_embed_type="identity",
    )
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet


def check_frame_size(config: UNetConfig, height: int, width: int) -> None:
    """Raise a ConfigError where a frame doesn't fit the network's levels."""
    if height % config.stride or width % config.stride:
        raise ConfigError(
            "frame size does not fit the network's levels",
            key="window",
            expected=f"height and width multiples of {config.stride}",
            found=f"{height}x{width}",
            remedy="change the window, or use fewer levels or a smaller unshuffle",
        )


class SceneUNet(nn.Module):
    """Denoises the region of one frame, given the rest of it and the wire's mask.

    Input is the noised frame with the condition's channels behind it; the output is one channel in the
    diffusion's ``prediction_type``.

    Args:
        config: Size of the network.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = build_unet(config, 1 + CONDITION_CHANNELS, 1)
        self.embedding_dim = 4 * config.block_out_channels[0]

    def forward(
        self, x_t: Float[Tensor, "B 1 H W"], timesteps: Int64[Tensor, " B"], condition: WireCondition
    ) -> Float[Tensor, "B 1 H W"]:
        """Denoise frames ``x_t``; ``condition`` has T = 1."""
        check_frame_size(self.config, x_t.shape[-2], x_t.shape[-1])
        stacked = torch.cat([x_t, rearrange(condition.channels, "b c 1 h w -> b c h w")], dim=1)
        embedding = x_t.new_zeros(len(x_t), self.embedding_dim)
        output = self.unet(pixel_unshuffle(stacked, self.config.unshuffle), timesteps, embedding).sample
        return pixel_shuffle(output, self.config.unshuffle)
