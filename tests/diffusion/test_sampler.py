"""The samplers, against diffusers over whole trajectories and against a Gaussian whose denoiser is known."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sfvd_pl.diffusion import (
    NoiseSchedule,
    Prediction,
    Sampler,
    SamplerConfig,
    ScheduleConfig,
    inference_timesteps,
    sample_noise,
)
from sfvd_pl.errors import ConfigError

PLAIN = NoiseSchedule(ScheduleConfig(zero_terminal_snr=False))
ZERO = NoiseSchedule()


def toy_denoiser(x: Tensor, t: Tensor) -> Tensor:
    """Smooth in x and t, bounded, and of no physical meaning: any function tells two solvers apart."""
    level = t.reshape(-1, *[1] * (x.ndim - 1)) / 1000
    return torch.tanh(x * (0.5 + level)) + 0.2 * torch.sin(3 * x + level)


SHAPE = (2, 1, 5, 6)


def x_T() -> Tensor:
    return sample_noise(0, [3, 4], SHAPE[1:], "x_T")


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-3) -> None:
    """Equal up to ``tolerance`` of the largest value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * expected.abs().max().item())


def step_noise(shape: tuple[int, ...]) -> Callable[[int], Tensor]:
    return lambda step: sample_noise(7, range(shape[0]), shape[1:], f"step {step}")


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_ddim_is_that_of_diffusers(kind: str, eta: float, zero_terminal_snr: bool) -> None:
    zero_terminal_snr = zero_terminal_snr and kind != "epsilon"
    # At zero SNR and eta 1 theirs takes the root of a difference that rounds to below 0: NaN from there on.
    eta = min(eta, 0.999) if zero_terminal_snr else eta
    theirs: Any = DDIMScheduler(  # type: ignore[no-untyped-call]
        beta_schedule="squaredcos_cap_v2",
        prediction_type=kind,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=zero_terminal_snr,
        clip_sample=False,
    )
    theirs.set_timesteps(20)  # divides 1000: diffusers infers the next time from an even gap
    noise, start = step_noise(SHAPE), x_T()
    x = start
    for step, t in enumerate(theirs.timesteps):
        x = theirs.step(
            toy_denoiser(x, t.expand(2)), int(t), x, eta=eta, variance_noise=noise(step)
        ).prev_sample
    prediction = Prediction(ZERO if zero_terminal_snr else PLAIN, kind)
    ours = Sampler(prediction, SamplerConfig("ddim", 20, eta))
    assert ours.timesteps() == theirs.timesteps.tolist()
    close(ours.sample(toy_denoiser, start, step_noise=noise), x)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_clamping_takes_the_noise_along_as_in_diffusers(eta: float) -> None:
    theirs: Any = DDIMScheduler(  # type: ignore[no-untyped-call]
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=True,
        clip_sample_range=0.4,
    )
    theirs.set_timesteps(20)
    noise, start = step_noise(SHAPE), x_T()
    x = start
    for step, t in enumerate(theirs.timesteps):
        output = toy_denoiser(x, t.expand(2))
        x = theirs.step(
            output, int(t), x, eta=eta, use_clipped_model_output=True, variance_noise=noise(step)
        ).prev_sample
    sampler = Sampler(Prediction(PLAIN), SamplerConfig("ddim", 20, eta, clip_x0=(-0.4, 0.4)))
    result = sampler.sample(toy_denoiser, start, step_noise=noise)
    close(result, x)
    assert result.abs().max() <= 0.4


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("steps", [8, 20])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_dpmpp_2m_is_that_of_diffusers(kind: str, steps: int, zero_terminal_snr: bool) -> None:
    zero_terminal_snr = zero_terminal_snr and kind != "epsilon"
    theirs: Any = DPMSolverMultistepScheduler(  # type: ignore[no-untyped-call]
        beta_schedule="squaredcos_cap_v2",
        prediction_type=kind,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=zero_terminal_snr,
        final_sigmas_type="zero",
    )
    theirs.set_timesteps(steps)
    x = start = x_T()
    for t in theirs.timesteps:
        x = theirs.step(toy_denoiser(x, t.expand(2)), t, x).prev_sample
    prediction = Prediction(ZERO if zero_terminal_snr else PLAIN, kind)
    ours = Sampler(prediction, SamplerConfig("dpmpp_2m", steps))
    assert ours.timesteps() == theirs.timesteps.tolist()
    # Their zero SNR is 2^-24, so their second step is not quite of first order as ours is.
    close(ours.sample(toy_denoiser, start), x, 2e-2 if zero_terminal_snr else 1e-3)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m"])
