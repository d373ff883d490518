"""Noise statistics against noise of known strength and correlation, and against numpy."""

import numpy as np
import pytest
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.noise import (
    NoiseAccumulator,
    around_wire,
    noise_section,
    pixel_std,
    residual,
    residual_autocorrelation,
    residual_std,
)


def correlated(rho: float, *, frames: int = 12, size: int = 64, seed: int = 0) -> np.ndarray:
    """White noise in space, first-order autoregressive in time with correlation ``rho``."""
    generator = np.random.default_rng(seed)
    clip = [generator.normal(size=(size, size))]
    for _ in range(frames - 1):
        clip.append(rho * clip[-1] + np.sqrt(1 - rho**2) * generator.normal(size=(size, size)))
    return np.stack(clip)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_autocorrelation_is_that_of_the_noise(rho: float) -> None:
    values = residual_autocorrelation(correlated(rho), (1, 2, 3))
    np.testing.assert_allclose(values, [rho, rho**2, rho**3], atol=0.03)


def test_smooth_structure_that_stands_still_does_not_count_as_grain() -> None:
    ramp = 10 * np.sin(np.linspace(0, 3, 64))[None, :, None] * np.ones((12, 64, 64))
    np.testing.assert_allclose(residual_autocorrelation(correlated(0.0) + ramp, (1,)), [0], atol=0.03)


def test_autocorrelation_is_numpys_pearson_over_pixels_kept_in_both_frames() -> None:
    clip = correlated(0.5, frames=4, size=16)
    exclude = np.random.default_rng(1).random(clip.shape) < 0.3
    grain = clip - np.stack([ndimage.gaussian_filter(frame, 1.5) for frame in clip])
    both = ~exclude[:-2] & ~exclude[2:]
    expected = np.corrcoef(grain[:-2][both], grain[2:][both])[0, 1]
    assert residual_autocorrelation(clip, (2,), exclude=exclude)[0] == pytest.approx(expected)
    assert residual_std(clip, exclude=exclude) == pytest.approx(np.sqrt((grain[~exclude] ** 2).mean()))
    np.testing.assert_allclose(residual(clip), grain)


def test_frozen_grain_is_1_and_lag_0_is_1() -> None:
    still = np.repeat(correlated(0.0, frames=1), 4, axis=0)
    np.testing.assert_allclose(residual_autocorrelation(still, (0, 1, 3)), 1.0)


def test_a_moving_wire_is_excluded() -> None:
    clip = correlated(0.0)
    wire = np.zeros(clip.shape, dtype=np.uint8)
    wire[:, 10:50, 30] = 1
    with_wire = clip - 40 * wire
    assert residual_autocorrelation(with_wire, (1,))[0] > 0.5
    excluded = residual_autocorrelation(with_wire, (1,), exclude=around_wire(wire))
    np.testing.assert_allclose(excluded, [0], atol=0.03)


def test_around_the_wire_is_a_square_dilation_frame_by_frame() -> None:
    wire = np.zeros((2, 32, 32), dtype=np.uint8)
    wire[0, 15, 15] = wire[0, 0, 0] = 1
    expected = ndimage.binary_dilation(wire[0], structure=np.ones((3, 3)), iterations=5)
    np.testing.assert_array_equal(around_wire(wire)[0], expected)
    assert not around_wire(wire)[1].any()
    np.testing.assert_array_equal(around_wire(wire, exclude_px=0), wire > 0)


def test_what_cannot_be_measured_is_nan() -> None:
    clip = correlated(0.0, frames=2, size=8)
    assert np.isnan(residual_autocorrelation(clip, (2,)))[0]
    assert np.isnan(residual_autocorrelation(np.zeros((3, 8, 8)), (1,)))[0]
    assert np.isnan(residual_autocorrelation(clip, (1,), exclude=np.ones(clip.shape)))[0]
    assert np.isnan(residual_std(clip, exclude=np.ones(clip.shape)))
    assert np.isnan(pixel_std([]))
    empty = NoiseAccumulator().result()
    assert empty.n_clips == 0 and np.isnan(empty.pixel_std) and np.isnan(empty.residual_std)
    assert np.isnan(empty.residual_autocorrelation).all()


