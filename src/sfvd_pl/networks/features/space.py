"""What a feature space is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

SpaceKind = Literal["frame", "clip"]


class FeatureSpace(Protocol):
    """A network that turns pictures into vectors, with all that a reader must know to get the same figures.

    Attributes:
        name: As in ``metrics.json``.
        kind: ``frame`` embeds single pictures, ``clip`` consecutive frames.
        num_features: Length of a vector.
        weights_sha256: Of the file with the weights.
        resizing: What happens to a picture's size before the network sees it.
    """

    @property
    def name(self) -> str:
        """As in ``metrics.json``."""

    @property
    def kind(self) -> SpaceKind:
        """``frame`` or ``clip``."""

    @property
    def num_features(self) -> int:
        """Length of a vector."""

    @property
    def weights_sha256(self) -> str:
        """Digest of the file with the weights."""

    @property
    def resizing(self) -> str:
        """What happens to a picture's size."""

    def embed(self, images: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B D"]:
        """Vectors of pictures ``B 1 H W`` or clips ``B 1 T H W`` in 0..1, on any device; no gradients."""


@dataclass(frozen=True)
class NetworkSpace:
    """A feature space made of a function.

    Attributes:
        name: See :class:`FeatureSpace`.
        kind: See there.
        num_features: See there.
        weights_sha256: See there.
        resizing: See there.
        function: Embeds a batch on ``device``.
        device: Where it runs.
    """

    name: str
    kind: SpaceKind
    num_features: int
    weights_sha256: str
    resizing: str
    function: Callable[[Tensor], Tensor]
    device: torch.device

    def embed(self, images: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B D"]:
        """Vectors of a batch in 0..1, in single precision on the CPU."""
        with torch.inference_mode():
            return self.function(images.to(self.device)).float().cpu()


def resized(images: Float[Tensor, "B C H W"], size: int) -> Float[Tensor, "B C size size"]:
    """Pictures of another size: bilinear, and averaged before they shrink, or fine grain would fold over.

    The choice of the filter moves an FID by as much as a better generator does (Parmar et al. 2022, arXiv 2104.11222),
    so there is one, and it is named beside each figure.
    """
    if images.shape[-2:] == (size, size):
        return images
    return interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