def test_a_clip_is_sampled_like_its_frames(name: str) -> None:
    sampler = Sampler(Prediction(ZERO), SamplerConfig(name, 6, 0.0))  # type: ignore[arg-type]
    clip = sample_noise(1, [1, 2], (1, 3, 4, 5), "clip")
    together = sampler.sample(toy_denoiser, clip)
    apart = torch.stack([sampler.sample(toy_denoiser, frame) for frame in clip.unbind(2)], dim=2)
    assert torch.equal(together, apart)


@given(
    train=st.integers(2, 1200),
    data=st.data(),
    spacing=st.sampled_from(["trailing", "quadratic", "quadratic_high", "cosine", "linspace"]),
)
@settings(max_examples=80, deadline=None)
def test_times_fall_strictly_from_the_noisiest(train: int, data: st.DataObject, spacing: str) -> None:
    steps = data.draw(st.integers(2, train))
    times = inference_timesteps(SamplerConfig(num_inference_steps=steps, timestep_spacing=spacing), train)  # type: ignore[arg-type]
    assert len(times) == steps and times[0] == train - 1 and times[-1] >= 0
    assert all(a > b for a, b in zip(times, times[1:], strict=False))
    if spacing == "linspace":
        assert times[-1] == 0


@pytest.mark.parametrize("steps", [7, 10, 25, 999])
def test_times_are_those_of_diffusers(steps: int) -> None:
    for spacing in ("trailing", "linspace"):
        theirs: Any = DDIMScheduler(timestep_spacing=spacing)  # type: ignore[no-untyped-call]
        theirs.set_timesteps(steps)
        config = SamplerConfig(num_inference_steps=steps, timestep_spacing=spacing)
        assert inference_timesteps(config, 1000) == theirs.timesteps.tolist()


def gaussian_denoiser(prediction: Prediction, mean: float, std: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The exact denoiser of x0 ~ N(mean, std^2): the posterior mean of x0 given x_t."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = prediction.schedule.alpha(t, x.ndim), prediction.schedule.sigma(t, x.ndim)
        gain = std**2 * alpha / (std**2 * alpha**2 + sigma**2)
        return prediction.output_from_x0(mean + gain * (x - alpha * mean), x, t)

    return denoise


def gaussian_result(
    name: str,
    steps: int,
    eta: float,
    spacing: str,
    std: float,
    kind: str = "v_prediction",
    schedule: NoiseSchedule | None = None,
) -> Tensor:
    schedule = schedule or (PLAIN if kind == "epsilon" else ZERO)
    prediction = Prediction(schedule, kind)
    sampler = Sampler(prediction, SamplerConfig(name, steps, eta, spacing))  # type: ignore[arg-type]
    shape = (1, 1, 100, 100)
    start = sample_noise(0, [0], shape[1:], "x_T")
    return sampler.sample(gaussian_denoiser(prediction, 0.3, std), start, step_noise=step_noise(shape))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("dpmpp_2m", 0.0)])
