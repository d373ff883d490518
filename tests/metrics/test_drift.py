"""Clips that change by a known amount as they go on."""

import numpy as np
import pytest
from rendered import mask, picture, straight
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.drift import MEASURES, drift_measures, frame_curves, frame_measures
from sfvd_pl.metrics.noise import residual_std
from sfvd_pl.metrics.visibility import wire_visibility

FRAMES = 8
MASKS = np.stack([mask(straight(30))] * FRAMES)
NO_OFFSET = np.zeros(FRAMES)


def growing_noise() -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, 1, (FRAMES, 64, 64))
    return picture(straight(30)) + grain * np.linspace(0.01, 0.04, FRAMES)[:, None, None]


def test_each_frame_is_measured_by_itself() -> None:
    clip = growing_noise()
    found = frame_measures(clip, MASKS, NO_OFFSET, intensity_max=1)
    assert tuple(found) == MEASURES and all(curve.shape == (FRAMES,) for curve in found.values())
    assert found["pixel_std"] == pytest.approx(clip.std(axis=(1, 2)))
    assert found["cnr"] == pytest.approx([wire_visibility(f, m) for f, m in zip(clip, MASKS, strict=True)])
    near = ndimage.binary_dilation(MASKS[3], np.ones((11, 11)))
    assert found["residual_std"][3] == pytest.approx(residual_std(clip[3:4], exclude=near[None]))
    assert found["residual_std"] == pytest.approx(0.945 * np.linspace(0.01, 0.04, FRAMES), rel=0.05)
    scaled = frame_measures(clip * 4095, MASKS, NO_OFFSET, intensity_max=4095)
    assert all(scaled[name] == pytest.approx(curve) for name, curve in found.items())


def test_a_picture_that_gets_blurred_loses_sharpness() -> None:
    texture = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(64, 64)), 1.5)
    clip = np.stack([ndimage.gaussian_filter(texture, sigma) for sigma in (0, 0, 1, 2, 3, 4, 5, 5)])
    sharpness = frame_measures(clip, np.zeros((8, 64, 64)), NO_OFFSET, intensity_max=1)["sharpness"]
    assert sharpness[0] == sharpness[1] and (np.diff(sharpness[1:7]) < 0).all()


def test_drift_is_the_late_quarter_less_the_early_one() -> None:
    found = drift_measures({"a": np.arange(8.0), "b": np.array([1.0, np.nan, 5, 5, 5, 5, 4.0, 6.0])})
    assert found == {"drift_a": pytest.approx(6.0), "drift_b": pytest.approx(4.0)}
    noise = drift_measures(frame_measures(growing_noise(), MASKS, NO_OFFSET, intensity_max=1))
    assert noise["drift_residual_std"] == pytest.approx(0.945 * 6 * 0.03 / 7, rel=0.05)
    assert noise["drift_cnr"] < 0 and noise["drift_offset_px"] == 0
    assert np.isnan(drift_measures({"a": np.arange(3.0)})["drift_a"])


def test_constant_frames_without_a_wire() -> None:
    found = frame_measures(np.full((1, 32, 32), 0.5), np.zeros((1, 32, 32)), np.full(1, np.nan), intensity_max=1)
    assert found["pixel_std"] == 0 and found["residual_std"] == pytest.approx(0, abs=1e-12)
    assert np.isnan([found[name][0] for name in ("sharpness", "cnr", "offset_px")]).all()
    covered = frame_measures(np.full((1, 32, 32), 0.5), np.ones((1, 32, 32)), np.full(1, np.nan))
    assert np.isnan(covered["residual_std"]).all()


def test_curves_of_clips_of_any_length_make_one_table() -> None:
    curves = frame_curves({"a": np.arange(3.0)}, 5)["a"]
    assert curves == pytest.approx([0, 1, 2, np.nan, np.nan], nan_ok=True)
    assert len(frame_curves({"a": np.arange(100.0)}, 200)["a"]) == 64


def test_shapes_are_checked() -> None:
    with pytest.raises(MetricsError, match="shape"):
        frame_measures(np.zeros((2, 32, 32)), np.zeros((2, 32, 31)), np.zeros(2))
