"""Steering the sampler: classifier-free guidance, and guidance by a frozen wire segmenter.

Classifier-free guidance (arXiv 2207.12598, eq. 6, written so that 1 means none):
``output = uncond + guidance_scale (cond - uncond)``. Noise, v and x0 are affine in one another at a given
``x_t``, so it means the same for every prediction type. Guidance does good in the middle of the trajectory
and harm at both ends (arXiv 2404.07724): :func:`guidance_active` says where.

Segmentation guidance is classifier guidance (arXiv 2105.05233, algorithm 2) with a wire segmenter ``f`` in
the classifier's place and a normalised gradient, a reconstruction chosen by this project. At a guided step

``g = -grad_{x_t} L(f(x0_hat), M)``, ``x0_hat <- x0_hat + scale * g_hat``,

where ``x0_hat`` is the network's present estimate, ``M`` the wire mask, ``L`` binary cross entropy plus Dice
on a band around the wire, and ``g_hat`` is ``g`` restricted to the band and divided by its root mean square
there. The plain rule adds ``sigma^2 / alpha * grad log p``, whose size depends on how sure ``f`` is: it
vanishes where the wire is plain and explodes at high noise. The normalised one moves the band's pixels by
``scale`` in units of x0 whatever ``f`` thinks, so one scale means one thing for every clip; ``scale > 0``
makes the wire clearer to ``f``, ``scale < 0`` fainter. The sampler then takes its step with the guided
estimate and the noise that belongs to it, ``(x_t - alpha x0_hat) / sigma``, as algorithm 2 does.

The gradient goes through the denoiser (``through_denoiser``: ``dx0_hat / dx_t`` as the network has it; one
backward pass through it a step) or takes the model output for a constant. Then ``dx0_hat / dx_t`` is one
number, ``alpha`` for v and ``1 / alpha`` for epsilon, which the normalisation cancels, so the gradient with
respect to x0_hat serves, for ``sample`` and at zero SNR too, where that number is 0.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from sfvd_pl.diffusion.loss import wire_band
from sfvd_pl.diffusion.prediction import Prediction
from sfvd_pl.errors import ConfigError

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t, timesteps (B,)) -> model output shaped like x_t, conditions and classifier-free guidance done."""

Segmenter = Callable[[Tensor], Tensor]
"""x0 (B, 1, H, W) -> logits (B, 1, H, W)."""

Interval = tuple[float, float]


def classifier_free(
    cond: Float[Tensor, "B *S"],
    uncond: Float[Tensor, "B *S"],
    guidance_scale: float | int | Float[Tensor, " B"],
) -> Float[Tensor, "B *S"]:
    """``uncond + guidance_scale * (cond - uncond)``: 1 is no guidance, 0 no condition.

    Args:
        cond: Output with the condition.
        uncond: Output without it.
        guidance_scale: One number, or one a sample.
    """
    if isinstance(guidance_scale, Tensor):
        guidance_scale = guidance_scale.reshape(-1, *[1] * (cond.ndim - 1))
    return uncond + guidance_scale * (cond - uncond)


def guidance_active(step: int, num_steps: int, interval: Interval = (0.2, 0.8)) -> bool:
    """Whether the middle of step ``step`` of ``num_steps`` lies in ``interval``, as fractions of the
    trajectory.

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


class GuidanceContext:
    """One step of the sampler as a guide sees it; calls the denoiser once at most, with or without gradients.

    Attributes:
        step: Index into the sampler's timesteps, 0 is the noisiest.
        num_steps: Number of those timesteps.
        timesteps: (B,), the diffusion time of this step.
        x_t: The noised pictures.
        prediction: How model outputs and x0 relate.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        prediction: Prediction,
        x_t: Float[Tensor, "B *S"],
        timesteps: Int64[Tensor, " B"],
        step: int,
        num_steps: int,
    ) -> None:
        """Keep the state of the step; nothing is computed yet."""
        self._denoiser = denoiser
        self._x0: Tensor | None = None
        self.prediction = prediction
        self.x_t = x_t
        self.timesteps = timesteps
        self.step = step
        self.num_steps = num_steps

    @property
    def x0(self) -> Tensor:
        """The network's estimate of the clean picture, without a graph."""
        if self._x0 is None:
            with torch.no_grad():
                self._x0 = self._estimate(self.x_t)
        return self._x0

    def differentiable_x0(self) -> tuple[Tensor, Tensor]:
        """``x_t`` as a leaf and the estimate computed from it, with the graph through the denoiser.

        Works within ``torch.no_grad`` and, if the tensors that the denoiser was given as conditions are
        ordinary ones, within ``torch.inference_mode``.
        """
        with torch.inference_mode(False), torch.enable_grad():
            leaf = _ordinary(self.x_t).requires_grad_()
            x0 = self._estimate(leaf)
        self._x0 = x0.detach()
        return leaf, x0

    def _estimate(self, x_t: Tensor) -> Tensor:
        timesteps = self.timesteps
        return self.prediction.x0_from_output(self._denoiser(x_t, timesteps), x_t, timesteps)


