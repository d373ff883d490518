"""The seam: 1 for the real frames themselves, more at an edge, less where grain is missing, and flicker that froze."""

import numpy as np
import pytest

from sfvd_pl.metrics.seam import EDGE_PX, clip_seam, seam_edge

SHAPE = (6, 48, 48)
REAL = np.random.default_rng(0).normal(100, 5, SHAPE)
REGION = np.zeros(SHAPE, bool)
REGION[:, 18:28, 6:42] = True


def test_the_edge_lies_on_both_sides_of_the_border() -> None:
    edge = seam_edge(REGION)[0]
    assert edge[:, 20].tolist() == [abs(row - 17.5) <= EDGE_PX or abs(row - 27.5) <= EDGE_PX for row in range(48)]
    assert not seam_edge(np.zeros(SHAPE, bool)).any()


def test_real_frames_have_no_seam_and_a_wire_inside_the_band_makes_none() -> None:
    assert clip_seam(REAL, REAL, REGION)["std_ratio"] == 1.0
    drawn = REAL.copy()
    drawn[:, 22:24, 10:38] -= 15
    assert clip_seam(drawn, REAL, REGION)["std_ratio"] == pytest.approx(1.0, abs=0.1)


def test_a_step_a_smooth_band_and_frozen_grain_are_told() -> None:
    step = np.where(REGION, REAL - 20, REAL)
    assert clip_seam(step, REAL, REGION)["std_ratio"] > 1.3
    smooth = np.where(REGION, 100.0, REAL)
    assert clip_seam(smooth, REAL, REGION)["std_ratio"] < 0.85
    frozen = np.where(REGION, REAL[:1], REAL)
    found = clip_seam(frozen, REAL, REGION)
    assert found["autocorrelation"] > 0.3 and abs(found["autocorrelation_real"]) < 0.1


def test_ignored_pixels_do_not_count_and_without_an_edge_nothing_is_known() -> None:
    half, ignore = REAL.copy(), np.zeros(SHAPE, np.uint8)
    ignore[:, :, 24:] = 1
    half[:, :, 30:] += 500 * REGION[:, :, 30:]
    assert clip_seam(half, REAL, REGION, ignore)["std_ratio"] == 1.0
    assert all(np.isnan(value) for value in clip_seam(REAL, REAL, np.zeros(SHAPE, bool)).values())
    assert np.isnan(clip_seam(REAL[:1], REAL[:1], REGION[:1])["autocorrelation"])
