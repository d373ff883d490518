r"""Frame consistency by correlated noise: how the noise of a clip's frames hangs together.

All strategies give standard normal noise frame by frame, ``e_i ~ N(0, I)``; they differ in the covariance
between the same pixel of two frames, ``rho(i, j) = E[e_i e_j]``. With ``a`` = alpha and ``e_i'`` independent:

``none``
    ``e_i = e_i'``; ``rho = 0`` for ``i != j``.
``mixed`` (PYoCo, arXiv 2305.10474)
    ``e_i = sqrt(a^2 / (1 + a^2)) e_shared + sqrt(1 / (1 + a^2)) e_i'``;
    ``rho = a^2 / (1 + a^2)`` for every pair of frames, however far apart.
``progressive`` (PYoCo)
    ``e_i = sqrt(a^2 / (1 + a^2)) e_{i-1} + sqrt(1 / (1 + a^2)) e_i'``, ``e_0 = e_0'``;
    ``rho = r^|i - j|`` with ``r = sqrt(a^2 / (1 + a^2))``: a first-order autoregression, which forgets.
``coarse``
    ``e_i = e_i' - M e_i' + M e_shared`` with ``M`` the mean over squares of 16 x 16 pixels, an orthogonal projection,
    so that each ``e_i`` is white; ``rho = 1 / 16^2``, all of it in what is larger than a square. Brightness and large
    structures hang together, grain is each frame's own (a split by frequency as in ConsistI2V's FrameInit, arXiv
    2402.04324, which takes the low frequencies from the first frame instead).

``a`` belongs to ``mixed`` and ``progressive``: 0 is ``none``, and with ``a -> infinity`` all frames have one noise. A
network must sample with the noise that it was trained on: noise of another covariance is, to it, a picture.

Clips longer than a block. ``mixed`` and ``coarse``: hand the same ``shared`` to every block. ``progressive``: hand
the last frame of the previous block's result to the next block as ``previous_last``. Either way the covariance of the
joined noise is that of one long clip.

The same goes for the fresh noise of a stochastic sampler's steps: correlate it too, with a shared noise of
its own for each step, or the frames drift apart again at every step. Caution: the quantum noise of a detector
is independent from frame to frame, and shared noise can freeze the grain; the strategies are to be compared
by the residual's autocorrelation against real clips, not by how steady they look.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sfvd_pl.errors import ConfigError


class FrameConsistency(ABC):
    """Turns independent noise into the noise of a clip.

    Args:
        alpha: Strength ``a`` of the correlation, finite and not negative; ``none`` and ``coarse`` ignore it.

    Attributes:
        name: The name it is registered under.
        uses_shared: Whether :meth:`noise` needs ``shared``.
        uses_previous: Whether :meth:`noise` continues ``previous_last``.

    Raises:
        ConfigError: ``alpha`` negative or not finite.
    """

    name: ClassVar[str] = ""
    uses_shared: ClassVar[bool] = False
    uses_previous: ClassVar[bool] = False

    def __init__(self, alpha: float | int = 1.0) -> None:
        """Check ``alpha`` and split unit variance into a common part and a part of the frame's own."""
        if not (alpha >= 0 and math.isfinite(alpha)):
            raise ConfigError("alpha is a strength", key="alpha", expected=">= 0 and finite", found=alpha)
        self.alpha = float(alpha)
        self.common = math.sqrt(self.alpha**2 / (1 + self.alpha**2))
        self.own = math.sqrt(1 / (1 + self.alpha**2))

    @abstractmethod
    def noise(
        self,
        independent: Float[Tensor, "B C T H W"],
        previous_last: Float[Tensor, "B C H W"] | None = None,
        shared: Float[Tensor, "B C H W"] | None = None,
    ) -> Float[Tensor, "B C T H W"]:
        """Correlated noise of unit variance.

        Args:
            independent: Standard normal, independent everywhere.
            previous_last: Noise of the frame before this block; None at the start of a clip.
            shared: Standard normal, drawn once a clip and independent of ``independent``.

        Raises:
            ConfigError: The strategy needs ``shared`` and has none.
        """

    def _required(self, shared: Tensor | None) -> Tensor:
        """What all frames share; a ConfigError where it wasn't handed over."""
        if shared is None:
            raise ConfigError(
                f"{self.name} noise needs the part that all frames share",
                key="shared",
                expected="noise (B, C, H, W)",
                remedy="draw it once a clip and hand the same to every block",
            )
        return shared

    @abstractmethod
    def correlation(self, lag: int) -> float:
        """Correlation of a pixel's noise in two frames ``lag`` frames apart; 1 at lag 0."""

    def covariance(self, frames: int) -> Float64[Tensor, "T T"]:
        """Covariance of one pixel's noise over ``frames`` frames, whatever blocks they were drawn in."""
        rows = [[self.correlation(abs(i - j)) for j in range(frames)] for i in range(frames)]
        return torch.tensor(rows, dtype=torch.float64).reshape(frames, frames)