X0Guidance = Callable[[GuidanceContext], Tensor]
"""What a sampler accepts as a guide: the context of a step -> the estimate of x0 to go on with."""


def band_loss(
    logits: Float[Tensor, "N 1 H W"], wire_mask: Float[Tensor, "N 1 H W"], band: Float[Tensor, "N 1 H W"]
) -> Float[Tensor, " N"]:
    """Binary cross entropy plus soft Dice loss of each frame, over the band only; 0 without a band."""
    count = band.flatten(1).sum(1)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, wire_mask, reduction="none")
    bce = (cross_entropy * band).flatten(1).sum(1) / count.clamp(min=1)
    probability = logits.sigmoid() * band
    target = wire_mask * band
    overlap = (probability * target).flatten(1).sum(1)
    total = (probability + target).flatten(1).sum(1)
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return torch.where(count > 0, bce + dice, 0.0)


class SegmentationGuidance:
    """Makes the wire clearer or fainter to a segmenter while a clip is being sampled.

    Args:
        segmenter: The frozen guide, in evaluation mode. It sees single frames (N, 1, H, W) in units of x0.
        wire_mask: The wire that is wanted, 0/1, (B, 1, H, W) or (B, 1, T, H, W); a clip goes frame by frame.
        scale: (B,), by how much (root mean square over the band, units of x0) a guided step moves the
            estimate; positive clearer, negative fainter, 0 not at all.
        band_radius: Pixels around the wire that may be changed.
        interval: Part of the trajectory that is guided; see :func:`guidance_active`.
        through_denoiser: Take the gradient through the network too.

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
        through_denoiser: bool = False,
    ) -> None:
        """Dilate the band once, and check what can be checked before sampling starts."""
        if scale.shape != wire_mask.shape[:1]:
            raise ConfigError(
                "guidance needs one scale a sample",
                key="scale",
                expected=tuple(wire_mask.shape[:1]),
                found=tuple(scale.shape),
            )
        guidance_active(0, 1, interval)
        self.segmenter = segmenter
        self.interval = interval
        self.through_denoiser = through_denoiser
        self.wire_mask = _ordinary(wire_mask)
        self.band = _ordinary(wire_band(wire_mask, band_radius))
        self.scale = scale.reshape(-1, *[1] * (wire_mask.ndim - 1))
        self._idle = not bool((scale != 0).any())

    def __call__(self, context: GuidanceContext) -> Tensor:
        """The estimate of x0 to go on with: the network's own outside the interval, else the guided one.

        Raises:
            ConfigError: The pictures being sampled are not shaped like the wire mask.
        """
        if context.x_t.shape != self.wire_mask.shape:
            raise ConfigError(
                "the guide's wire mask does not fit what is being sampled",
                key="wire_mask",
                expected=tuple(context.x_t.shape),
                found=tuple(self.wire_mask.shape),
            )
        if self._idle or not guidance_active(context.step, context.num_steps, self.interval):
            return context.x0
        direction = self.direction(context)
        return context.x0 + self.scale * direction

    def direction(self, context: GuidanceContext) -> Tensor:
        """``g_hat``: downhill for the guide's loss, 0 outside the band, unit root mean square within it."""
        if self.through_denoiser:
            leaf, x0 = context.differentiable_x0()
        else:
            with torch.inference_mode(False):
                leaf = x0 = _ordinary(context.x0).requires_grad_()
        with torch.inference_mode(False), torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.losses(x0).sum(), leaf)
        return unit_rms_within(-gradient, self.band)

    def losses(self, x0: Float[Tensor, "B 1 *S"]) -> Float[Tensor, " N"]:
        """The guide's loss of every frame, (B,) for pictures and (B * T,) for clips."""
        logits = self.segmenter(_as_frames(x0))
        return band_loss(logits, _as_frames(self.wire_mask), _as_frames(self.band))


def unit_rms_within(
    values: Float[Tensor, "B 1 *S"], band: Float[Tensor, "B 1 *S"]
) -> Float[Tensor, "B 1 *S"]:
    """``values`` within the 0/1 ``band``, scaled to unit root mean square there by sample; 0 stays 0."""
    inside = values * band
    shape = (-1, *[1] * (values.ndim - 1))
    # First to a largest value of 1: squares of a confident guide's tiny gradients would underflow.
    peak = inside.abs().flatten(1).amax(1).reshape(shape)
    inside = inside / torch.where(peak > 0, peak, 1.0)
    mean_square = inside.square().flatten(1).sum(1) / band.flatten(1).sum(1).clamp(min=1)
    rms = mean_square.sqrt().reshape(shape)
    return inside / torch.where(rms > 0, rms, 1.0)


def _as_frames(x: Tensor) -> Tensor:
    """(B, 1, H, W) as it is, (B, 1, T, H, W) to (B * T, 1, H, W): one channel keeps the order."""
    return x if x.ndim == 4 else x.flatten(0, 2).unsqueeze(1)


def _ordinary(x: Tensor) -> Tensor:
    """A copy without a graph that autograd may record, even if ``x`` was made in inference mode."""
    with torch.inference_mode(False):
        return x.detach().clone()
