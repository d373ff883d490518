"""The noise schedule: how much of the picture is left at each diffusion time.

Variance preserving, as in DDPM: ``x_t = alpha(t) x0 + sigma(t) noise`` with ``alpha^2 + sigma^2 = 1`` and
``alpha^2 = alphas_cumprod[t]``; ``t = 0`` is the least noise, ``t = num_train_timesteps - 1`` the most.
Signal-to-noise ratio: ``snr(t) = alpha^2 / sigma^2``.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from sfvd_pl.errors import ConfigError

ScheduleName = Literal["cosine", "shifted_cosine", "linear"]

_MAX_BETA = 0.999


@dataclass(frozen=True)
class ScheduleConfig:
    """Which schedule.

    Args:
        name: ``cosine`` (Nichol and Dhariwal, arXiv 2102.09672, eq. 17), ``shifted_cosine`` (the same with
            ``log snr`` moved by ``2 log(shift)``; simple diffusion, arXiv 2301.11093) or
            ``linear`` (DDPM, arXiv 2006.11239: betas from 1e-4 to 0.02 at 1000 steps, scaled by
            ``1000 / num_train_timesteps`` at another number).
        num_train_timesteps: Length of the table.
        shift: For ``shifted_cosine``: reference resolution / resolution, so below 1 means more noise. Larger
            pictures average noise away over more pixels and need more of it; 0.25 suits 256 pixels if 1 suits
            64.
        zero_terminal_snr: Rescale so that nothing of the picture is left at the last time (arXiv 2305.08891,
            algorithm 1). Training then sees what sampling starts from: pure noise.

    Raises:
        ConfigError: An unknown name, a table that is too short, or a shift that would not be used.
    """

    name: ScheduleName = "cosine"
    num_train_timesteps: int = 1000
    shift: float = 1.0
    zero_terminal_snr: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        if self.name not in get_args(ScheduleName):
            raise ConfigError(
                "unknown noise schedule", key="name", expected=get_args(ScheduleName), found=self.name
            )
        shortest = 21 if self.name == "linear" else 2
        if self.num_train_timesteps < shortest:
            raise ConfigError(
                f"the {self.name} schedule is too short",
                key="num_train_timesteps",
                expected=f">= {shortest}",
                found=self.num_train_timesteps,
            )
        if not (self.shift > 0 and math.isfinite(self.shift)):
            raise ConfigError("shift is a ratio", key="shift", expected="> 0 and finite", found=self.shift)
        if self.shift != 1 and self.name != "shifted_cosine":
            raise ConfigError(
                "shift is only used by the shifted_cosine schedule",
                key="shift",
                expected=1.0,
                found=self.shift,
                remedy="set name to shifted_cosine, or leave shift at 1",
            )


def cosine_alphas_cumprod(num_train_timesteps: int) -> Float64[Tensor, " time"]:
    """Cosine table of arXiv 2102.09672, eq. 17, with betas capped at 0.999.

    Entry ``t`` is the product up to and including ``beta_t``, hence ``f((t + 1) / T) / f(0)`` wherever the
    cap is not reached, with ``f(u) = cos^2((u + 0.008) / 1.008 * pi / 2)``: even ``t = 0`` holds a little
    noise.
    """
    edges = torch.arange(num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
    f = torch.cos((edges + 0.008) / 1.008 * math.pi / 2).square()
    betas = (1 - f[1:] / f[:-1]).clamp(max=_MAX_BETA)
    return torch.cumprod(1 - betas, dim=0)


def linear_alphas_cumprod(num_train_timesteps: int) -> Float64[Tensor, " time"]:
    """Linear betas of arXiv 2006.11239, section 4, scaled to the sum of the 1000-step table."""
    scale = 1000 / num_train_timesteps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, num_train_timesteps, dtype=torch.float64)
    return torch.cumprod(1 - betas.clamp(max=_MAX_BETA), dim=0)


def shift_log_snr(alphas_cumprod: Float64[Tensor, " time"], shift: float) -> Float64[Tensor, " time"]:
    """Add ``2 log(shift)`` to ``log snr``, i.e. multiply the SNR by ``shift^2`` (arXiv 2301.11093)."""
    signal = shift**2 * alphas_cumprod
    return signal / (signal + 1 - alphas_cumprod)


def rescale_to_zero_terminal_snr(alphas_cumprod: Float64[Tensor, " time"]) -> Float64[Tensor, " time"]:
    """Make ``alpha`` exactly 0 at the last time and leave it as it is at the first.

    arXiv 2305.08891, algorithm 1: ``alpha <- (alpha - alpha_T) * alpha_0 / (alpha_0 - alpha_T)``.
    """
    alpha = alphas_cumprod.sqrt()
    first, last = alpha[0], alpha[-1]
    return ((alpha - last) * (first / (first - last))).square()


class NoiseSchedule:
    """Tables of one schedule and the forward process.

    Plain tables rather than module buffers: a change of a module's precision must not round them, and a
    moving average of weights has no business with them. They follow the device of the timesteps they are
    asked for.

    Attributes:
        config: The settings.
        alphas_cumprod: float64 on the CPU, one entry a training timestep, decreasing.
    """

    def __init__(self, config: ScheduleConfig | None = None) -> None:
        """Compute the tables of ``config`` in float64."""
        self.config = ScheduleConfig() if config is None else config
        steps = self.config.num_train_timesteps
        table = linear_alphas_cumprod(steps) if self.config.name == "linear" else cosine_alphas_cumprod(steps)
        table = shift_log_snr(table, self.config.shift) if self.config.shift != 1 else table
        self.alphas_cumprod = rescale_to_zero_terminal_snr(table) if self.config.zero_terminal_snr else table
        a = self.alphas_cumprod
        host = torch.stack([a.sqrt(), (1 - a).sqrt(), a / (1 - a)]).to(torch.float32)
        self._tables: dict[torch.device, Tensor] = {torch.device("cpu"): host}

    @property
    def num_train_timesteps(self) -> int:
        """Number of diffusion times."""
        return self.config.num_train_timesteps

    def alpha(self, timesteps: Int64[Tensor, " B"], ndim: int = 1) -> Float[Tensor, "B ..."]:
        """Factor of the picture, shaped (B, 1, ..., 1) with ``ndim`` axes, float32."""
        return self._lookup(0, timesteps, ndim)

    def sigma(self, timesteps: Int64[Tensor, " B"], ndim: int = 1) -> Float[Tensor, "B ..."]:
        """Standard deviation of the noise, shaped (B, 1, ..., 1) with ``ndim`` axes, float32."""
        return self._lookup(1, timesteps, ndim)

    def snr(self, timesteps: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Signal-to-noise ratio ``alpha^2 / sigma^2``; exactly 0 at the last time with zero terminal SNR."""
        return self._lookup(2, timesteps, 1)

    def add_noise(
        self, x0: Float[Tensor, "B *S"], noise: Float[Tensor, "B *S"], timesteps: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B *S"]:
        """The forward process, ``x_t = alpha x0 + sigma noise``."""
        return self.alpha(timesteps, x0.ndim) * x0 + self.sigma(timesteps, x0.ndim) * noise

    def _lookup(self, row: int, timesteps: Tensor, ndim: int) -> Tensor:
        device = timesteps.device
        # A negative index would silently read from the noisy end. On an accelerator the check would force a
        # synchronisation at every step, and every timestep there comes from code that ran here.
        if device.type == "cpu" and bool(((timesteps < 0) | (timesteps >= self.num_train_timesteps)).any()):
            raise ConfigError(
                "a timestep lies outside the schedule",
                key="timesteps",
                expected=f"0..{self.num_train_timesteps - 1}",
                found=f"{int(timesteps.min())}..{int(timesteps.max())}",
            )
        if device not in self._tables:
            self._tables[device] = self._tables[torch.device("cpu")].to(device)
        return self._tables[device][row][timesteps].reshape(-1, *[1] * (ndim - 1))