def test_pixel_std_streams_without_cancellation() -> None:
    generator = np.random.default_rng(2)
    clips = [generator.normal(1e8 + i, 1.0, (3, 8, 8)) for i in range(5)]
    assert pixel_std(iter(clips)) == pytest.approx(np.concatenate(clips).std(), rel=1e-6)
    assert pixel_std([np.array([0, 255], dtype=np.uint8)], intensity_max=255) == pytest.approx(0.5)


def test_the_accumulator_is_the_functions_over_clips() -> None:
    clips = [
        (1000 + 50 * correlated(rho, frames=5, size=32, seed=i)).astype(np.uint16)
        for i, rho in enumerate((0.0, 0.8))
    ]
    wire = np.zeros(clips[0].shape, dtype=np.uint8)
    wire[:, 16] = 1
    stream = NoiseAccumulator(intensity_max=4095)
    for clip in clips:
        stream.update(clip, wire)
    result = stream.result()
    away = around_wire(wire)
    each = np.mean([residual_autocorrelation(clip, exclude=away) for clip in clips], axis=0)
    np.testing.assert_allclose(result.residual_autocorrelation, each)
    assert result.pixel_std == pytest.approx(pixel_std(clips, intensity_max=4095))
    squares = [residual_std(clip / 4095, exclude=away) ** 2 for clip in clips]
    assert result.residual_std == pytest.approx(np.sqrt(np.mean(squares)))
    assert result.n_clips == 2


def test_the_section_compares() -> None:
    real, synthetic = NoiseAccumulator(intensity_max=1), NoiseAccumulator(intensity_max=1)
    real.update(correlated(0.0))
    synthetic.update(0.5 * correlated(0.6))
    section = noise_section(synthetic.result(), real.result())
    assert section["pixel_std"]["ratio"] == pytest.approx(0.5, abs=0.02)
    assert section["residual_autocorrelation"]["difference"] == pytest.approx(0.6, abs=0.05)
    nothing = noise_section(synthetic.result(), NoiseAccumulator().result())
    assert np.isnan(nothing["pixel_std"]["ratio"])


def test_parts_that_were_measured_apart_make_the_whole() -> None:
    clips = [0.4 + 0.1 * k + 0.02 * correlated(0.3, frames=4, size=16 + 4 * k, seed=k) for k in range(3)]
    whole, joined = NoiseAccumulator(intensity_max=1), NoiseAccumulator(intensity_max=1)
    for clip in clips:
        whole.update(clip)
        part = NoiseAccumulator(intensity_max=1)
        part.update(clip)
        joined.merge(part)
    joined.merge(NoiseAccumulator(intensity_max=1))
    ours, theirs = joined.result(), whole.result()
    assert ours.n_clips == 3 and ours.pixel_std == pytest.approx(theirs.pixel_std)
    assert ours.pixel_std == pytest.approx(np.concatenate([clip.ravel() for clip in clips]).std())
    assert ours.residual_std == pytest.approx(theirs.residual_std)
    assert ours.residual_autocorrelation == pytest.approx(theirs.residual_autocorrelation, nan_ok=True)


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: NoiseAccumulator().merge(NoiseAccumulator(intensity_max=1)), "other"),
        (lambda: residual(np.zeros((4, 4))), "clip"),
        (lambda: residual(np.zeros((2, 4, 4)), sigma=0.0), "sigma"),
        (lambda: around_wire(np.zeros((4, 4))), "wire_mask"),
        (lambda: residual_std(np.zeros((2, 4, 4)), exclude=np.zeros((1, 4, 4))), "exclude"),
        (lambda: residual_autocorrelation(np.zeros((2, 4, 4)), (-1,)), "lags"),
        (lambda: NoiseAccumulator(intensity_max=0), "intensity_max"),
        (lambda: NoiseAccumulator().update(np.zeros((2, 4, 4)), np.zeros((1, 4, 4))), "exclude"),
        (lambda: noise_section(NoiseAccumulator(lags=(1,)).result(), NoiseAccumulator().result()), "lags"),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
