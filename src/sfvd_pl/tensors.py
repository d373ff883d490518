"""Shape aliases: the only statement of axis order in the package.

Axes, in code and always in this order: ``B`` sample, ``C`` channel, ``T`` frame, ``H`` row, ``W`` column.
On disk a clip is ``T H W`` and a flat table of frames ``N H W``; the conversion happens where a dataset reads.
"""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

Images = Float[Tensor, "B C H W"]
"""Frames without a time axis, C = 1 for pictures."""

Clips = Float[Tensor, "B C T H W"]
"""Clips of T consecutive frames."""

WireMasks = Float[Tensor, "B 1 T H W"]
"""1 on the wire, 0 elsewhere; all 0 where a frame has no label."""

FrameFlags = Bool[Tensor, "B T"]
"""One truth value a frame: labelled, valid, ..."""

FrameScalars = Float[Tensor, "B T"]
"""One number a frame, such as the visibility; NaN where unknown."""

SampleScalars = Float[Tensor, " B"]
"""One number a sample."""

Timesteps = Int64[Tensor, " B"]
"""Diffusion time, 0 is least noise."""

SampleIds = Int64[Tensor, " B"]
"""Identity of a sample: with the seed it decides every random number the sample needs."""
