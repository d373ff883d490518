"""Numbers that come out the same everywhere: grids, the noise table, the exponential."""

import numpy as np
import pytest
from scipy import stats

from sfvd_pl.sources.phantom.exact import (
    LEAST,
    MOST,
    QUANTILES,
    arc_length,
    at_length,
    attenuate,
    dot,
    lengths,
    normal,
    on_grid,
    transform,
)


def test_a_grid_swallows_differences_in_the_last_digits() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 100, 10_000)
    grid = on_grid(values, 2.0**-14)
    assert np.array_equal(grid, on_grid(values * (1 + 4e-16), 2.0**-14))
    assert np.abs(grid - values).max() <= 2.0**-15
    assert np.array_equal(grid, on_grid(grid, 2.0**-14)), "what lies on the grid stays"


def test_noise_is_normal() -> None:
    noise = normal(np.random.default_rng(3), (400, 500))
    assert noise.dtype == np.float32 and noise.shape == (400, 500)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    assert (noise.mean(), noise.std()) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))
    assert QUANTILES[-1] == -QUANTILES[0] == pytest.approx(stats.norm.isf(0.5 / 65536), abs=1e-4)
    assert np.array_equal(noise, normal(np.random.default_rng(3), (400, 500)))


def test_the_exponential_within_its_range_and_beyond() -> None:
    path = np.random.default_rng(1).uniform(LEAST, MOST, (64, 80)).astype(np.float32)
    assert np.abs(attenuate(path) / np.exp(-path.astype(float)) - 1).max() < 1e-5
    far = attenuate(np.array([[-7.0, 99.0]], np.float32))
    assert far == pytest.approx(np.exp([[1.0, -15.0]]), rel=1e-5)


def test_products_in_a_fixed_order_are_products() -> None:
    rng = np.random.default_rng(2)
    points, matrix, shift = rng.normal(size=(7, 5, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
    assert np.allclose(transform(points, matrix, shift), points @ matrix.T + shift)
    assert np.allclose(dot(points, shift), points @ shift)
    assert np.allclose(lengths(points), np.linalg.norm(points, axis=-1))


def test_length_along_a_polyline() -> None:
    line = np.array([[0.0, 0, 0], [3, 4, 0], [3, 4, 12]])
    along = arc_length(line)
    assert along.tolist() == [0, 5, 17]
    assert np.allclose(at_length(line, along, np.array([2.5, 11.0])), [[1.5, 2, 0], [3, 4, 6]])
