"""The projector against brute force: ray marching, numerical integration, distances one by one."""

import numpy as np
import pytest

from sfvd_pl.sources.phantom.exact import PX_GRID
from sfvd_pl.sources.phantom.geometry import Ellipsoid, View, resample, stroke, tube_chord


def view(primary: float = 20.0, secondary: float = -15.0) -> View:
    return View(*View.axes(primary, secondary), np.array([3.0, -2.0]), 0.8, 24, 30)


def march(inside, camera: View, step: float = 0.05) -> np.ndarray:
    """Path length of each ray by walking along it."""
    t = np.arange(-120, 120, step)
    u, v = np.meshgrid(camera.u, camera.v)
    points = u[..., None] * camera.right + v[..., None] * camera.down
    length = np.zeros(u.shape)
    for depth in t:
        length += inside(points + depth * camera.beam) * step
    return length


def solid(body: Ellipsoid):
    inverse = np.linalg.inv(body.axes)
    return lambda x: (((x - body.centre) @ inverse.T) ** 2).sum(-1) <= 1


A = Ellipsoid(np.array([4.0, 1.0, -3.0]), np.array([[12.0, 2, 0], [-1, 9, 1], [0, 3, 15]]))
B = Ellipsoid(np.array([10.0, 4.0, 2.0]), np.diag([10.0, 14, 8]))


def test_axes_are_orthonormal_and_as_seen_in_the_laboratory() -> None:
    frame = np.stack(View.axes(33, -21))
    assert np.allclose(frame @ frame.T, np.eye(3))
    front = View(*View.axes(0, 0), np.zeros(2), 1.0, 11, 11)
    left, head = front.project(np.array([[2.0, 0, 0], [0, 0, 2.0]]))
    assert np.allclose(left, (7, 5)) and np.allclose(head, (5, 3))
    oblique = View(*View.axes(40, 0), np.zeros(2), 1.0, 11, 11)
    assert oblique.project(np.array([0.0, 60.0, 0.0]))[0] > 5, "in LAO the spine is at the right"
    cranial = View(*View.axes(0, 30), np.zeros(2), 1.0, 11, 11)
    assert cranial.project(np.array([0.0, -10.0, 0.0]))[1] > 5, "seen from above, the front moves down"


def test_chord_of_an_ellipsoid_against_ray_marching() -> None:
    assert np.abs(A.span(view()).length - march(solid(A), view())).max() < 0.11


def test_common_part_of_two_bodies_against_ray_marching() -> None:
    both = A.span(view()).meet(B.span(view())).length
    a, b = solid(A), solid(B)
    truth = march(lambda x: a(x) & b(x), view())
    assert truth.max() > 5
    assert np.abs(both - truth).max() < 0.11


def test_affine_motion_moves_the_body() -> None:
    matrix, shift = np.array([[0.9, 0.1, 0], [-0.1, 0.95, 0], [0, 0, 1.05]]), np.array([1.0, 2, -3])
    moved = solid(A.moved(matrix, shift))
    points = np.random.default_rng(0).normal(0, 12, (500, 3))
    assert np.array_equal(moved(points @ matrix.T + shift), solid(A)(points))


def test_window_is_a_crop() -> None:
    whole = A.span(view()).length
    assert np.allclose(A.span(view().window(5, 17, 8, 27)).length, whole[5:17, 8:27], atol=1e-3)


@pytest.mark.parametrize("radius", [0.3, 0.65, 2.4])
def test_pixel_mean_of_a_cylinder_against_integration(radius: float) -> None:
    x = np.linspace(-6, 6, 240_001)
    chord = 2 * np.sqrt(np.maximum(radius**2 - x**2, 0))
    for distance in (0.0, 0.4, 0.9, 2.0, 3.5):
        near = np.abs(x - distance) <= 0.5
        assert tube_chord(np.array(distance), radius) == pytest.approx(chord[near].mean(), abs=2e-4)


@pytest.mark.parametrize("reach", [0.6, 1.2, 5.3])
def test_stroke_finds_every_near_pixel_at_its_distance(reach: float) -> None:
    rng = np.random.default_rng(3)
    samples = resample(np.cumsum(rng.normal(0, 5, (12, 2)), axis=0) + 12, 0.3)
    found = stroke(samples, 20, 26, reach)
    y, x = np.mgrid[:20, :26]
    gap = np.hypot(x[..., None] - samples[:, 0], y[..., None] - samples[:, 1]).min(axis=2).reshape(-1)
    assert np.array_equal(found.index, np.flatnonzero(gap < reach))
    assert np.allclose(found.distance, gap[found.index])
    at = samples[found.nearest]
    assert np.allclose(np.hypot(found.index % 26 - at[:, 0], found.index // 26 - at[:, 1]), found.distance)


def test_stroke_out_of_the_picture_is_empty() -> None:
    assert stroke(np.array([[-40.0, 3.0], [-39.0, 3.0]]), 10, 10, 1.0).index.size == 0


def test_resampling_keeps_ends_and_steps() -> None:
    line = resample(np.array([[0.0, 0.0, 1.0], [3.0, 4.0, 2.0], [3.0, 10.0, 5.0]]), 0.5)
    assert np.allclose(line[[0, -1]], [[0, 0, 1], [3, 10, 5]])
    assert np.hypot(*np.diff(line[:, :2], axis=0).T).max() <= 0.5 + 2 * PX_GRID


def test_resampling_with_a_step_that_changes_along_the_curve() -> None:
    """Steps of 0.2 px at one end and 2 px at the other: what the curve says at each place holds there."""
    x = np.linspace(0, 60, 200)
    line = np.stack([x, 0 * x, 5 * x], axis=1)
    fine = resample(line, np.linspace(0.2, 2.0, 200))
    step = np.diff(fine[:, 0])
    assert (
        step.min() > 0 and step[0] == pytest.approx(0.2, abs=0.05) and step[-1] == pytest.approx(2.0, abs=0.1)
    )
    assert np.allclose(fine[:, 2], 5 * fine[:, 0], atol=1e-3)


def test_stroke_of_changing_width_reaches_as_far_as_each_sample_says() -> None:
    samples = resample(np.array([[4.0, 10.0], [40.0, 12.0]]), 0.3)
    reach = np.linspace(0.8, 6.4, len(samples))
    found = stroke(samples, 24, 44, reach)
    y, x = np.mgrid[:24, :44]
    gap = np.hypot(x[..., None] - samples[:, 0], y[..., None] - samples[:, 1]).reshape(24 * 44, -1)
    nearest = gap.argmin(axis=1)
    inside = np.flatnonzero(gap.min(axis=1) < reach[nearest])
    # next to a wide end lie pixels whose nearest sample is a narrow one: they may be missing or not
    assert set(found.index) <= set(np.flatnonzero((gap < reach).any(axis=1)))
    assert len(set(inside) ^ set(found.index)) <= 2
    assert np.allclose(found.distance, gap[found.index, found.nearest])
