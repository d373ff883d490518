"""A lattice that a network leaves which takes squares of pixels as channels, and that no detector has.

A network with ``unshuffle`` 2 predicts each pixel of a square by a channel of its own. The mean of such a channel over
the whole picture is a single number, which its normalisations all but hide from it, so the noise of that number is left
in the picture: the four interleaved grids differ in brightness, in all frames of a clip alike. In real frames they
don't. What is known of x0 need not be estimated, so samplers set it in each estimate.
"""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def without_lattice(x0: Float[Tensor, "*B H W"], side: int) -> Float[Tensor, "*B H W"]:
    """x0 with one mean on all ``side**2`` interleaved grids of each picture; its mean stays, and so does all else.

    Args:
        x0: Pictures of a height and width that are multiples of ``side``.
        side: Period of the lattice, pixels.
    """
    if side == 1:
        return x0
    squares = rearrange(x0, "... (h p) (w q) -> ... h p w q", p=side, q=side)
    grids = squares.mean(dim=(-4, -2), keepdim=True)
    even = squares - grids + grids.mean(dim=(-3, -1), keepdim=True)
    return rearrange(even, "... h p w q -> ... (h p) (w q)")
