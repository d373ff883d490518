"""From noise to pictures: DDIM and DPM-Solver++(2M) on any prediction type, with room for guidance.

Both solvers are written in terms of the estimate ``x0`` at each step, which is what a guide changes. Going
from time t to the next, less noisy time s (``alpha = 1, sigma = 0`` after the last step, so that the result
is the last x0):

DDIM (arXiv 2010.02502, eqs. 12 and 16)
    ``eps = (x_t - alpha_t x0) / sigma_t``,
    ``tau = eta (sigma_s / sigma_t) sqrt(1 - alpha_t^2 / alpha_s^2)``,
    ``x_s = alpha_s x0 + sqrt(sigma_s^2 - tau^2) eps + tau z``.
    ``eta`` 0 is deterministic, 1 is the ancestral sampler of DDPM.
DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2)
    ``x_s = (sigma_s / sigma_t) x_t + (alpha_s - sigma_s alpha_t / sigma_t) D``,
    ``D = x0 + (x0 - x0_before) / (2 r)``, ``r = h_before / h``, ``h`` the gain in ``log(alpha / sigma)``.
    First order (``D = x0``) at the first and the last step, and after a start at zero SNR, where h is
    infinite and the correction's limit is 0. In this form nothing else is infinite there.

``eps`` is always that of the x0 gone on with: for the network's own x0 it is the network's noise; for a
guided or clamped one it is what keeps ``x_t = alpha x0 + sigma eps`` true (arXiv 2105.05233, algorithm 2).

Few steps under-disperse. x0 is a posterior mean, so a long step loses spread that the next cannot give back. What is
lost depends on where the steps are long. *Grain* is independent from pixel to pixel and decided at the trajectory's
end; *brightness* is common to all n pixels, stands out sqrt(n) times further from the noise, and is decided at its
beginning. Exact denoiser of a Gaussian, default schedule; the result's standard deviation as a share of the right
one (a test holds the numbers). Grain has a standard deviation of 0.2 (0.5 being that of all pictures), brightness
0.25 in a frame of 64 x 64 pixels, thus 0.25 * 64 against the noise of the frame's mean:

=============  ==============  =================  =================
sampler        spacing         grain              brightness
                               10, 25, 50 steps   10, 25, 50 steps
=============  ==============  =================  =================
ddim, eta 1    trailing        0.65  0.80  0.87   0.40  0.69  0.82
ddim, eta 1    quadratic       0.75  0.88  0.93   0.21  0.47  0.68
ddim, eta 1    quadratic_high  0.48  0.70  0.80   0.68  0.84  0.91
ddim, eta 0    trailing        0.70  0.87  0.93   0.36  0.66  0.82
ddim, eta 0    quadratic       0.85  0.94  0.97   0.20  0.43  0.66
ddim, eta 0    quadratic_high  0.51  0.77  0.88   0.76  0.90  0.95
dpmpp_2m       trailing        0.75  0.95  0.99   0.37  0.68  0.85
dpmpp_2m       quadratic       1.04  1.01  1.00   0.20  0.45  0.68
dpmpp_2m       quadratic_high  0.52  0.83  0.95   0.85  0.98  1.00
dpmpp_2m       cosine          1.00  1.04  1.01   0.72  0.95  0.99
=============  ==============  =================  =================

The frame's size matters: at 256 x 256 pixels, 30 steps of ``dpmpp_2m`` on the default schedule keep 0.15 of the
brightness's spread in quadratic spacing and 0.84 in cosine spacing, and 0.96 in cosine spacing on a schedule shifted
by 0.25.
So report noise statistics beside any score of generated pictures.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from sfvd_pl.diffusion.guidance import X0Guidance
from sfvd_pl.diffusion.lattice import without_lattice
from sfvd_pl.diffusion.prediction import Prediction
from sfvd_pl.errors import ConfigError

SamplerName = Literal["ddim", "dpmpp_2m"]
TimestepSpacing = Literal["trailing", "quadratic", "quadratic_high", "cosine", "linspace"]
Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t, timesteps (B,)) -> model output shaped like x_t."""
StepNoise = Callable[[int], Tensor]
"""Step index -> standard normal noise shaped like x_t; a pure function of it makes sampling repeatable."""


