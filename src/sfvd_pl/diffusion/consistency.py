"""Noise of a clip's frames that hangs together in what is coarse and is each frame's own in what is fine.

A network that draws each frame's brightness from noise of its own makes clips that flicker; noise shared in everything
freezes the grain, and the quantum noise of a detector is new in every frame. So frames share the means over squares of
``SIDE`` pixels (a split by frequency as in ConsistI2V's FrameInit, arXiv 2402.04324) and nothing finer.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

SIDE = 16
"""Side of the squares whose means all frames share, pixels."""


def share_coarse(
    independent: Float[Tensor, "B C T H W"], shared: Float[Tensor, "B C H W"]
) -> Float[Tensor, "B C T H W"]:
    """``e_i - M e_i + M e_shared``, with M the mean over squares: an orthogonal projection, so each frame stays white.

    The same pixel of two frames has the covariance ``1 / SIDE^2``, over blocks too if all are given the same
    ``shared``. A network must sample with the noise that it was trained on: noise of another covariance is, to it, a
    picture.

    Args:
        independent: Standard normal, independent everywhere.
        shared: Standard normal, drawn once for a clip.
    """
    return independent + _means(shared.unsqueeze(2) - independent)


def _means(noise: Tensor) -> Tensor:
    """Each pixel the mean of its square; squares that the frame's edge cuts have fewer pixels."""
    height, width = noise.shape[-2:]
    means = avg_pool2d(noise.reshape(-1, 1, height, width), SIDE, ceil_mode=True, count_include_pad=False)
    whole = means.repeat_interleave(SIDE, 2).repeat_interleave(SIDE, 3)
    return whole[..., :height, :width].reshape(noise.shape)
