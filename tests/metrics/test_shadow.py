"""Shadows of known width and depth."""

import numpy as np
import pytest

from sfvd_pl.metrics.shadow import shadow_profile, wire_shape


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


def test_shape_of_a_wire_over_the_frames_that_have_one() -> None:
    mask = np.zeros((3, 64, 64), np.uint8)
    mask[:2, 10:50, 30:33] = 1
    frames = np.where(mask != 0, 0.6, 0.8)
    frames[2] = 0.8
    found = wire_shape(frames, mask)
    assert found.label_width_px == pytest.approx(3, abs=0.25)
    assert found.width_px == pytest.approx(3, abs=0.35)
    assert found.depth == pytest.approx(0.25, rel=0.05)
    assert found.label_length_px == pytest.approx(39, abs=2)


def test_without_a_wire_there_is_no_shape() -> None:
    found = wire_shape(np.ones((2, 16, 16)), np.zeros((2, 16, 16), np.uint8))
    assert np.isnan([found.width_px, found.depth, found.label_width_px, found.label_length_px]).all()
