"""The noise schedule, against diffusers' tables and the formulas."""

import math
from typing import Any, Literal

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvd_pl.diffusion import NoiseSchedule, ScheduleConfig
from sfvd_pl.diffusion.schedule import cosine_alphas_cumprod
from sfvd_pl.errors import ConfigError

BETAS = {"cosine": "squaredcos_cap_v2", "linear": "linear"}


def reference(name: str, zero_terminal_snr: bool) -> Any:
    return DDIMScheduler(  # type: ignore[no-untyped-call]
        beta_schedule=BETAS[name],
        rescale_betas_zero_snr=zero_terminal_snr,
    )


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_table_is_that_of_diffusers(name: Literal["cosine", "linear"], zero_terminal_snr: bool) -> None:
    schedule = NoiseSchedule(ScheduleConfig(name=name, zero_terminal_snr=zero_terminal_snr))
    expected = reference(name, zero_terminal_snr).alphas_cumprod.double()
    # Relative: an entry that is off by one step differs by more than this everywhere but at the very start.
    torch.testing.assert_close(schedule.alphas_cumprod[:990], expected[:990], rtol=2e-4, atol=0)
    torch.testing.assert_close(schedule.alphas_cumprod, expected, rtol=2e-4, atol=2e-7)


@pytest.mark.parametrize("steps", [10, 100, 1000])
def test_cosine_is_not_off_by_one(steps: int) -> None:
    def f(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    table = cosine_alphas_cumprod(steps)
    assert table[0].item() == pytest.approx(f(1 / steps) / f(0), rel=1e-12)
    middle = steps // 2
    assert table[middle].item() == pytest.approx(f((middle + 1) / steps) / f(0), rel=1e-12)
    assert table[-1].item() == pytest.approx(table[-2].item() * 0.001, rel=1e-9), "the last beta is capped"


def test_zero_terminal_snr_is_exact_and_leaves_the_first_level() -> None:
    plain = NoiseSchedule(ScheduleConfig(zero_terminal_snr=False))
    zero = NoiseSchedule(ScheduleConfig(zero_terminal_snr=True))
    last = torch.tensor([999])
    assert zero.alpha(last).item() == 0 and zero.sigma(last).item() == 1 and zero.snr(last).item() == 0
    assert plain.snr(last).item() > 0
    assert zero.alphas_cumprod[0] == pytest.approx(plain.alphas_cumprod[0].item(), rel=1e-12)


@given(
    shift=st.floats(0.05, 20),
    zero_terminal_snr=st.booleans(),
    steps=st.integers(2, 300),
)
@settings(max_examples=40, deadline=None)
def test_levels_fall_and_keep_the_variance(shift: float, zero_terminal_snr: bool, steps: int) -> None:
    config = ScheduleConfig("shifted_cosine", steps, shift, zero_terminal_snr)
    schedule = NoiseSchedule(config)
    t = torch.arange(steps)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    assert (schedule.alphas_cumprod.diff() < 0).all()
    assert (sigma > 0).all()
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(steps))


@pytest.mark.parametrize("shift", [0.25, 0.5, 2.0])
def test_shift_moves_log_snr_by_a_constant(shift: float) -> None:
    t = torch.arange(990)
    plain = NoiseSchedule(ScheduleConfig("cosine", zero_terminal_snr=False)).snr(t)
    moved = NoiseSchedule(ScheduleConfig("shifted_cosine", shift=shift, zero_terminal_snr=False)).snr(t)
    torch.testing.assert_close(
        moved.log() - plain.log(), torch.full((990,), 2 * math.log(shift)), rtol=1e-4, atol=1e-4
    )


def test_add_noise_and_velocity_are_those_of_diffusers() -> None:
    torch.manual_seed(0)
    schedule = NoiseSchedule(ScheduleConfig(zero_terminal_snr=False))
    theirs: Any = DDPMScheduler(beta_schedule="squaredcos_cap_v2")  # type: ignore[no-untyped-call]
    t = torch.tensor([0, 1, 500, 998, 999])
    for shape in [(5, 1, 4, 6), (5, 2, 3, 4, 6)]:
        x0, noise = torch.randn(shape), torch.randn(shape)
        torch.testing.assert_close(
            schedule.add_noise(x0, noise, t), theirs.add_noise(x0, noise, t), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("ndim", [1, 4, 5])
def test_levels_broadcast(ndim: int) -> None:
    schedule = NoiseSchedule()
    t = torch.tensor([3, 700])
    for level in (schedule.alpha(t, ndim), schedule.sigma(t, ndim)):
        assert level.shape == (2, *[1] * (ndim - 1)) and level.dtype == torch.float32


@pytest.mark.parametrize("bad", [-1, 1000])
def test_a_timestep_outside_is_refused(bad: int) -> None:
    with pytest.raises(ConfigError, match="outside the schedule"):
        NoiseSchedule().alpha(torch.tensor([0, bad]))


@pytest.mark.parametrize(
    ("bad", "key"),
    [
        ({"name": "sigmoid"}, "name"),
        ({"num_train_timesteps": 1}, "num_train_timesteps"),
        ({"name": "linear", "num_train_timesteps": 20}, "num_train_timesteps"),
        ({"name": "shifted_cosine", "shift": 0.0}, "shift"),
        ({"name": "shifted_cosine", "shift": math.inf}, "shift"),
        ({"name": "shifted_cosine", "shift": math.nan}, "shift"),
        ({"name": "cosine", "shift": 0.5}, "shift"),
    ],
)
def test_contradictions_are_refused(bad: dict[str, object], key: str) -> None:
    config = ScheduleConfig()
    for name, value in bad.items():
        # Past the constructor, where the type checks that tests switch on would stop a wrong literal first.
        object.__setattr__(config, name, value)
    with pytest.raises(ConfigError) as caught:
        config.__post_init__()
    assert caught.value.key == key


def test_a_short_linear_table_keeps_the_sum_of_betas() -> None:
    long = NoiseSchedule(ScheduleConfig("linear", 1000, zero_terminal_snr=False))
    short = NoiseSchedule(ScheduleConfig("linear", 250, zero_terminal_snr=False))
    # Half way, the cumulative product of both is exp(-sum of betas) to first order.
    assert short.alphas_cumprod[124].log().item() == pytest.approx(
        long.alphas_cumprod[499].log().item(), rel=0.02
    )


def test_levels_follow_the_device_of_the_timesteps() -> None:
    schedule = NoiseSchedule()
    elsewhere = torch.zeros(2, dtype=torch.int64, device="meta")
    assert schedule.sigma(elsewhere, 4).device.type == "meta"
    assert schedule.sigma(torch.zeros(2, dtype=torch.int64), 4).device.type == "cpu"
