"""Visibility against a brute-force count, and its edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_shapes import SHAPES, blank, line

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.visibility import (
    clip_visibility,
    visibility_bins,
    wire_attenuation,
    wire_ring,
    wire_visibility,
)


def brute_ring(wire: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """Distance of every pixel to every wire pixel, one by one."""
    ring = np.zeros(wire.shape, dtype=bool)
    points = np.argwhere(wire)
    for index in np.ndindex(wire.shape):
        if len(points):
            nearest = min(np.hypot(*(point - np.array(index))) for point in points)
            ring[index] = inner < nearest <= outer
    return ring


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "everything"])
def test_ring_is_the_brute_force_one(name: str) -> None:
    small = SHAPES[name][::2, ::2]
    np.testing.assert_array_equal(wire_ring(small), brute_ring(small, 2, 5))


def test_attenuation_is_the_wire_s_on_a_background_that_grows_darker_along_it() -> None:
    background = 0.9 * np.exp(-1.5 * np.mgrid[:64, :64][0] / 64)
    wire = np.zeros((64, 64), dtype=np.uint8)
    wire[8:56, 30:33] = 1
    assert wire_attenuation(background * np.exp(-0.12 * wire), wire) == pytest.approx(0.12, abs=0.02)
    assert wire_attenuation(background, wire) == pytest.approx(0.0, abs=0.02)
    assert np.isnan(wire_attenuation(background, np.zeros_like(wire)))


def test_visibility_is_the_definition_on_the_brute_force_ring() -> None:
    image = np.random.default_rng(0).normal(100, 10, (32, 32))
    wire = line(thickness=2)
    image[wire > 0] -= 30
    ring = brute_ring(wire, 2, 5)
    expected = (image[ring].mean() - image[wire > 0].mean()) / np.sqrt(
        ((image[ring] - image[ring].mean()) ** 2).mean()
    )
    assert wire_visibility(image, wire) == pytest.approx(expected)
    assert expected > 2


def test_pixels_at_exactly_the_radii_belong_outside_and_inside() -> None:
    wire = blank(15, 15)
    wire[7, 7] = 1
    ring = wire_ring(wire, inner=2, outer=5)
    assert not ring[7, 9] and ring[7, 10] and ring[7, 12] and not ring[7, 13]
    assert ring[10, 11] and not ring[11, 11]  # distances 5 (3-4-5) and 5.66


def test_a_wire_brighter_than_its_ring_is_negative() -> None:
    image = np.random.default_rng(1).normal(100, 5, (32, 32))
    image[line() > 0] += 40
    assert wire_visibility(image, line()) < -4


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
def test_visibility_does_not_change_with_the_intensity_scale(scale: float, offset: float) -> None:
    image = np.random.default_rng(2).normal(100, 10, (32, 32)) - 20 * line()
    assert wire_visibility(scale * image + offset, line()) == pytest.approx(
        wire_visibility(image, line()), rel=1e-6
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int64])
def test_integer_images_do_not_wrap_around(dtype: type) -> None:
    image = (np.random.default_rng(3).integers(150, 170, (32, 32)) - 100 * line()).astype(dtype)
    assert wire_visibility(image, line()) == pytest.approx(
        wire_visibility(image.astype(np.float64), line()), rel=1e-5
    )


@pytest.mark.parametrize("name", ["empty", "one_pixel", "everything"])
def test_too_few_pixels_are_not_a_measurement(name: str) -> None:
    image = np.random.default_rng(4).normal(100, 10, (32, 32))
    assert np.isnan(wire_visibility(image, SHAPES[name]))


def test_the_least_number_of_pixels_is_a_measurement() -> None:
    image = np.random.default_rng(4).normal(100, 10, (32, 32))
    assert np.isfinite(wire_visibility(image, line(10, 17)))
    assert np.isnan(wire_visibility(image, line(10, 16)))
    assert np.isfinite(wire_visibility(image, line(10, 16), min_pixels=7))


def test_a_constant_ring_is_not_a_measurement() -> None:
    assert np.isnan(wire_visibility(np.full((32, 32), 0.1) - 0.05 * line(), line()))


def test_clip_visibility_is_frame_by_frame_and_nan_without_a_label() -> None:
    clip = np.random.default_rng(5).normal(100, 10, (3, 32, 32))
    masks = np.stack([line(), blank(), line(column=20)])
    values = clip_visibility(clip, masks)
    assert values[0] == wire_visibility(clip[0], masks[0]) and values[2] == wire_visibility(clip[2], masks[2])
    assert np.isnan(values[1]) and values.shape == (3,)


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: wire_visibility(blank(4, 4), blank(4, 5)), "wire_mask"),
        (lambda: wire_visibility(np.zeros((2, 4, 4)), np.zeros((2, 4, 4))), "image"),
        (lambda: wire_ring(line(), inner=5, outer=5), "inner, outer"),
        (lambda: wire_ring(line(), inner=-1, outer=5), "inner, outer"),
        (lambda: clip_visibility(blank(), blank()), "clip"),
        (lambda: clip_visibility(np.zeros((2, 4, 4)), np.zeros((3, 4, 4))), "wire_mask"),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key


def test_ignored_pixels_of_the_ring_do_not_count() -> None:
    """Another wire in the ring, which nobody marked, would make this one look fainter."""
    rng = np.random.default_rng(0)
    image, wire, other = rng.normal(100, 5, (32, 32)), blank(32, 32), blank(32, 32)
    wire[8:24, 14], other[8:24, 18] = 1, 1
    image[wire > 0] -= 20
    seen = wire_visibility(image, wire, ignore=other)
    image[other > 0] -= 60
    assert wire_visibility(image, wire, ignore=other) == seen > 1.3 * wire_visibility(image, wire)
    assert clip_visibility(image[None], wire[None], ignore=other[None]).tolist() == [seen]


def test_bins_hold_their_lower_limit_and_nothing_unknown() -> None:
    values = np.array([[-9.0, 0.5, 0.49], [4.0, np.nan, 1e9]])
    assert visibility_bins(values).tolist() == [[0, 1, 0], [6, -1, 6]]
    assert visibility_bins(np.array([0.9, 1.0, 2.0]), (1, 2)).tolist() == [-1, 0, -1]
