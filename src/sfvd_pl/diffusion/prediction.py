"""What the network's output means, and the way from it to ``x0`` and to the noise.

With ``x_t = alpha x0 + sigma noise`` (``alpha^2 + sigma^2 = 1``):

=============  ==========================  =============================  ===============================
type           the network predicts        x0                             noise
=============  ==========================  =============================  ===============================
epsilon        noise                       (x_t - sigma output) / alpha   output
v_prediction   alpha noise - sigma x0      alpha x_t - sigma output       sigma x_t + alpha output
sample         x0                          output                         (x_t - alpha output) / sigma
=============  ==========================  =============================  ===============================

v-prediction: Salimans and Ho, arXiv 2202.00512, appendix D. ``sigma`` is never 0 in a schedule of this
    package,
``alpha`` is 0 at the last time of one with zero terminal SNR: there the noise alone says nothing about x0
(arXiv 2305.08891, section 3.2), so ``epsilon`` is refused.
"""

from typing import Literal, cast, get_args

from jaxtyping import Float, Int64
from torch import Tensor

from sfvd_pl.diffusion.schedule import NoiseSchedule
from sfvd_pl.errors import ConfigError

PredictionType = Literal["epsilon", "v_prediction", "sample"]


class Prediction:
    """One prediction type on one schedule.

    Args:
        schedule: The noise schedule.
        prediction_type: What the network predicts, a ``PredictionType``; any other string is an error.

    Raises:
        ConfigError: An unknown type, or ``epsilon`` on a schedule with zero terminal SNR.
    """

    def __init__(
        self, schedule: NoiseSchedule, prediction_type: PredictionType | str = "v_prediction"
    ) -> None:
        """Refuse the one combination that divides by zero."""
        if prediction_type not in get_args(PredictionType):
            raise ConfigError(
                "unknown prediction type",
                key="prediction_type",
                expected=get_args(PredictionType),
                found=prediction_type,
            )
        if prediction_type == "epsilon" and schedule.config.zero_terminal_snr:
            raise ConfigError(
                "epsilon says nothing about the picture where no signal is left",
                key="prediction_type",
                expected="v_prediction or sample with zero_terminal_snr",
                found=prediction_type,
                remedy="choose v_prediction, or set zero_terminal_snr to false",
            )
        self.schedule = schedule
        self.prediction_type = cast(PredictionType, prediction_type)

    def training_target(
        self, x0: Float[Tensor, "B *S"], noise: Float[Tensor, "B *S"], timesteps: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B *S"]:
        """What the network should have said for ``x_t = alpha x0 + sigma noise``."""
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return x0
        alpha, sigma = self._levels(timesteps, x0.ndim)
        return alpha * noise - sigma * x0

    def x0_from_output(
        self, output: Float[Tensor, "B *S"], x_t: Float[Tensor, "B *S"], timesteps: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B *S"]:
        """The clean picture that ``output`` stands for; differentiable in both tensors."""
        if self.prediction_type == "sample":
            return output
        alpha, sigma = self._levels(timesteps, x_t.ndim)
        if self.prediction_type == "epsilon":
            return (x_t - sigma * output) / alpha
        return alpha * x_t - sigma * output

    def noise_from_output(
        self, output: Float[Tensor, "B *S"], x_t: Float[Tensor, "B *S"], timesteps: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B *S"]:
        """The noise that ``output`` stands for."""
        if self.prediction_type == "epsilon":
            return output
        alpha, sigma = self._levels(timesteps, x_t.ndim)
        if self.prediction_type == "sample":
            return (x_t - alpha * output) / sigma
        return sigma * x_t + alpha * output

    def output_from_x0(
        self, x0: Float[Tensor, "B *S"], x_t: Float[Tensor, "B *S"], timesteps: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B *S"]:
        """The output that stands for ``x0`` at ``x_t``: the inverse of :meth:`x0_from_output`.

        For v: ``alpha (x_t - alpha x0) / sigma - sigma x0 = (alpha x_t - x0) / sigma``.
        """
        if self.prediction_type == "sample":
            return x0
        alpha, sigma = self._levels(timesteps, x_t.ndim)
        if self.prediction_type == "epsilon":
            return (x_t - alpha * x0) / sigma
        return (alpha * x_t - x0) / sigma

    def _levels(self, timesteps: Tensor, ndim: int) -> tuple[Tensor, Tensor]:
        return self.schedule.alpha(timesteps, ndim), self.schedule.sigma(timesteps, ndim)
