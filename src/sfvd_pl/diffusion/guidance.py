"""Steering the sampler by a frozen wire segmenter.

Classifier guidance (arXiv 2105.05233) with a wire segmenter ``f`` in the classifier's place, a reconstruction chosen by
this project. At a guided step the network's estimate of the clean picture is moved within a band around the wire,

``x0 <- x0 + |scale| * e * g / rms(g)``,   ``g = -grad_{x0} L(f(x0), target)``,

where ``L`` is the cross entropy over the band and ``e`` the root mean square of ``f``'s error there,
``sigmoid(f(x0)) - target``. The target is the wire mask where the wire is to be clearer (``scale > 0``) and no wire at
all where it is to be fainter (``scale < 0``). The gradient's own size says little, so it is divided out, and the error
takes its place: a guide that is content moves nothing. (Divided by its size alone, the gradient of a content guide is
rounding error, and a clip would depend on the machine and on the batch that it shares.)
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.diffusion.loss import wire_band
from sfvd_pl.errors import ConfigError

Segmenter = Callable[[Tensor], Tensor]
"""x0 (B, 1, H, W) -> logits (B, 1, H, W)."""

X0Guidance = Callable[[Tensor, int, int], Tensor]
"""(estimate of x0, step from 0 for the noisiest, number of steps) -> the estimate to go on with."""

Interval = tuple[float, float]


def guidance_active(step: int, num_steps: int, interval: Interval = (0.2, 0.8)) -> bool:
    """Whether the middle of step ``step`` of ``num_steps`` lies in ``interval``, as fractions of the steps.

    Step 0 is the noisiest. With 25 steps and 0.2..0.8, steps 5 to 19 are guided.

    Raises:
        ConfigError: ``interval`` not within 0..1, or empty.
    """
    low, high = interval
    if not 0 <= low < high <= 1:
        raise ConfigError(
            "not a part of the trajectory", key="interval", expected="0 <= low < high <= 1", found=interval
        )
    return low <= (step + 0.5) / num_steps <= high


class SegmentationGuidance:
    """Makes the wire clearer or fainter to a segmenter while frames are being sampled.

    Args:
        segmenter: The frozen guide, in evaluation mode. It sees single frames (N, 1, H, W) in units of x0.
        wire_mask: The wire that is wanted, 0/1, (B, 1, H, W) or (B, 1, T, H, W); a clip goes frame by frame.
        scale: (B,), by how much (root mean square over the band, units of x0) a guided step moves the estimate where
            the guide is wholly wrong; positive clearer, negative fainter, 0 not at all.
        band_radius: Pixels around the wire that may be changed.
        interval: Part of the trajectory that is guided; see :func:`guidance_active`.

    Raises:
        ConfigError: Sizes that do not fit together, or an interval that is none.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        wire_mask: Float[Tensor, "B 1 *S"],
        scale: Float[Tensor, " scales"],
        band_radius: int = 3,
        interval: Interval = (0.2, 0.8),
    ) -> None:
        if scale.shape != wire_mask.shape[:1]:
            raise ConfigError(
                "guidance needs one scale per sample",
                key="scale",
                expected=tuple(wire_mask.shape[:1]),
                found=tuple(scale.shape),
            )
        guidance_active(0, 1, interval)
        self.segmenter = segmenter
        self.interval = interval
        self.band = wire_band(wire_mask, band_radius)
        self.scale = scale.reshape(-1, *[1] * (wire_mask.ndim - 1))
        self.target = wire_mask * (self.scale > 0)
        self._idle = not bool((scale != 0).any())

    def __call__(self, x0: Float[Tensor, "B 1 *S"], step: int, num_steps: int) -> Float[Tensor, "B 1 *S"]:
        """The estimate to go on with: the network's own outside the interval, else the guided one."""
        if self._idle or not guidance_active(step, num_steps, self.interval):
            return x0
        return x0 + self.scale.abs() * self.direction(x0)

    def direction(self, x0: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B 1 *S"]:
        """Where the guide wants the band to go: root mean square within it is that of the guide's error."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = x0.detach().clone().requires_grad_()
            band, target = self.band.clone(), self.target.clone()
            logits = self.segmenter(_as_frames(leaf)).reshape(leaf.shape)
            loss = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * band).sum()
            (gradient,) = torch.autograd.grad(loss, leaf)
        error = _rms((logits.detach().sigmoid() - target) * band, band)
        size = _rms(gradient * band, band)
        return -gradient * band * torch.where(size > 0, error / size, 0.0)


def _rms(values: Tensor, band: Tensor) -> Tensor:
    """Root mean square over each sample's band, in a shape that broadcasts against it."""
    mean = values.double().square().flatten(1).sum(1) / band.flatten(1).sum(1).clamp(min=1)
    return mean.sqrt().to(values.dtype).reshape(-1, *[1] * (values.ndim - 1))


def _as_frames(x: Tensor) -> Tensor:
    """(B, 1, H, W) as it is, (B, 1, T, H, W) to (B * T, 1, H, W): one channel keeps the order."""
    return x if x.ndim == 4 else x.flatten(0, 2).unsqueeze(1)
