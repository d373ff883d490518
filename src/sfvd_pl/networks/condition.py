"""How a network is told where the wire is, and how plainly it is to be seen."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

CONDITION_CHANNELS = 4
"""Truncated centreline distance, wire mask, label-known flag, visibility on the wire."""

VISIBILITY_SCALE = 8.0
"""Contrast-to-noise ratios lie below this; the networks are given the ratio divided by it."""


@dataclass(frozen=True)
class WireCondition:
    """What a denoiser is told of the wire in each frame.

    Attributes:
        channels: ``B 4 T H W``: nearness of the centreline in 0..1 (1 on it, 0 at the cutoff distance and beyond),
            binary wire mask, a flag that is 1 where the label is known, and the visibility over
            ``VISIBILITY_SCALE`` on the wire's pixels (0 where unknown), since the contrast of a wire is about
            proportional to it. All are 0 where the label is not known: the *null* condition, on which unlabelled
            frames train and which classifier-free guidance subtracts.
        visibility: ``B T``, contrast-to-noise ratio; NaN where unknown.
    """

    channels: Float[Tensor, "B 4 T H W"]
    visibility: Float[Tensor, "B T"]

    @classmethod
    def build(
        cls,
        wire_mask: Float[Tensor, "B 1 T H W"],
        nearness: Float[Tensor, "B 1 T H W"],
        label_known: Bool[Tensor, "B T"],
        visibility: Float[Tensor, "B T"],
    ) -> "WireCondition":
        """Assemble the condition; frames without a known label get the null condition."""
        known = label_known[:, None, :, None, None].to(wire_mask.dtype)
        wire = wire_mask * known
        visible = wire * (torch.nan_to_num(visibility) / VISIBILITY_SCALE)[:, None, :, None, None]
        channels = torch.cat([nearness * known, wire, known.expand_as(wire), visible], dim=1)
        return cls(channels, torch.where(label_known, visibility, torch.nan))

    def null(self) -> "WireCondition":
        """The condition that says nothing."""
        return WireCondition(torch.zeros_like(self.channels), torch.full_like(self.visibility, torch.nan))

    def drop(self, dropped: Bool[Tensor, " B"]) -> "WireCondition":
        """The same condition with some samples made null (mask dropout)."""
        keep = ~dropped
        return WireCondition(
            self.channels * keep[:, None, None, None, None].to(self.channels.dtype),
            torch.where(keep[:, None], self.visibility, torch.nan),
        )

    def frames(self, frames: slice) -> "WireCondition":
        """The condition of some of the frames."""
        return replace(self, channels=self.channels[:, :, frames], visibility=self.visibility[:, frames])

    def cat(self, other: "WireCondition") -> "WireCondition":
        """Both conditions, one after the other along the batch."""
        return WireCondition(
            torch.cat([self.channels, other.channels]), torch.cat([self.visibility, other.visibility])
        )


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
