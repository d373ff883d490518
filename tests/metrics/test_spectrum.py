"""Noise of known spectrum, frames of known structure."""

import numpy as np
import pytest
from scipy import fft, ndimage

from sfvd_pl.metrics.spectrum import BANDS, FINE_BANDS, FINE_PATCH_PX, noise_spectrum, structure_slope

SHAPE = (8, 96, 128)
NOTHING = np.zeros(SHAPE, np.bool_)


def noise(seed: int, blur: float = 0.0, level: float = 0.5, std: float = 0.02) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, 1, SHAPE)
    if blur:
        grain = ndimage.gaussian_filter(grain, (0, blur, blur), mode="wrap")
    return level + std * grain


def test_white_noise_has_a_flat_spectrum_of_its_deviation() -> None:
    found = noise_spectrum(noise(0), NOTHING)
    std, spectrum = found.std, found.shape
    assert std == pytest.approx(0.02, rel=0.03)
    assert spectrum.mean() == pytest.approx(1) and np.abs(spectrum - 1).max() < 0.15


def test_blurred_noise_has_the_spectrum_of_the_blur() -> None:
    spectrum = noise_spectrum(noise(1, blur=0.8), NOTHING).shape
    f = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))
    truth = np.exp(-((2 * np.pi * 0.8 * f) ** 2))
    bands = np.array([truth[(f >= a) & (f < b)].mean() for a, b in zip(BANDS, BANDS[1:], strict=False)])
    assert spectrum == pytest.approx(bands / bands.mean(), rel=0.15, abs=0.03)


def test_what_moves_lies_under_blades_or_is_excluded_isnt_noise() -> None:
    clip = noise(2)
    clip[:, :, :32] = 0.1  # blades without any noise
    clip[::2, 32:, 64:] += np.linspace(
        0, 0.6, 64
    )  # something that comes and goes in four of the nine open patches
    exclude = NOTHING.copy()
    exclude[3, 10, 70] = True
    found = noise_spectrum(clip, exclude)
    std, spectrum = found.std, found.shape
    assert std == pytest.approx(0.02, rel=0.04) and np.abs(spectrum - 1).max() < 0.2
    assert np.isnan(noise_spectrum(clip, ~NOTHING).std)
    assert np.isnan(noise_spectrum(clip[:1], NOTHING[:1]).std)


@pytest.mark.parametrize("slope", [-3.0, -2.0])
def test_slope_of_a_power_law(slope: float) -> None:
    f = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256))
    f[0, 0] = 1
    white = np.fft.rfft2(np.random.default_rng(4).normal(size=(256, 256)))
    assert structure_slope(np.fft.irfft2(white * f ** (slope / 2))) == pytest.approx(slope, abs=0.25)
    assert structure_slope(noise(3)[0]) == pytest.approx(0, abs=0.5)
    assert np.isnan(structure_slope(np.ones((64, 64))))


@pytest.mark.parametrize("blur", [0.0, 0.6])
def test_the_fine_spectrum_is_that_of_whole_frames(blur: float) -> None:
    clip = noise(6, blur)
    found = noise_spectrum(clip, NOTHING, bands=FINE_BANDS, patch_px=FINE_PATCH_PX, stride=8)
    # No patches, no window: scipy's periodogram along both axes of whole frames, averaged in rings.
    whole = np.abs(fft.fft2(np.diff(clip, axis=0) / np.sqrt(2))) ** 2 / (SHAPE[1] * SHAPE[2])
    f = np.hypot(fft.fftfreq(SHAPE[1])[:, None], fft.fftfreq(SHAPE[2]))
    rings = np.digitize(f, FINE_BANDS)
    expected = ndimage.mean(whole.mean(axis=0), rings, np.arange(1, len(FINE_BANDS)))
    assert found.power[1:] == pytest.approx(expected[1:], rel=0.1, abs=2e-5)
    # The mean of each patch is taken off, which costs the lowest band some of its power.
    assert 0.8 * expected[0] < found.power[0] < 1.02 * expected[0]
    assert found.shape == pytest.approx(found.power / found.power.mean())


def test_without_noise_there_is_no_spectrum() -> None:
    still = noise_spectrum(np.full(SHAPE, 0.5), NOTHING)
    assert still.std == 0 and np.isnan(still.shape).all()
    small = noise_spectrum(np.zeros((3, 20, 20)), np.zeros((3, 20, 20), np.bool_))
    assert np.isnan(small.std) and np.isnan(small.power).all()