_REGISTRY: dict[str, type[FrameConsistency]] = {}


def register_consistency(name: str) -> Callable[[type[FrameConsistency]], type[FrameConsistency]]:
    """Class decorator: make a strategy known under ``name``.

    Raises:
        ConfigError: The name is taken.
    """

    def register(cls: type[FrameConsistency]) -> type[FrameConsistency]:
        if name in _REGISTRY:
            raise ConfigError("a frame consistency has this name already", key="name", found=name)
        cls.name = name
        _REGISTRY[name] = cls
        return cls

    return register


def consistency_names() -> tuple[str, ...]:
    """Names of the known strategies, sorted."""
    return tuple(sorted(_REGISTRY))


def make_consistency(name: str, alpha: float | int = 1.0) -> FrameConsistency:
    """The strategy called ``name``.

    Raises:
        ConfigError: No strategy has this name.
    """
    if name not in _REGISTRY:
        raise ConfigError("unknown frame consistency", key="name", expected=consistency_names(), found=name)
    return _REGISTRY[name](alpha)


@register_consistency("none")
class IndependentNoise(FrameConsistency):
    """Every frame its own noise, as a detector has it."""

    def noise(
        self,
        independent: Float[Tensor, "B C T H W"],
        previous_last: Float[Tensor, "B C H W"] | None = None,
        shared: Float[Tensor, "B C H W"] | None = None,
    ) -> Float[Tensor, "B C T H W"]:
        """``independent`` as it is; the other arguments are not used."""
        return independent

    def correlation(self, lag: int) -> float:
        """0 but for lag 0."""
        return 1.0 if lag == 0 else 0.0


@register_consistency("mixed")
class MixedNoise(FrameConsistency):
    """A part common to all frames of the clip, and a part of each frame's own."""

    uses_shared = True

    def noise(
        self,
        independent: Float[Tensor, "B C T H W"],
        previous_last: Float[Tensor, "B C H W"] | None = None,
        shared: Float[Tensor, "B C H W"] | None = None,
    ) -> Float[Tensor, "B C T H W"]:
        """``common * shared + own * independent``; ``previous_last`` is not used."""
        shared = self._required(shared)
        return self.common * shared.unsqueeze(2) + self.own * independent

    def correlation(self, lag: int) -> float:
        """``a^2 / (1 + a^2)`` at any lag but 0."""
        return 1.0 if lag == 0 else self.common**2


@register_consistency("progressive")
class ProgressiveNoise(FrameConsistency):
    """Each frame's noise goes on from the one before."""

    uses_previous = True

    def noise(
        self,
        independent: Float[Tensor, "B C T H W"],
        previous_last: Float[Tensor, "B C H W"] | None = None,
        shared: Float[Tensor, "B C H W"] | None = None,
    ) -> Float[Tensor, "B C T H W"]:
        """``e_i = common * e_{i-1} + own * independent_i``; ``shared`` is not used."""
        frames: list[Tensor] = []
        before = previous_last
        for own in independent.unbind(2):
            before = own if before is None else self.common * before + self.own * own
            frames.append(before)
        return torch.stack(frames, dim=2)

    def correlation(self, lag: int) -> float:
        """``sqrt(a^2 / (1 + a^2))`` to the power of the lag."""
        return self.common**lag


@register_consistency("coarse")
class CoarseNoise(FrameConsistency):
    """One noise for all frames in what is larger than a square of ``SIDE`` pixels; each its own in what is finer."""

    SIDE: ClassVar[int] = 16
    uses_shared = True

    def noise(
        self,
        independent: Float[Tensor, "B C T H W"],
        previous_last: Float[Tensor, "B C H W"] | None = None,
        shared: Float[Tensor, "B C H W"] | None = None,
    ) -> Float[Tensor, "B C T H W"]:
        """``independent`` with the squares' means of ``shared``; ``previous_last`` is not used."""
        shared = self._required(shared)
        return independent + self._means(shared.unsqueeze(2) - independent)

    def _means(self, noise: Tensor) -> Tensor:
        """Each pixel the mean of its square; squares that the frame's edge cuts have fewer pixels."""
        height, width = noise.shape[-2:]
        flat = noise.reshape(-1, 1, height, width)
        means = avg_pool2d(flat, self.SIDE, ceil_mode=True, count_include_pad=False)
        whole = means.repeat_interleave(self.SIDE, 2).repeat_interleave(self.SIDE, 3)
        return whole[..., :height, :width].reshape(noise.shape)

    def correlation(self, lag: int) -> float:
        """``1 / SIDE^2`` at any lag but 0: the share of a pixel's noise that is its whole square's."""
        return 1.0 if lag == 0 else 1.0 / self.SIDE**2
