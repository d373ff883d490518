"""Pictures displaced by known flows, with known noise, brightness that changes by known amounts."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.registration import optical_flow_tvl1
from skimage.transform import AffineTransform
from skimage.transform import warp as skimage_warp

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.flow import (
    LOW_PASS_PX,
    SMOOTHNESS,
    flicker_measures,
    flow_between,
    smoothness_measures,
    warp,
    warp_measures,
)

SIDE = 64


def anatomy(seed: int = 0, blur: float = 5.0) -> np.ndarray:
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), blur, mode="wrap")
    return 0.5 + 0.08 * texture / texture.std()


def moved(step: float, frames: int = 5) -> np.ndarray:
    shifts = [(0.4 * t * step, t * step) for t in range(frames)]
    return np.stack([ndimage.shift(anatomy(), shift, order=3, mode="grid-wrap") for shift in shifts])


def nowhere(clip: np.ndarray) -> np.ndarray:
    return np.zeros(clip.shape, np.bool_)


def noisy(clip: np.ndarray, std: float, seed: int = 1) -> np.ndarray:
    return clip + np.random.default_rng(seed).normal(0, std, clip.shape)


def test_a_known_flow_is_found_and_agrees_with_tvl1() -> None:
    first, second = moved(1.0, 2)
    flow = flow_between(first, second)[:, 12:-12, 12:-12]
    assert np.abs(flow[0] - 0.4).mean() < 0.1 and np.abs(flow[1] - 1.0).mean() < 0.1
    other = optical_flow_tvl1(first * 5, second * 5)[:, 12:-12, 12:-12]
    assert np.abs(flow - other).mean() < 0.15


def test_flow_doesnt_depend_on_the_scale_of_grey_values() -> None:
    first, second = moved(1.0, 2)
    assert flow_between(first / 1e4, second / 1e4) == pytest.approx(flow_between(first, second), abs=1e-6)


def test_the_warp_is_scikit_images() -> None:
    image, flow = anatomy(), np.zeros((2, SIDE, SIDE))
    flow[0] += 0.4
    flow[1] += 1.3
    theirs = skimage_warp(image, AffineTransform(translation=(1.3, 0.4)), order=1, mode="constant", cval=np.nan)
    assert warp(image, flow) == pytest.approx(theirs, nan_ok=True)


def test_motion_that_flows_is_taken_away() -> None:
    clip = moved(1.5)
    found = warp_measures(clip, nowhere(clip))
    assert found["warp_error"] < 0.2 * found["still_error"]


def test_pictures_that_dont_belong_together_have_a_large_error() -> None:
    flowing = noisy(moved(1.0), 0.01)
    jumping = noisy(np.stack([anatomy(seed, blur=2.5) for seed in range(5)]), 0.01)
    assert (
        warp_measures(jumping, nowhere(jumping))["warp_ratio"]
        > 3 * warp_measures(flowing, nowhere(flowing))["warp_ratio"]
    )


@pytest.mark.parametrize("std", [0.01, 0.04])
def test_noise_alone_gives_the_noise_floor(std: float) -> None:
    clip = noisy(np.repeat(anatomy(blur=8.0)[None], 8, axis=0), std)
    found = warp_measures(clip, nowhere(clip), pairs=7)
    theory = np.sqrt(2) * std / (2 * np.sqrt(np.pi) * LOW_PASS_PX)
    assert found["noise_floor"] == pytest.approx(theory, rel=0.12)
    assert found["still_error"] == pytest.approx(theory, rel=0.12)
    assert 0.6 < found["warp_ratio"] < 1.05, "the flow fits some of the noise"


def test_what_happens_at_the_wire_isnt_judged() -> None:
    clip = noisy(np.repeat(anatomy()[None], 4, axis=0), 0.01)
    wire = np.zeros(clip.shape, np.uint8)
    for t in range(4):
        column = 20 + 5 * t
        wire[t, 5:60, column : column + 2] = 1
    quiet = smoothness_measures(clip, wire, intensity_max=1)
    clip[wire != 0] -= 0.3
    found = smoothness_measures(clip, wire, intensity_max=1)
    blind = smoothness_measures(clip, np.zeros_like(wire), intensity_max=1)
    assert found["flicker"] == pytest.approx(quiet["flicker"])
    assert found["warp_error"] < 1.5 * quiet["warp_error"] and blind["warp_error"] > 3 * quiet["warp_error"]


def test_flicker_of_a_known_size() -> None:
    steps = np.array([0.0, 0.02, -0.01, 0.03])
    clip = np.repeat(anatomy()[None], 4, axis=0) + steps[:, None, None]
    found = flicker_measures(clip, nowhere(clip))
    assert found["flicker"] == pytest.approx(np.sqrt((np.diff(steps) ** 2).mean()))
    assert found["local_flicker"] == pytest.approx(0, abs=1e-9)


def test_local_flicker_doesnt_see_the_mean_and_hardly_sees_grain() -> None:
    slope = np.linspace(-0.05, 0.05, SIDE)
    clip = np.stack([anatomy() + sign * slope for sign in (1, -1, 1)])
    found = flicker_measures(clip, nowhere(clip))
    assert found["flicker"] == pytest.approx(0, abs=1e-9)
    assert found["local_flicker"] == pytest.approx(2 * slope.std(), rel=0.15)
    grain = noisy(np.full((6, SIDE, SIDE), 0.5), 0.02)
    assert flicker_measures(grain, nowhere(grain))["local_flicker"] < 0.1 * 0.02


@pytest.mark.parametrize(
    "clip",
    [np.zeros((1, SIDE, SIDE)), np.full((3, SIDE, SIDE), 0.5), np.zeros((3, 20, 20))],
    ids=["one frame", "constant", "too small"],
)
def test_edges(clip: np.ndarray) -> None:
    found = smoothness_measures(clip, np.zeros(clip.shape, np.uint8), intensity_max=1)
    assert tuple(found) == SMOOTHNESS
    assert np.isnan(found["warp_ratio"])
    everywhere = smoothness_measures(clip, np.ones(clip.shape, np.uint8), intensity_max=1)
    assert all(np.isnan(value) for value in everywhere.values())


def test_values_are_shares_of_full_scale() -> None:
    clip = noisy(moved(1.0), 0.01)
    wire = np.zeros(clip.shape, np.uint8)
    ours, theirs = (smoothness_measures(clip * scale, wire, intensity_max=scale) for scale in (1, 4095))
    assert ours == pytest.approx(theirs, rel=1e-4)
    with pytest.raises(MetricsError, match="shape"):
        smoothness_measures(clip, wire[1:])