def test_many_steps_give_the_right_gaussian(name: str, eta: float, kind: str) -> None:
    x0 = gaussian_result(name, 500, eta, "trailing", 0.5, kind)
    assert x0.mean().item() == pytest.approx(0.3, abs=0.02)
    assert x0.std().item() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(
    ("name", "eta", "spacing", "grain", "brightness"),
    [
        ("ddim", 1.0, "trailing", (0.65, 0.80, 0.87), (0.40, 0.69, 0.82)),
        ("ddim", 1.0, "quadratic", (0.75, 0.88, 0.93), (0.21, 0.47, 0.68)),
        ("ddim", 1.0, "quadratic_high", (0.48, 0.70, 0.80), (0.68, 0.84, 0.91)),
        ("ddim", 0.0, "trailing", (0.70, 0.87, 0.93), (0.36, 0.66, 0.82)),
        ("ddim", 0.0, "quadratic", (0.85, 0.94, 0.97), (0.20, 0.43, 0.66)),
        ("ddim", 0.0, "quadratic_high", (0.51, 0.77, 0.88), (0.76, 0.90, 0.95)),
        ("dpmpp_2m", 0.0, "trailing", (0.75, 0.95, 0.99), (0.37, 0.68, 0.85)),
        ("dpmpp_2m", 0.0, "quadratic", (1.04, 1.01, 1.00), (0.20, 0.45, 0.68)),
        ("dpmpp_2m", 0.0, "quadratic_high", (0.52, 0.83, 0.95), (0.85, 0.98, 1.00)),
        ("dpmpp_2m", 0.0, "cosine", (1.00, 1.04, 1.01), (0.72, 0.95, 0.99)),
    ],
)
def test_few_steps_lose_spread_as_documented(
    name: str, eta: float, spacing: str, grain: tuple[float, ...], brightness: tuple[float, ...]
) -> None:
    for std, shares in ((0.2, grain), (0.25 * 64, brightness)):
        found = [gaussian_result(name, n, eta, spacing, std).std().item() / std for n in (10, 25, 50)]
        assert found == pytest.approx(list(shares), abs=0.03)


@pytest.mark.parametrize(
    ("shift", "spacing", "share"), [(1.0, "quadratic", 0.15), (1.0, "cosine", 0.84), (0.25, "cosine", 0.96)]
)
def test_brightness_of_a_larger_frame(shift: float, spacing: str, share: float) -> None:
    """The share of its spread that 30 steps keep at 256 x 256 pixels, as documented."""
    schedule = NoiseSchedule(ScheduleConfig("shifted_cosine", shift=shift))
    std = 0.25 * 256
    found = gaussian_result("dpmpp_2m", 30, 0.0, spacing, std, schedule=schedule).std().item() / std
    assert found == pytest.approx(share, abs=0.03)


def test_a_result_does_not_depend_on_the_batch() -> None:
    sampler = Sampler(Prediction(ZERO), SamplerConfig("ddim", 5, 1.0))

    def draw(ids: list[int]) -> Tensor:
        start = sample_noise(0, ids, (1, 4, 4), "x_T")
        return sampler.sample(
            toy_denoiser, start, step_noise=lambda i: sample_noise(0, ids, (1, 4, 4), f"step {i}")
        )

    torch.testing.assert_close(draw([5, 6, 7])[1:2], draw([6]), rtol=0, atol=1e-6)


def test_noise_is_asked_for_only_where_it_is_used() -> None:
    asked: list[int] = []

    def noise(step: int) -> Tensor:
        asked.append(step)
        return torch.zeros(SHAPE)

    Sampler(Prediction(ZERO), SamplerConfig("ddim", 5, 1.0)).sample(toy_denoiser, x_T(), step_noise=noise)
    assert asked == [0, 1, 2, 3], "the last step has none"
    Sampler(Prediction(ZERO), SamplerConfig("ddim", 5, 0.0)).sample(toy_denoiser, x_T(), step_noise=noise)
    Sampler(Prediction(ZERO), SamplerConfig("dpmpp_2m", 5)).sample(toy_denoiser, x_T(), step_noise=noise)
    assert asked == [0, 1, 2, 3]


