"""The dial, on clips that are built with a known attenuation."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from sfvd_pl.augment.dial import (
    FADE_PX,
    LEAST_CONTRAST,
    MOST_CONTRAST,
    REACH_PX,
    attenuation,
    attenuation_cnr,
    contrast_for,
    drawn_share,
)
from sfvd_pl.metrics.visibility import clip_median, clip_visibility

Clip = tuple[np.ndarray, np.ndarray, np.ndarray]


def scene(seed: int, frames: int = 3, size: int = 64, true: float = 0.06) -> Clip:
    """A frame with structure and grain, the attenuation of a slanted wire through it, and the wire's mask."""
    rng = np.random.default_rng(seed)
    slow = gaussian_filter(rng.normal(size=(size, size)), 8)
    base = 0.5 + 0.05 * slow / slow.std() + rng.normal(0, 0.02, (frames, size, size))
    rows, columns = np.indices((size, size))
    distance = np.stack([np.abs(rows - size / 2 - rng.uniform(-0.5, 0.5) * columns - t) for t in range(frames)])
    attenuated = (true * np.exp(-0.5 * (distance / 0.8) ** 2)).astype(np.float32)
    return base.astype(np.float32), attenuated, (distance <= 1.0).astype(np.uint8)


def nothing(mask: np.ndarray) -> np.ndarray:
    return np.zeros_like(mask)


def test_the_pair_gives_the_attenuation_back_near_the_wire_and_nothing_elsewhere() -> None:
    base, true, mask = scene(0)
    found = attenuation(base * np.exp(-true), base, mask)
    distance = np.stack([distance_transform_edt(wire == 0) for wire in mask])
    near, between = distance <= REACH_PX, (distance > REACH_PX) & (distance < FADE_PX)
    np.testing.assert_allclose(found[near], true[near], atol=0.002)
    assert not found[distance >= FADE_PX].any()
    fade = (FADE_PX - distance) / (FADE_PX - REACH_PX)
    np.testing.assert_allclose(found[between], (true * fade)[between], atol=0.002)
    shade = 0.02 * np.sin(np.indices(base.shape)[1] / 15).astype(np.float32)
    np.testing.assert_allclose(attenuation(base * np.exp(-true - shade), base, mask), found, atol=0.004)
    black = attenuation(np.zeros_like(base), base, mask)
    assert np.isfinite(black).all(), "a pixel without signal has no logarithm"
    assert not attenuation(base * 0.9, base, nothing(mask)).any()


@pytest.mark.parametrize("asked", [0.5, 1.0, 2.0, 4.0, 7.0, 10.0])
@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_the_power_meets_the_request(asked: float, noise: float) -> None:
    """Also where the pair's difference has noise of its own around the wire."""
    base, true, mask = scene(1, true=0.12)
    without = base * np.exp(np.random.default_rng(0).normal(0, noise, base.shape)).astype(np.float32)
    attenuated = attenuation(base * np.exp(-true), without, mask)
    contrast = contrast_for(base, attenuated, mask, nothing(mask), asked)
    seen = clip_median(clip_visibility(base * np.exp(-contrast * attenuated), mask))
    assert seen == pytest.approx(asked, rel=0.02)


def test_requested_against_measured_over_random_clips() -> None:
    """On pixels as they are written, 8 bits deep."""
    rng, asked, seen = np.random.default_rng(3), [], []
    for seed in range(40):
        base, attenuated, mask = scene(seed, true=float(rng.uniform(0.03, 0.15)))
        asked.append(float(np.exp(rng.uniform(np.log(0.5), np.log(8.0)))))
        contrast = contrast_for(base, attenuated, mask, nothing(mask), asked[-1])
        pixels = np.round(255 * np.clip(base * np.exp(-contrast * attenuated), 0, 1))
        seen.append(clip_median(clip_visibility(pixels, mask)))
    assert np.corrcoef(asked, seen)[0, 1] > 0.98


def test_pixels_to_ignore_do_not_count_in_the_ring() -> None:
    base, attenuated, mask = scene(2)
    other = base.copy()
    other[:, :, 32:] *= 1 + 0.5 * (mask[:, :, 32:] == 0)  # something bright beside half of the wire
    ignore = nothing(mask)
    ignore[:, :, 30:] = 1 - mask[:, :, 30:]
    here, there = (contrast_for(frames, attenuated, mask, ignore, 3.0) for frames in (base, other))
    assert here == pytest.approx(there, rel=1e-3)
    assert contrast_for(other, attenuated, mask, nothing(mask), 3.0) != pytest.approx(here, rel=0.1)


def test_out_of_reach_it_is_the_least_or_the_greatest_power() -> None:
    base, attenuated, mask = scene(4)
    assert contrast_for(base, attenuated, mask, nothing(mask), -50.0) == pytest.approx(LEAST_CONTRAST, rel=0.01)
    assert contrast_for(base, 0 * attenuated, mask, nothing(mask), 50.0) == pytest.approx(MOST_CONTRAST, rel=0.01)


def test_attenuation_cnr_by_hand() -> None:
    rng = np.random.default_rng(0)
    base, mask = rng.normal(0.5, 0.02, (3, 40, 40)), np.zeros((3, 40, 40), np.uint8)
    mask[:2, 20:22, 5:35] = 1
    attenuated = 0.1 * mask.astype(np.float32)
    values = []
    for frame in range(2):
        distance = distance_transform_edt(mask[frame] == 0)
        around = base[frame][(distance > 2) & (distance <= 5)]
        values.append((base[frame] * (1 - np.exp(-0.1)))[mask[frame] > 0].mean() / around.std())
    assert attenuation_cnr(base, attenuated, mask) == pytest.approx(np.median(values), rel=1e-5)
    dark = base - 0.2 * mask  # a dark line that was there before is not what was drawn
    assert attenuation_cnr(dark, attenuated, mask) < values[0]
    assert np.isnan(attenuation_cnr(base, attenuated, nothing(mask)))


@pytest.mark.parametrize("share", [1.0, 0.75, 0.5])
def test_drawn_share_is_the_part_of_the_line_that_was_drawn(share: float) -> None:
    mask = np.zeros((2, 60, 120), np.uint8)
    mask[:, 30:33, 10:110] = 1
    attenuated = 0.1 * mask.astype(np.float32)
    attenuated[:, :, 10 + int(100 * share) :] = 0
    noise = np.random.default_rng(0).normal(0, 0.005, mask.shape)
    assert drawn_share((attenuated + noise).astype(np.float32), mask) == pytest.approx(share, abs=0.04)
    assert np.isnan(drawn_share(attenuated, nothing(mask)))


def test_median_ignores_frames_that_could_not_be_measured() -> None:
    assert clip_median(np.array([1.0, np.nan, 3.0, 8.0])) == 3.0
    assert np.isnan(clip_median(np.array([np.nan, np.nan])))
