"""Two sets of clips beside one another: noise of known spectrum and memory, shadows of known width and depth."""

import numpy as np
import pytest
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.compare import (
    BANDS,
    as_markdown,
    compare_sets,
    measure_clip,
    noise_spectrum,
    shadow_profile,
    structure_slope,
)
from sfvd_pl.metrics.visibility import clip_visibility

SHAPE = (8, 96, 128)
NOTHING = np.zeros(SHAPE, np.bool_)


def noise(seed: int, blur: float = 0.0, level: float = 0.5, std: float = 0.02) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, 1, SHAPE)
    if blur:
        grain = ndimage.gaussian_filter(grain, (0, blur, blur), mode="wrap")
    return level + std * grain


def test_white_noise_has_a_flat_spectrum_of_its_deviation() -> None:
    std, spectrum = noise_spectrum(noise(0), NOTHING)
    assert std == pytest.approx(0.02, rel=0.03)
    assert spectrum.mean() == pytest.approx(1) and np.abs(spectrum - 1).max() < 0.15


def test_blurred_noise_has_the_spectrum_of_the_blur() -> None:
    _, spectrum = noise_spectrum(noise(1, blur=0.8), NOTHING)
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
    std, spectrum = noise_spectrum(clip, exclude)
    assert std == pytest.approx(0.02, rel=0.04) and np.abs(spectrum - 1).max() < 0.2
    assert np.isnan(noise_spectrum(clip, ~NOTHING)[0])
    assert np.isnan(noise_spectrum(clip[:1], NOTHING[:1])[0])


@pytest.mark.parametrize("slope", [-3.0, -2.0])
def test_slope_of_a_power_law(slope: float) -> None:
    f = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256))
    f[0, 0] = 1
    white = np.fft.rfft2(np.random.default_rng(4).normal(size=(256, 256)))
    assert structure_slope(np.fft.irfft2(white * f ** (slope / 2))) == pytest.approx(slope, abs=0.25)
    assert structure_slope(noise(3)[0]) == pytest.approx(0, abs=0.5)
    assert np.isnan(structure_slope(np.ones((64, 64))))


@pytest.mark.parametrize(("width", "depth"), [(2.4, 0.2), (3.2, 0.5)])
def test_a_shadow_of_known_width_and_depth(width: float, depth: float) -> None:
    x = np.arange(128) - 60.0
    sigma = width / (2 * np.sqrt(2 * np.log(2)))
    frame = np.ones((96, 128))
    frame[10:80] -= depth * np.exp(-0.5 * (x / sigma) ** 2)
    line = np.zeros((96, 128), np.bool_)
    line[10:80, 60] = True
    found = shadow_profile(np.stack([frame, frame]), [line, line])
    assert found == (pytest.approx(width, abs=0.35), pytest.approx(depth, rel=0.12))
    assert np.isnan(shadow_profile(2 - frame[None], [line])).all(), "bright is no shadow"
    assert np.isnan(shadow_profile(frame[None], [line & False])).all()


def test_measures_of_a_clip_and_their_invariance_to_full_scale() -> None:
    clip, wire = noise(5), NOTHING.copy()
    wire[:, 20:80, 50:52] = True
    clip[wire] -= 0.2
    found = measure_clip(clip * 255, wire)
    assert found["grey: mean, share of full scale"] == pytest.approx(clip.mean())
    assert found["residual: std, 1/255"] == pytest.approx(255 * 0.02 * 0.945, rel=0.05)
    assert abs(found["residual: autocorrelation at lag 1"]) < 0.02
    assert found["wire: CNR"] == pytest.approx(np.median(clip_visibility(clip, wire)))
    assert found["wire: width of the label, px"] == pytest.approx(2, abs=0.1)
    assert found["wire: length of the label, px"] == pytest.approx(60, abs=3)
    assert found["wire: depth of the shadow, share of its surroundings"] == pytest.approx(0.4, rel=0.05)
    twice = measure_clip(clip * 510, wire, intensity_max=510)
    assert all(twice[key] == pytest.approx(value, nan_ok=True) for key, value in found.items())
    unmarked = measure_clip(clip * 255, NOTHING)
    assert np.isnan(unmarked["wire: CNR"]) and np.isnan(unmarked["wire: width of the label, px"])


def test_a_table_of_two_sets() -> None:
    first = [{"a": value, "b": np.nan} for value in (5.0, 6.0, 7.0)]
    second = [{"a": value, "b": 1.0} for value in np.arange(11.0)]
    a, b = compare_sets(first, second)
    assert a.first[1] == 6 and a.second == (1.0, 5.0, 9.0)
    assert a.gap == pytest.approx(1 / (8 / 2.563))
    assert np.isnan(b.gap)
    text = as_markdown((a, b), "mine", "theirs").splitlines()
    assert text[0] == "| measure | mine | theirs | gap |"
    assert text[2] == "| a | 6 (5.2 .. 6.8) | 5 (1 .. 9) | +0.3 |" and text[3] == "| b | - | 1 (1 .. 1) | - |"


def test_what_cant_be_measured_is_refused() -> None:
    with pytest.raises(MetricsError, match="too small"):
        measure_clip(np.ones((3, 20, 64)), np.zeros((3, 20, 64)))
    with pytest.raises(MetricsError, match="shape"):
        measure_clip(np.ones((3, 64, 64)), np.zeros((3, 64, 65)))
    with pytest.raises(MetricsError, match="axes"):
        measure_clip(np.ones((64, 64)), np.zeros((64, 64)))
    with pytest.raises(MetricsError, match="nothing to compare"):
        compare_sets([], [{"a": 1.0}])