@dataclass(frozen=True)
class SamplerConfig:
    """How to sample.

    Args:
        name: ``ddim`` or ``dpmpp_2m``.
        num_inference_steps: Calls of the denoiser.
        eta: For ``ddim``: share of fresh noise, 0 deterministic, 1 ancestral. ``dpmpp_2m`` has none.
        timestep_spacing: ``trailing`` starts at the last training time, as zero terminal SNR needs it, and
            comes in even steps (arXiv 2305.08891, table 2); ``quadratic`` starts there too and shortens the
            steps towards the picture (arXiv 2010.02502, appendix D.2), which keeps grain that even steps
            lose; ``quadratic_high`` is its mirror image and shortens them towards pure noise, where brightness and
            large structures are decided; ``cosine`` shortens them at both ends; ``linspace`` is even and holds both
            ends.
        clip_x0: Range to clamp the estimate of x0 to, after guidance; None for no clamping.
        lattice: Period, in pixels, of a lattice that is taken out of each estimate of x0 (``without_lattice``); 1 takes
            out nothing, None leaves it to the module.

    Raises:
        ConfigError: A value out of its range.
    """

    name: SamplerName = "ddim"
    num_inference_steps: int = 25
    eta: float = 1.0
    timestep_spacing: TimestepSpacing = "trailing"
    clip_x0: tuple[float, float] | None = None
    lattice: int | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.name not in get_args(SamplerName):
            raise ConfigError("unknown sampler", key="name", expected=get_args(SamplerName), found=self.name)
        if self.timestep_spacing not in get_args(TimestepSpacing):
            raise ConfigError(
                "unknown timestep spacing",
                key="timestep_spacing",
                expected=get_args(TimestepSpacing),
                found=self.timestep_spacing,
            )
        fewest = 2 if self.timestep_spacing == "linspace" else 1
        if self.num_inference_steps < fewest:
            raise ConfigError(
                "too few steps",
                key="num_inference_steps",
                expected=f">= {fewest} with {self.timestep_spacing} spacing",
                found=self.num_inference_steps,
            )
        if not 0 <= self.eta <= 1:
            raise ConfigError("eta is a share", key="eta", expected="0..1", found=self.eta)
        if self.clip_x0 is not None and not self.clip_x0[0] < self.clip_x0[1]:
            raise ConfigError(
                "not a range", key="clip_x0", expected="(low, high), low < high", found=self.clip_x0
            )
        if self.lattice is not None and self.lattice < 1:
            raise ConfigError("no period", key="lattice", expected=">= 1 pixels", found=self.lattice)


def inference_timesteps(config: SamplerConfig, num_train_timesteps: int) -> list[int]:
    """The times to visit, strictly decreasing.

    Raises:
        ConfigError: More steps than there are training times.
    """
    steps, last = config.num_inference_steps, num_train_timesteps
    if steps > last:
        raise ConfigError(
            "more steps than the schedule has times",
            key="num_inference_steps",
            expected=f"<= {last}",
            found=steps,
        )
    left = range(steps, 0, -1)
    if config.timestep_spacing == "trailing":
        # Counted in whole steps: a running difference of floats can give one step too many.
        return [round(last * n / steps) - 1 for n in left]
    if config.timestep_spacing == "quadratic":
        # max: the shortest steps would come out below one training time.
        return [max(round(last * (n / steps) ** 2), n) - 1 for n in left]
    if config.timestep_spacing == "quadratic_high":
        # min: as above, at the other end; the i-th step lies at least i times below the last.
        return [min(round(last * (1 - (1 - n / steps) ** 2)), last - (steps - n)) - 1 for n in left]
    if config.timestep_spacing == "cosine":
        even = [round(last * (1 - math.cos(math.pi * n / steps)) / 2) for n in left]
        # Both as above: at either end the shortest steps would come out below one training time.
        return [min(max(t, n), last - (steps - n)) - 1 for t, n in zip(even, left, strict=True)]
    return [round((last - 1) * (steps - 1 - i) / (steps - 1)) for i in range(steps)]


