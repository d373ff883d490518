"""Sub-pixel positions of dark lines drawn at known places."""

import numpy as np
import pytest
from rendered import arc, mask, picture, straight
from skimage.feature import hessian_matrix, hessian_matrix_eigvals

from sfvd_pl.metrics.ridge import (
    PIECE_PX,
    mask_positions,
    pieces,
    ridge_positions,
    sample_across,
    smooth_path,
)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_a_path_runs_along_the_line_it_was_drawn_on(slope: float) -> None:
    line = straight(10, 5, 45, slope)
    path = smooth_path(mask(line, width=3.0))
    assert path is not None
    direction = np.array([1, slope]) / np.hypot(1, slope)
    gap = (path.points - line[0]) @ np.array([-direction[1], direction[0]])
    assert np.abs(gap).max() < 0.5
    assert np.abs(path.tangents @ direction).min() > 0.97
    assert np.abs((path.tangents * path.normals).sum(axis=1)).max() < 1e-9
    assert np.linalg.norm(np.diff(path.points, axis=0), axis=1) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("offset", [-2.6, -0.4, 0.0, 0.3, 1.5])
@pytest.mark.parametrize("width", [1.6, 3.0])
def test_an_offset_is_found_to_a_tenth_of_a_pixel(offset: float, width: float) -> None:
    path = smooth_path(mask(straight(30, 5, 55), width=3.0))
    assert path is not None
    sign = np.sign(path.normals[0, 1])  # which side is to the right depends on the path's direction
    found = ridge_positions(picture(straight(30 + offset), (64, 64), width=width), path, 4.0)
    inner = found[np.isfinite(found)]
    assert len(inner) >= 3
    assert sign * inner[: len(inner) - 2] == pytest.approx(offset, abs=0.1)


def test_a_bow_that_lies_beside_its_mask() -> None:
    wire = mask(arc(), width=2.0)
    path = smooth_path(wire)
    assert path is not None
    gap = ridge_positions(picture(arc(1.2)), path, 4.0) - mask_positions(wire, path, 4.0)
    inner = gap[1:-1]  # at its ends a bow that is short of its neighbour has nothing beside it
    assert len(inner) >= 3 and np.isfinite(inner).all()
    assert abs(np.median(np.abs(inner)) - 1.2) < 0.1 and abs(inner.sum()) == pytest.approx(np.abs(inner).sum())


def test_the_line_is_where_scikit_images_hessian_bends_most() -> None:
    image = picture(straight(30.4))
    path = smooth_path(mask(straight(30), width=2.0))
    assert path is not None
    bend = hessian_matrix_eigvals(hessian_matrix(image, sigma=1.2, use_gaussian_derivatives=True))[0]
    columns = np.array([(np.arange(20, 40) * np.maximum(row, 0) ** 4).sum() for row in bend[8:30, 20:40]])
    columns /= (np.maximum(bend[8:30, 20:40], 0) ** 4).sum(axis=1)
    found = ridge_positions(image, path, 4.0)[1:3] * np.sign(path.normals[0, 1]) + 30
    assert found == pytest.approx(columns.mean(), abs=0.15)


def test_noise_and_contrast_dont_move_it() -> None:
    path = smooth_path(mask(straight(30, 5, 55), width=2.0))
    assert path is not None
    noisy = picture(straight(30.7), depth=0.2) + np.random.default_rng(0).normal(0, 0.05, (64, 64))
    found = ridge_positions(noisy, path, 4.0)[:5] * np.sign(path.normals[0, 1])
    assert np.isfinite(found).sum() >= 3 and np.nanmean(np.abs(found - 0.7)) < 0.25
    assert ridge_positions(3 * noisy + 7, path, 4.0) == pytest.approx(ridge_positions(noisy, path, 4.0), nan_ok=True)


def test_nothing_is_found_where_nothing_is_dark_or_the_frame_ends() -> None:
    path = smooth_path(mask(straight(30, 5, 55), width=2.0))
    assert path is not None
    assert np.isnan(ridge_positions(np.full((64, 64), 0.5), path, 4.0)).all()
    ramp = np.tile(np.linspace(0, 1, 64), (64, 1))
    assert np.isnan(ridge_positions(ramp, path, 4.0)).all()
    beside = smooth_path(mask(straight(2, 5, 55), width=2.0))
    assert beside is not None
    assert np.isnan(ridge_positions(picture(straight(2)), beside, 4.0)).all()


def test_short_and_empty_masks_have_no_path() -> None:
    assert smooth_path(np.zeros((32, 32), np.uint8)) is None
    assert smooth_path(mask(straight(20, 10, 14), (32, 32))) is None
    assert smooth_path(np.eye(32, dtype=np.uint8)) is not None


def test_samples_lie_where_they_say() -> None:
    rows, columns = np.indices((64, 64)).astype(float)
    path = smooth_path(mask(arc(), width=2.0))
    assert path is not None
    offsets, values = sample_across(rows * 100 + columns, path, 3.0)
    where = path.points[:, None] + offsets[None, :, None] * path.normals[:, None]
    assert values == pytest.approx(where[..., 0] * 100 + where[..., 1])
    assert pieces(values).shape == (len(path) // PIECE_PX, len(offsets))
    assert pieces(values)[0] == pytest.approx(values[:PIECE_PX].mean(axis=0))
