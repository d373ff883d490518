"""What a denoiser is told: where the wire is, where that is known, and which pixels are given."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

CONDITION_CHANNELS = 5
"""Nearness of the centreline, wire mask, label-known map, background, region."""


@dataclass(frozen=True)
class WireCondition:
    """The condition of each frame, pixel by pixel.

    The network draws the *region* and is given everything else: a band around a wire (an anchored frame), or the whole
    frame with nothing given (a fresh one). Within the region the wire mask says where the wire is to be; where the
    label-known map is 1 and the mask 0, there is no wire; where the map is 0 nobody knows.

    Attributes:
        channels: ``B 5 T H W``: nearness of the centreline in 0..1, wire mask, label-known map, background (x0
            outside the region, 0 within), region.
    """

    channels: Float[Tensor, "B 5 T H W"]

    @classmethod
    def build(
        cls,
        wire_mask: Float[Tensor, "B 1 T H W"],
        nearness: Float[Tensor, "B 1 T H W"],
        known: Float[Tensor, "B 1 T H W"],
        x0: Float[Tensor, "B 1 T H W"],
        region: Float[Tensor, "B 1 T H W"],
    ) -> "WireCondition":
        """Assemble the condition of frames ``x0`` whose ``region`` is to be drawn."""
        return cls(torch.cat([nearness * known, wire_mask * known, known, x0 * (1 - region), region], dim=1))

    @classmethod
    def fresh(
        cls, wire_mask: Float[Tensor, "B 1 T H W"], nearness: Float[Tensor, "B 1 T H W"]
    ) -> "WireCondition":
        """Whole frames are to be drawn, with a wire on the mask and nowhere else."""
        everywhere = torch.ones_like(wire_mask)
        return cls.build(wire_mask, nearness, everywhere, torch.zeros_like(wire_mask), everywhere)

    @property
    def wire_mask(self) -> Float[Tensor, "B 1 T H W"]:
        """The wire that is asked for."""
        return self.channels[:, 1:2]

    @property
    def background(self) -> Float[Tensor, "B 1 T H W"]:
        """x0 outside the region, 0 within."""
        return self.channels[:, 3:4]

    @property
    def region(self) -> Float[Tensor, "B 1 T H W"]:
        """1 where the network draws."""
        return self.channels[:, 4:5]

    def without_wire(self) -> "WireCondition":
        """The same frames with no wire asked for: "no wire here" wherever the label is known."""
        channels = self.channels.clone()
        channels[:, :2] = 0
        return WireCondition(channels)

    def frames(self, frames: slice | list[int]) -> "WireCondition":
        """The condition of some of the frames."""
        return WireCondition(self.channels[:, :, frames])

    def cat(self, other: "WireCondition") -> "WireCondition":
        """Both conditions, one after the other along the batch."""
        return WireCondition(torch.cat([self.channels, other.channels]))


class ScalarEmbedding(nn.Module):
    """Embeds one number, or the fact that it is unknown, into the timestep embedding's space.

    The number passes through sines and cosines of geometrically spaced frequencies (Tancik et al. 2020,
    arXiv 2006.10739) and two linear layers. NaN selects a learned vector.

    Args:
        dim: Width of the embedding.
        scale: Divides the number first, so that its usual range is about 0..1.
        zero_init: Start with an output of exactly zero, so that adding the embedding changes nothing.
    """

    frequencies: Tensor

    def __init__(self, dim: int, *, scale: float, zero_init: bool = False) -> None:
        super().__init__()
        self.scale = scale
        frequencies = torch.tensor([2.0**k for k in range(-1, 5)]) * math.pi
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.linear_1 = nn.Linear(2 * len(frequencies), dim)
        self.linear_2 = nn.Linear(dim, dim)
        self.unknown = nn.Parameter(torch.zeros(dim))
        if zero_init:
            nn.init.zeros_(self.linear_2.weight)
            nn.init.zeros_(self.linear_2.bias)

    def forward(self, values: Float[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """Embed ``values``; NaN is unknown."""
        known = ~torch.isnan(values)
        phase = (torch.nan_to_num(values) / self.scale)[:, None] * self.frequencies
        features = torch.cat([phase.sin(), phase.cos()], dim=1).to(self.linear_1.weight.dtype)
        embedded = self.linear_2(nn.functional.silu(self.linear_1(features)))
        return torch.where(known[:, None], embedded, self.unknown.to(embedded.dtype))
