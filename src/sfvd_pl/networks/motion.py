"""The motion network: the scene network inflated over time.

It denoises a block of consecutive frames given the clip's first frame and the last few before the block. Everything
that is new against the scene network starts at zero: the temporal layers' last convolutions, the input weights of
the context channels, and the embeddings of the context's noise level and of the frame's place in its block. So an
untrained motion network computes exactly what the scene network computes frame by frame.
"""

import copy
import math

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from einops import rearrange, repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, scaled_dot_product_attention, silu

from sfvd_pl.networks.condition import ScalarEmbedding, WireCondition
from sfvd_pl.networks.scene import SceneUNet, UNetConfig, check_frame_size

CONTEXT_CHANNELS = 2
"""Of each context frame: picture, wire mask."""


class TemporalMixer(nn.Module):
    """Lets the frames of a block see one another: convolutions over time, optionally attention, added to the input.

    Args:
        channels: Channels of the features.
        groups: Groups of the normalisations.
        attention: Also attend over the whole block at each pixel.
    """

    def __init__(self, channels: int, groups: int, *, attention: bool) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(groups, channels)
        self.conv_1 = nn.Conv2d(channels, channels // 2, (3, 1), padding=(1, 0))
        self.conv_2 = nn.Conv2d(channels // 2, channels, (3, 1), padding=(1, 0))
        nn.init.zeros_(self.conv_2.weight)
        nn.init.zeros_(self.conv_2.bias)  # type: ignore[arg-type]
        self.attention = TemporalAttention(channels, groups) if attention else None

    def forward(self, features: Float[Tensor, "N C H W"], num_frames: int) -> Float[Tensor, "N C H W"]:
        """Mix ``features`` of N = B * ``num_frames`` frames, the frames of a sample in a row."""
        height = features.shape[-2]
        over_time = rearrange(self.norm_1(features), "(b t) c h w -> b c t (h w)", t=num_frames)
        mixed = self.conv_2(silu(self.conv_1(silu(over_time))))
        features = features + rearrange(mixed, "b c t (h w) -> (b t) c h w", h=height)
        if self.attention is None:
            return features
        attended: Tensor = self.attention(features, num_frames)
        return attended


class TemporalAttention(nn.Module):
    """Self-attention over the frames of a block, at each pixel by itself, with sinusoidal positions."""

    def __init__(self, channels: int, groups: int, head_dim: int = 24) -> None:
        super().__init__()
        # As many heads as divide the channels evenly and leave each at least head_dim of them.
        self.heads = max(heads for heads in range(1, max(1, channels // head_dim) + 1) if channels % heads == 0)
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Float[Tensor, "N C H W"], num_frames: int) -> Float[Tensor, "N C H W"]:
        """Attend over the frames; residual, shape kept."""
        height, width = features.shape[-2:]
        tokens = rearrange(self.norm(features), "(b t) c h w -> (b h w) t c", t=num_frames)
        tokens = tokens + _positions(num_frames, tokens.shape[-1], tokens)
        query, key, value = rearrange(self.qkv(tokens), "n t (k d c) -> k n d t c", k=3, d=self.heads)
        attended = rearrange(scaled_dot_product_attention(query, key, value), "n d t c -> n t (d c)")
        added: Tensor = rearrange(self.out(attended), "(b h w) t c -> (b t) c h w", h=height, w=width)
        return features + added


def _positions(length: int, channels: int, like: Tensor) -> Float[Tensor, "T C"]:
    """Sinusoidal positions (Vaswani et al. 2017, section 3.5)."""
    half = channels // 2
    rates = torch.exp(torch.arange(half, device=like.device) * (-math.log(10_000.0) / half))
    phase = torch.arange(length, device=like.device)[:, None] * rates
    return torch.cat([phase.sin(), phase.cos()], dim=1).to(like.dtype)


class MotionUNet(nn.Module):
    """Denoises a block of frames given context frames before it.

    Args:
        config: Size of the network; that of the scene network it starts from.
        history: Context frames directly before the block; the clip's first frame always comes beside them.
    """

    def __init__(self, config: UNetConfig, history: int) -> None:
        super().__init__()
        self.config = config
        self.history = history
        scene = SceneUNet(config)
        self.unet: UNet2DModel = scene.unet
        self.context_level = ScalarEmbedding(scene.embedding_dim, scale=1.0, zero_init=True)
        self.frame_place = ScalarEmbedding(scene.embedding_dim, scale=32.0, zero_init=True)
        self._widen_input()
        channels = list(config.block_out_channels)
        last = len(channels) - 1
        groups = config.norm_num_groups
        self.down_mixers = nn.ModuleList(
            TemporalMixer(c, groups, attention=level == last) for level, c in enumerate(channels)
        )
        self.mid_mixer = TemporalMixer(channels[-1], groups, attention=True)
        self.up_mixers = nn.ModuleList(TemporalMixer(c, groups, attention=False) for c in reversed(channels))

    @property
    def context_frames(self) -> int:
        """The first frame and the history."""
        return 1 + self.history

    def _widen_input(self) -> None:
        """Append zero weights for the context channels to the first convolution."""
        old = self.unet.conv_in
        extra = self.context_frames * CONTEXT_CHANNELS * self.config.unshuffle**2
        new = nn.Conv2d(old.in_channels + extra, old.out_channels, 3, padding=1)
        with torch.no_grad():
            new.weight.zero_()
            new.weight[:, : old.in_channels] = old.weight
            new.bias.copy_(old.bias)  # type: ignore[union-attr, arg-type]
        self.unet.conv_in = new

    def load_scene(self, scene: SceneUNet) -> None:
        """Take over every weight of a trained scene network; the parts that are new stay as they are."""
        state = copy.deepcopy(scene.unet.state_dict())
        weight = torch.zeros_like(self.unet.conv_in.weight)
        weight[:, : state["conv_in.weight"].shape[1]] = state["conv_in.weight"]
        state["conv_in.weight"] = weight
        self.unet.load_state_dict(state)

    def forward(
        self,
        x_t: Float[Tensor, "B 1 T H W"],
        timesteps: Int64[Tensor, " B"],
        condition: WireCondition,
        context: Float[Tensor, "B K H W"],
        context_level: Float[Tensor, " B"],
    ) -> Float[Tensor, "B 1 T H W"]:
        """Denoise a block.

        Args:
            x_t: Noised frames of the block; all share a timestep.
            timesteps: Diffusion time of each sample.
            condition: The wire in each frame of the block.
            context: ``CONTEXT_CHANNELS`` for each context frame, the clip's first frame first (see
                :func:`pack_context`).
            context_level: Noise level added to the context frames' pictures, 0..1.

        Returns:
            Prediction for each frame of the block, in the diffusion's ``prediction_type``.
        """
        num_frames = x_t.shape[2]
        check_frame_size(self.config, x_t.shape[-2], x_t.shape[-1])
        own = rearrange(torch.cat([x_t, condition.channels], dim=1), "b c t h w -> (b t) c h w")
        # pixel_unshuffle keeps an input channel's pixels together, so the context's channels stay behind the
        # scene network's own, where the weights of the first convolution expect them.
        features = torch.cat(
            [
                pixel_unshuffle(own, self.config.unshuffle),
                repeat(pixel_unshuffle(context, self.config.unshuffle), "b c h w -> (b t) c h w", t=num_frames),
            ],
            dim=1,
        )
        place = torch.arange(1, num_frames + 1, device=x_t.device, dtype=torch.float32)
        embedding = (
            repeat(self.context_level(context_level), "b d -> (b t) d", t=num_frames)
            + repeat(self.frame_place(place), "t d -> (b t) d", b=x_t.shape[0])
        )
        output = self._run(features, repeat(timesteps, "b -> (b t)", t=num_frames), embedding, num_frames)
        output = pixel_shuffle(output, self.config.unshuffle)
        return rearrange(output, "(b t) c h w -> b c t h w", t=num_frames)

    def _run(self, features: Tensor, timesteps: Tensor, embedding: Tensor, num_frames: int) -> Tensor:
        """The forward pass of diffusers' UNet2DModel with a temporal mixer behind each block."""
        unet = self.unet
        time = unet.time_embedding(unet.time_proj(timesteps).to(features.dtype))
        time = time + embedding.to(time.dtype)
        features = unet.conv_in(features)
        skips: tuple[Tensor, ...] = (features,)
        for level, block in enumerate(unet.down_blocks):
            features, residuals = block(hidden_states=features, temb=time)
            features = self.down_mixers[level](features, num_frames)
            # The mixed features replace the last skip, so that the way up sees them too.
            skips = (*skips, *residuals[:-1], features)
        if unet.mid_block is not None:
            features = unet.mid_block(features, time)
        features = self.mid_mixer(features, num_frames)
        for level, block in enumerate(unet.up_blocks):
            count = self.config.layers_per_block + 1
            features = block(features, skips[-count:], time)
            skips = skips[:-count]
            features = self.up_mixers[level](features, num_frames)
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(features)))  # type: ignore[no-any-return]


def pack_context(
    frames: Float[Tensor, "B 1 K H W"], condition: WireCondition
) -> Float[Tensor, "B KC H W"]:
    """Context frames as the motion network's input channels: picture and wire mask of each."""
    stacked = torch.cat([frames, condition.wire_mask], dim=1)
    return rearrange(stacked, "b c k h w -> b (k c) h w")
