"""The imaging chain: Beer-Lambert, blur, noise, collimator, texture."""

import numpy as np
import pytest
from scipy.ndimage import convolve
from scipy.ndimage import shift as scipy_shift

from sfvd_pl.sources.phantom_geometry import View
from sfvd_pl.sources.phantom_imaging import (
    Detector,
    collimator,
    fine_structure,
    make_detector,
    shifted,
    spread,
)

SHAPE = (64, 80)


def detector(**changes: float) -> Detector:
    fields = {"noise_std": 0.02, "level": 0.5, "readout_std": 0.0, "blur_px": 1e-6, "intensity_max": 65535}
    one = np.ones(SHAPE, np.float32)
    return Detector(gain=0.9, field=one, scatter=0 * one, **{**fields, **changes})  # type: ignore[arg-type]


def test_attenuation_follows_beer_and_lambert() -> None:
    path = np.linspace(0, 2, 64, dtype=np.float32)[:, None] * np.ones(80, np.float32)
    image = detector(noise_std=0.0).expose(path, np.random.default_rng(0))
    assert image.dtype == np.uint16
    assert np.abs(image - 65535 * 0.9 * np.exp(-path)).max() <= 1


def test_noise_variance_grows_with_the_signal_and_frames_are_independent() -> None:
    rng = np.random.default_rng(1)
    stds = []
    for level in (0.6, 0.15):
        path = np.full(SHAPE, -np.log(level / 0.9), np.float32)
        frames = np.stack([detector().expose(path, rng) for _ in range(12)]) / 65535
        residual = frames - frames.mean()
        stds.append(residual.std())
        lag = np.corrcoef(residual[:-1].reshape(-1), residual[1:].reshape(-1))[0, 1]
        assert abs(lag) < 0.02
    assert stds[0] == pytest.approx(0.02 * np.sqrt(0.6 / 0.5), rel=0.03)
    assert stds[0] / stds[1] == pytest.approx(2.0, rel=0.05)


def test_blur_is_a_three_tap_kernel_of_the_asked_width() -> None:
    image = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    a = 0.5**2 / 2
    kernel = np.outer([a, 1 - 2 * a, a], [a, 1 - 2 * a, a])
    assert np.allclose(spread(image, 0.5), convolve(image, kernel, mode="nearest"), atol=1e-6)


def test_digits_end_at_intensity_max() -> None:
    bright = np.full(SHAPE, -5.0, np.float32)
    image = detector(intensity_max=255).expose(bright, np.random.default_rng(0))
    assert image.dtype == np.uint8 and image.min() == 255


def test_exposure_control_keeps_the_mean_of_the_open_field() -> None:
    view = View(*View.axes(0, 0), np.zeros(2), 1.0, *SHAPE)
    rng = np.random.default_rng(4)
    path = (3 + 0.2 * fine_structure(0, SHAPE, 12, 2.6)).astype(np.float32)
    made = make_detector(
        rng, path, view, scatter_ratio=0.7, level=0.45, noise_std=0.0, blur_px=0.5, intensity_max=255
    )
    image = made.expose(path, rng)
    assert image[made.field > 0.9].mean() / 255 == pytest.approx(0.45, abs=0.02)


def test_collimator_is_open_in_the_middle_and_leaks_little() -> None:
    view = View(*View.axes(0, 0), np.zeros(2), 1.0, 96, 96)
    fields = [collimator(np.random.default_rng(k), view) for k in range(30)]
    for field in fields:
        assert field[30:66, 30:66].min() > 0.99
        assert 0.03 <= field.min() and field.max() <= 1
    assert any(field.min() < 0.1 for field in fields) and any(field.min() > 0.5 for field in fields)


def test_texture_is_smooth_and_of_unit_variance() -> None:
    field = fine_structure(7, (90, 70), 9.0, 2.6)
    assert field.shape == (90, 70)
    assert (field.mean(), field.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-3))
    assert np.diff(field, axis=0).std() < 0.5, "white noise has 1.41"
    assert np.array_equal(field, fine_structure(7, (90, 70), 9.0, 2.6))


def test_shift_is_bilinear() -> None:
    image = fine_structure(1, (60, 70), 8.0, 2.6)
    truth = scipy_shift(image, (2.3, -1.6), order=1)[10:50, 10:60]
    assert np.allclose(shifted(image, 2.3, -1.6, 40, 50), truth, atol=1e-5)
    assert shifted(image, 99.0, -99.0, 40, 50).shape == (40, 50), "the margin bounds the shift"
