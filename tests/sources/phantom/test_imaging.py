"""The imaging chain: Beer-Lambert, blur, noise, collimator, texture."""

import numpy as np
import pytest
from scipy.ndimage import convolve
from scipy.ndimage import shift as scipy_shift

from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.geometry import View
from sfvd_pl.sources.phantom.imaging import (
    STEADY,
    Detector,
    Memory,
    collimator,
    fine_structure,
    make_detector,
    memory_frames,
    shifted,
    spread,
)

SHAPE = (64, 80)


def detector(**changes: float) -> Detector:
    fields = {
        "noise_std": 0.02,
        "level": 0.5,
        "blur_px": 0.0,
        "grain_px": 0.0,
        "lag": 0.0,
        "recursion": 0.0,
        "intensity_max": 65535,
    }
    one = np.ones(SHAPE, np.float32)
    return Detector(gain=0.9, field=one, scatter=0 * one, veil=0 * one, pattern=one, **{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_readout_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfvd_pl.sources.phantom.imaging.READOUT", 0.0)


def film(made: Detector, paths: list[np.ndarray], seed: int = 0) -> np.ndarray:
    rng, memory = np.random.default_rng(seed), Memory()
    return np.stack([made.expose(path, rng, memory) for path in paths]) / made.intensity_max


def test_attenuation_follows_beer_and_lambert() -> None:
    path = np.linspace(0, 2, 64, dtype=np.float32)[:, None] * np.ones(80, np.float32)
    image = detector(noise_std=0.0).expose(path, np.random.default_rng(0), Memory())
    assert image.dtype == np.uint16
    assert np.abs(image - 65535 * 0.9 * np.exp(-path)).max() <= 1


def test_noise_variance_grows_with_the_signal_and_frames_are_independent() -> None:
    stds = []
    for level in (0.6, 0.15):
        path = np.full(SHAPE, -np.log(level / 0.9), np.float32)
        frames = film(detector(), [path] * 12)
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


@pytest.mark.parametrize("std", [0.7, 0.8, 1.0, 1.6])
def test_wider_blurs_keep_their_variance_and_the_mean(std: float) -> None:
    point = np.zeros((31, 31), np.float32)
    point[15, 15] = 1
    wide = spread(point, std).astype(float)
    offset = np.arange(31) - 15.0
    assert wide.min() >= 0 and wide.sum() == pytest.approx(1, abs=1e-5)
    for axis in (0, 1):
        assert (wide.sum(axis=axis) * offset**2).sum() == pytest.approx(std**2, rel=1e-3)


def test_noise_reduction_blurs_the_noise_and_spares_the_signal() -> None:
    """Blurs of 0.5 px for both and 0.7 px for noise alone: its spectrum is that of both, an edge's is that of one."""
    path = np.zeros(SHAPE, np.float32)
    path[:, 40:] = 1.0
    noisy, clean = (
        film(detector(blur_px=0.5, grain_px=0.7, noise_std=std), [path])[0] for std in (0.02, 0.0)
    )
    assert np.allclose(clean, film(detector(blur_px=0.5, noise_std=0.0), [path])[0])
    grain = (noisy - clean)[:, :36]
    tap = np.array([0.125, 0.75, 0.125])
    kernel = np.convolve(tap, [0.245, 0.51, 0.245])
    fresh = 0.02**2 * 0.9 / 0.5
    assert grain.var() == pytest.approx(fresh * (kernel**2).sum() ** 2, rel=0.1)
    near = np.corrcoef(grain[:, 1:].ravel(), grain[:, :-1].ravel())[0, 1]
    assert near == pytest.approx((kernel[1:] * kernel[:-1]).sum() / (kernel**2).sum(), abs=0.05)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("key", ["lag", "recursion"])
def test_memory_makes_noise_an_autoregression_from_the_first_frame_on(key: str, share: float) -> None:
    """AR(1): correlation share^lag, variance (1 - share) / (1 + share) of the fresh noise, in every frame."""
    path = np.zeros(SHAPE, np.float32)
    noise = film(detector(**{key: share}), [path] * 10) - 0.9
    for lag in (1, 2):
        found = np.mean(
            [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(noise, noise[lag:], strict=False)]
        )
        assert found == pytest.approx(share**lag, abs=0.015)
    fresh = 0.02**2 * 0.9 / 0.5 * (1 - share) / (1 + share)
    assert noise.var() == pytest.approx(fresh, rel=0.04)
    assert noise[0].var() == pytest.approx(fresh, rel=STEADY + 0.07)


def test_memory_leaves_the_share_of_what_was_there() -> None:
    """A step in brightness: after n frames the share^n of it is still missing, with both filters their mixture."""
    bright, dark = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    still = detector(noise_std=0.0, lag=0.1, recursion=0.4)
    seen = film(still, [bright, bright, dark, dark, dark])[:, 5, 5]
    top, bottom = 0.9, 0.9 * np.exp(-1)
    read, shown, expected = top, top, []
    for goal in (top, top, bottom, bottom, bottom):
        read = 0.9 * goal + 0.1 * read
        shown = 0.6 * read + 0.4 * shown
        expected.append(shown)
    assert seen == pytest.approx(expected, abs=2e-5)


def test_warming_up_takes_as_many_frames_as_the_noise_needs() -> None:
    assert memory_frames(0.0) == 0
    for share in (0.01, 0.15, 0.5, 0.9):
        count = memory_frames(share)
        assert share ** (2 * count) <= STEADY < share ** (2 * (count - 1))


def test_fixed_pattern_stays_and_is_as_strong_as_asked() -> None:
    view = View(*View.axes(0, 0), np.zeros(2), 1.0, *SHAPE)
    config = PhantomConfig(
        structure_std=(2.0, 2.0), noise_std=(0.0, 0.0), lag=(0, 0), recursion=(0, 0), intensity_max=65535
    )
    made = make_detector(np.random.default_rng(4), np.full(SHAPE, 1.0, np.float32), view, config)
    pattern = (made.pattern - 1) * made.level * 255
    assert pattern.std() == pytest.approx(2.0, rel=0.03)
    first, second = film(made, [np.full(SHAPE, 1.0, np.float32)] * 2)
    assert np.array_equal(first, second)


def test_blades_show_the_level_asked_for() -> None:
    view, path = View(*View.axes(0, 0), np.zeros(2), 1.0, 96, 96), np.full((96, 96), 2.0, np.float32)
    seen = 0
    for seed in range(12):
        config = PhantomConfig(
            blade_level=(0.55, 0.55), mean_level=(0.5, 0.5), noise_std=(0, 0), scatter_ratio=(0.2, 0.2)
        )
        made = make_detector(np.random.default_rng(seed), path, view, config)
        if made.field.min() < 0.035:
            seen += 1
            image = made.expose(path, np.random.default_rng(0), Memory()) / 255
            assert image[made.field < 0.035].mean() == pytest.approx(0.55 * 0.5, abs=0.03)
    assert seen


def test_digits_end_at_intensity_max() -> None:
    bright = np.full(SHAPE, -5.0, np.float32)
    image = detector(intensity_max=255).expose(bright, np.random.default_rng(0), Memory())
    assert image.dtype == np.uint8 and image.min() == 255


def test_exposure_control_keeps_the_mean_of_the_open_field() -> None:
    view = View(*View.axes(0, 0), np.zeros(2), 1.0, *SHAPE)
    rng = np.random.default_rng(4)
    path = (3 + 0.2 * fine_structure(0, SHAPE, 12, 2.6)).astype(np.float32)
    config = PhantomConfig(scatter_ratio=(0.7, 0.7), mean_level=(0.45, 0.45), noise_std=(0.0, 0.0))
    made = make_detector(rng, path, view, config)
    image = made.expose(path, rng, Memory())
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
