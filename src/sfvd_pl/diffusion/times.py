"""Which diffusion times a training sees, apart from how much noise each of them means."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from sfvd_pl.errors import ConfigError


@dataclass(frozen=True)
class TimestepDensity:
    """Uniform times with a second helping of the noisiest ones.

    A picture's mean and its large structures stand out from noise long before its details do: they are decided within
    the first few per cent of a trajectory, and a short training sees few samples of them. A shifted schedule gives
    them more of the schedule and takes it from the grain, in training and in sampling; this changes the training alone.

    Args:
        high_noise_share: Share of the samples drawn from the noisiest times only; 0 is the uniform density.
        high_noise_above: Where those begin, as a fraction of the schedule (1 is pure noise).

    Raises:
        ConfigError: A share or fraction out of its range.
    """

    high_noise_share: float = 0.0
    high_noise_above: float = 0.9

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for key, value in (
            ("high_noise_share", self.high_noise_share),
            ("high_noise_above", self.high_noise_above),
        ):
            if not 0 <= value < 1:
                raise ConfigError("not a share", key=key, expected="0 <= value < 1", found=value)

    def timesteps(self, uniform: Float[Tensor, " B"], num_train_timesteps: int) -> Int64[Tensor, " B"]:
        """Diffusion times from numbers in [0, 1): the lowest ``high_noise_share`` of these give the noisy times."""
        share, above = self.high_noise_share, self.high_noise_above
        place = (uniform - share) / (1 - share)
        if share > 0:
            place = place.where(uniform >= share, above + (1 - above) * uniform / share)
        # clamp: rounding in float32 must not lead out of the table.
        return (place * num_train_timesteps).long().clamp(0, num_train_timesteps - 1)