class Sampler:
    """Draws pictures or clips from a denoiser.

    Args:
        prediction: What the denoiser's outputs mean, and on which schedule.
        config: How to sample.

    Raises:
        ConfigError: More steps than there are training times.
    """

    def __init__(self, prediction: Prediction, config: SamplerConfig | None = None) -> None:
        """Work out the times and their noise levels, in float64."""
        self.prediction = prediction
        self.config = SamplerConfig() if config is None else config
        self._times = inference_timesteps(self.config, prediction.schedule.num_train_timesteps)
        signal = prediction.schedule.alphas_cumprod[self._times]
        self._alpha: list[float] = [*signal.sqrt().tolist(), 1.0]
        self._sigma: list[float] = [*(1 - signal).sqrt().tolist(), 0.0]

    def timesteps(self) -> list[int]:
        """The times to visit, noisiest first."""
        return list(self._times)

    def sample(
        self,
        denoiser: Denoiser,
        x_T: Float[Tensor, "B *S"],
        *,
        step_noise: StepNoise | None = None,
        x0_guidance: X0Guidance | None = None,
        given: tuple[Float[Tensor, "B *S"], Float[Tensor, "B *S"]] | None = None,
    ) -> Float[Tensor, "B *S"]:
        """Run the trajectory.

        Args:
            denoiser: (x_t, timesteps (B,)) -> output shaped like x_t, on x_T's device.
            x_T: (Correlated) standard normal noise to start from, (B, C, H, W) or (B, C, T, H, W).
            step_noise: Fresh noise of a stochastic step; asked for once a step that needs it, by absolute
                step.
            x0_guidance: Changes the estimate of x0 at each step, such as ``SegmentationGuidance``.
            given: x0 that is known, and the region (1) where it isn't: outside the region every estimate is what is
                known, so that x_t is that picture noised, as in training.

        Returns:
            x0, without a graph.

        Raises:
            ConfigError: ``eta`` > 0 without ``step_noise``.
        """
        total = len(self._times)
        if self._is_stochastic and step_noise is None:
            raise ConfigError(
                "a stochastic sampler needs noise for its steps",
                key="step_noise",
                expected="a function of the step",
                remedy="give step_noise, or set eta to 0",
            )
        x, before = x_T, None
        for step in range(total):
            timesteps = torch.full((len(x),), self._times[step], dtype=torch.int64, device=x.device)
            with torch.no_grad():
                x0 = self.prediction.x0_from_output(denoiser(x, timesteps), x, timesteps)
                if x0_guidance is not None:
                    x0 = x0_guidance(x0, step, total)
                if given is None:
                    x0 = without_lattice(x0, self.config.lattice or 1)
                if self.config.clip_x0 is not None:
                    x0 = x0.clamp(*self.config.clip_x0)
                if given is not None:
                    x0 = torch.where(given[1] > 0, x0, given[0])
                ddim = self.config.name == "ddim"
                x = self._ddim(x, x0, step, step_noise) if ddim else self._dpmpp(x, x0, before, step)
            # A step that began at zero SNR was infinitely long: it says nothing about how x0 changes.
            before = x0 if self._alpha[step] > 0 else None
        return x

    @property
    def _is_stochastic(self) -> bool:
        return self.config.name == "ddim" and self.config.eta > 0

    def _ddim(self, x: Tensor, x0: Tensor, step: int, step_noise: StepNoise | None) -> Tensor:
        alpha_t, alpha_s = self._alpha[step : step + 2]
        sigma_t, sigma_s = self._sigma[step : step + 2]
        tau = self.config.eta * sigma_s / sigma_t * math.sqrt(1 - (alpha_t / alpha_s) ** 2)
        # max: at eta 1 and zero SNR the difference is 0 up to rounding.
        keep = math.sqrt(max(sigma_s**2 - tau**2, 0.0)) / sigma_t
        x = alpha_s * x0 + keep * (x - alpha_t * x0)
        return x if tau == 0 or step_noise is None else x + tau * step_noise(step)

    def _dpmpp(self, x: Tensor, x0: Tensor, before: Tensor | None, step: int) -> Tensor:
        alpha_t, alpha_s = self._alpha[step : step + 2]
        sigma_t, sigma_s = self._sigma[step : step + 2]
        direction = x0
        if before is not None and sigma_s > 0:
            ratio = self._half_log_snr_gap(step - 1) / self._half_log_snr_gap(step)
            direction = x0 + (x0 - before) / (2 * ratio)
        return sigma_s / sigma_t * x + (alpha_s - sigma_s * alpha_t / sigma_t) * direction

    def _half_log_snr_gap(self, step: int) -> float:
        """h of the step from ``step`` to the next: both levels have signal and noise."""
        now, then = (math.log(self._alpha[i] / self._sigma[i]) for i in (step, step + 1))
        return then - now