def test_the_guide_sees_every_step_s_estimate_and_decides() -> None:
    prediction = Prediction(ZERO)
    sampler = Sampler(prediction, SamplerConfig("ddim", 4, 0.0))
    seen: list[tuple[int, int]] = []
    states: list[tuple[Tensor, Tensor]] = []

    def counting(x: Tensor, t: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        states.append((x, t))
        return toy_denoiser(x, t)

    def guide(x0: Tensor, step: int, num_steps: int) -> Tensor:
        seen.append((step, num_steps))
        x, t = states[-1]
        assert torch.equal(x0, prediction.x0_from_output(toy_denoiser(x, t), x, t))
        return torch.full(SHAPE, 0.25)

    result = sampler.sample(counting, x_T(), x0_guidance=guide)
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert len(states) == 4, "one call of the denoiser a step"
    assert torch.equal(result, torch.full(SHAPE, 0.25))


def test_a_guided_step_moves_as_classifier_guidance_says() -> None:
    """Algorithm 2 of arXiv 2105.05233 in its own terms: eps' = eps - sigma grad, then a DDIM step."""
    sampler = Sampler(Prediction(PLAIN, "epsilon"), SamplerConfig("ddim", 4, 0.0))
    assert sampler.timesteps()[2:] == [499, 249]
    grad, t, states = torch.full(SHAPE, 0.1), torch.tensor([499, 499]), []
    alpha, sigma = PLAIN.alpha(t, 4), PLAIN.sigma(t, 4)

    def denoiser(x: Tensor, times: Tensor) -> Tensor:
        states.append(x)
        return toy_denoiser(x, times)

    def guide(x0: Tensor, step: int, num_steps: int) -> Tensor:
        return x0 + sigma**2 / alpha * grad if step == 2 else x0

    sampler.sample(denoiser, x_T(), x0_guidance=guide)
    eps = toy_denoiser(states[2], t) - sigma * grad
    x0 = (states[2] - sigma * eps) / alpha
    torch.testing.assert_close(states[3], PLAIN.add_noise(x0, eps, torch.tensor([249, 249])), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("dpmpp_2m", 0.0)])
def test_outside_the_region_x_t_is_the_given_picture_noised_and_the_result_is_it(name: str, eta: float) -> None:
    picture, region = 3 * sample_noise(5, [0, 1], SHAPE[1:], "x0"), torch.zeros(SHAPE)
    region[..., 1:4, 2:] = 1
    config = SamplerConfig(name, 6, eta, clip_x0=(-1.0, 1.0), lattice=2)  # type: ignore[arg-type]
    sampler, states, noises = Sampler(Prediction(ZERO), config), [], []

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        states.append((x, t))
        return toy_denoiser(x, t)

    def guide(x0: Tensor, step: int, num_steps: int) -> Tensor:
        return x0 + 0.3

    result = sampler.sample(
        denoiser, x_T(), step_noise=step_noise(SHAPE), x0_guidance=guide, given=(picture, region)
    )
    outside = region == 0
    assert torch.equal(result[outside], picture[outside])
    assert result[~outside].abs().max() <= 1
    for x, t in states:
        noises.append(((x - ZERO.alpha(t, 4) * picture) / ZERO.sigma(t, 4))[outside])
    if eta == 0:  # the noise that it started with
        assert all(torch.allclose(noise, x_T()[outside], atol=1e-4) for noise in noises)
    else:
        assert all(0.6 < noise.std() < 1.4 for noise in noises)
    elsewhere = sampler.sample(toy_denoiser, x_T(), step_noise=step_noise(SHAPE), given=(picture, torch.ones(SHAPE)))
    assert elsewhere.abs().max() <= 1, "nothing is given where everything is to be drawn"


def test_a_stochastic_sampler_without_noise_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs noise"):
        Sampler(Prediction(ZERO), SamplerConfig("ddim", 3, 0.5)).sample(toy_denoiser, x_T())


@pytest.mark.parametrize(
    ("bad", "key"),
    [
        ({"name": "euler"}, "name"),
        ({"timestep_spacing": "leading"}, "timestep_spacing"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 1, "timestep_spacing": "linspace"}, "num_inference_steps"),
        ({"eta": -0.1}, "eta"),
        ({"eta": 1.1}, "eta"),
        ({"eta": math.nan}, "eta"),
        ({"clip_x0": (1.0, 1.0)}, "clip_x0"),
    ],
)
def test_values_out_of_range_are_refused(bad: dict[str, object], key: str) -> None:
    config = SamplerConfig()
    for name, value in bad.items():
        # Past the constructor, where the type checks that tests switch on would stop a wrong literal first.
        object.__setattr__(config, name, value)
    with pytest.raises(ConfigError) as caught:
        config.__post_init__()
    assert caught.value.key == key


def test_more_steps_than_times_are_refused() -> None:
    with pytest.raises(ConfigError, match="more steps than"):
        Sampler(
            Prediction(NoiseSchedule(ScheduleConfig(num_train_timesteps=10))),
            SamplerConfig(num_inference_steps=11),
        )
