import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.quality.placement import REACH_PX, Placement, PlacementMeter, darkness, line_filter

SIDE = 64


def wire(frames: int = 6, speed: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A dark curved wire on a noisy ramp, moving to the right by ``speed`` pixels a frame; and its masks."""
    rng = np.random.default_rng(seed)
    rows = np.arange(12, 52)
    mask = np.zeros((frames, SIDE, SIDE), np.uint8)
    for t in range(frames):
        columns = np.rint(20 + speed * t + 6 * np.sin(rows / 9)).astype(int)
        mask[t, rows, columns] = 1
    image = 110 + np.linspace(0, 40, SIDE) + rng.normal(0, 5, mask.shape)
    return image - 45 * ndimage.gaussian_filter(mask.astype(float), (0, 0.7, 0.7)), mask


def measured(image: np.ndarray, mask: np.ndarray) -> Placement:
    meter = PlacementMeter()
    meter.update(image, mask)
    result = meter.result()
    assert result is not None
    return result


def test_darkness_is_the_mean_over_the_moved_mask_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    lines = rng.normal(size=(20, 24)).astype(np.float32)
    mask = np.zeros((20, 24), np.uint8)
    mask[2:14, 3] = mask[12, 8:20] = 1
    found = darkness(lines, mask, reach=4)
    for row in range(-4, 5):
        for column in range(-4, 5):
            moved = [(r + row, c + column) for r, c in np.argwhere(mask)]
            inside = [lines[r, c] for r, c in moved if 0 <= r < 20 and 0 <= c < 24]
            assert found[row + 4, column + 4] == pytest.approx(-np.mean(inside), abs=1e-5)


def test_a_mask_on_its_wire_fits_best_where_it_is() -> None:
    place = measured(*wire(speed=1.5))
    assert (place.offset_px, place.lag, place.distance_px) == ((0, 0), 0, 0)
    assert place.own == place.best > 1
    assert place.bright < 0


@settings(max_examples=25)
@given(st.integers(-7, 7), st.integers(-7, 7))
def test_a_displaced_mask_is_told_by_how_much(rows: int, columns: int) -> None:
    image, mask = wire(frames=4)
    place = measured(image, np.roll(mask, (rows, columns), axis=(1, 2)))
    assert place.offset_px == (-rows, -columns)
    if max(abs(rows), abs(columns)) > 1:
        assert place.best > place.own and place.share == 1 and place.z > 5


@pytest.mark.parametrize("lag", [-2, -1, 1, 2])
def test_a_mask_of_another_frame_is_told_by_how_many(lag: int) -> None:
    image, mask = wire(frames=8, speed=2.0)
    first, last = max(0, -lag), 8 - max(0, lag)
    # The mask given for frame t belongs to frame t + lag.
    place = measured(image[first:last], mask[first + lag : last + lag])
    assert place.lag == lag
    assert place.lag_share == 1 and place.lag_gain > 0.1


def test_a_bright_wire_is_bright_under_its_mask() -> None:
    image, mask = wire()
    place = measured(255 - image, mask)
    assert place.bright > place.best > place.own


def test_the_filter_knows_neither_scale_nor_offset_nor_sign_of_scale() -> None:
    image, _ = wire()
    lines = line_filter(image)
    assert lines.shape == image.shape and np.abs(lines).max() <= 2.5
    assert np.allclose(line_filter(7 * image - 100), lines, atol=1e-3)
    assert np.allclose(line_filter(-image), -lines, atol=1e-3)
    assert not line_filter(np.full((2, 16, 16), 9.0)).any()


def test_frames_without_enough_wire_say_nothing() -> None:
    image, mask = wire(frames=4)
    empty = PlacementMeter()
    empty.update(image, np.zeros_like(mask))
    assert empty.result() is None
    few = np.zeros_like(mask)
    few[:, 30, 30:34] = 1
    empty.update(image, few)
    assert empty.result() is None
    assert np.isnan(darkness(line_filter(image)[0], few[0])).all()
    part = mask.copy()
    part[1:] = 0
    place = measured(image, part)
    assert place.frames == 1 and np.isnan(place.z) and place.lag == 0


def test_a_mask_beyond_the_border_when_moved_is_measured_on_what_is_left() -> None:
    image, mask = wire(frames=1)
    edge = np.zeros_like(mask)
    edge[0, :, 0] = 1
    found = darkness(line_filter(image)[0], edge[0])
    assert np.isfinite(found).all()
    assert (found[:, :REACH_PX] == 0).all(), "nothing is left of it there"


def test_shapes_that_differ_are_refused() -> None:
    image, mask = wire(frames=2)
    with pytest.raises(MetricsError, match="differ in shape"):
        PlacementMeter().update(image, mask[:1])
