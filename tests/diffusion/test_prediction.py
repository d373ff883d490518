"""Prediction types: round trips, diffusers' velocity, and zero terminal SNR."""

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvd_pl.diffusion import NoiseSchedule, Prediction, ScheduleConfig
from sfvd_pl.errors import ConfigError

PLAIN = NoiseSchedule(ScheduleConfig(zero_terminal_snr=False))
ZERO = NoiseSchedule(ScheduleConfig(zero_terminal_snr=True))
ALL = [
    (PLAIN, "epsilon"),
    (PLAIN, "v_prediction"),
    (PLAIN, "sample"),
    (ZERO, "v_prediction"),
    (ZERO, "sample"),
]


@pytest.mark.parametrize(("schedule", "kind"), ALL)
@given(t=st.integers(5, 900), seed=st.integers(0, 2**31), clip=st.booleans())
@settings(max_examples=25, deadline=None)
def test_round_trips(schedule: NoiseSchedule, kind: str, t: int, seed: int, clip: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 1, 3, 4, 5) if clip else (2, 1, 4, 5)
    x0, noise = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    timesteps = torch.tensor([t, 999 - t])
    prediction = Prediction(schedule, kind)
    x_t = schedule.add_noise(x0, noise, timesteps)
    target = prediction.training_target(x0, noise, timesteps)
    # The tolerance is float32 divided by the smallest level here, about 0.01.
    torch.testing.assert_close(prediction.x0_from_output(target, x_t, timesteps), x0, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        prediction.noise_from_output(target, x_t, timesteps), noise, rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(prediction.output_from_x0(x0, x_t, timesteps), target, rtol=1e-3, atol=1e-3)


def test_targets_by_hand() -> None:
    x0, noise, t = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -3.0), torch.tensor([400])
    alpha, sigma = PLAIN.alpha(t).item(), PLAIN.sigma(t).item()
    assert Prediction(PLAIN, "epsilon").training_target(x0, noise, t).item() == -3
    assert Prediction(PLAIN, "sample").training_target(x0, noise, t).item() == 2
    v = Prediction(PLAIN, "v_prediction").training_target(x0, noise, t).item()
    assert v == pytest.approx(alpha * -3 - sigma * 2)


def test_velocity_is_that_of_diffusers() -> None:
    torch.manual_seed(1)
    x0, noise, t = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3), torch.tensor([0, 10, 500, 999])
    theirs: Any = DDPMScheduler(beta_schedule="squaredcos_cap_v2")  # type: ignore[no-untyped-call]
    expected = theirs.get_velocity(x0, noise, t)
    ours = Prediction(PLAIN, "v_prediction").training_target(x0, noise, t)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_nothing_divides_by_zero_at_zero_snr(kind: str) -> None:
    torch.manual_seed(2)
    x0, noise, t = torch.randn(1, 1, 3, 3), torch.randn(1, 1, 3, 3), torch.tensor([999])
    prediction = Prediction(ZERO, kind)
    x_t = ZERO.add_noise(x0, noise, t)
    assert torch.equal(x_t, noise)
    target = prediction.training_target(x0, noise, t)
    torch.testing.assert_close(prediction.x0_from_output(target, x_t, t), x0)
    torch.testing.assert_close(prediction.noise_from_output(target, x_t, t), noise)
    torch.testing.assert_close(prediction.output_from_x0(x0, x_t, t), target)


def test_epsilon_with_zero_terminal_snr_is_refused() -> None:
    with pytest.raises(ConfigError, match="no signal is left") as caught:
        Prediction(ZERO, "epsilon")
    assert caught.value.remedy is not None and "v_prediction" in caught.value.remedy


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown prediction type"):
        Prediction(PLAIN, "score")
