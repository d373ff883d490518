import numpy as np
import pytest

from sfvd_pl.metrics.quality.masks import mask_shape


@pytest.mark.parametrize("width", [1, 3, 5, 9])
def test_width_of_a_straight_wire(width: int) -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:50, 20 : 20 + width] = 1
    shape = mask_shape(mask)
    assert shape.width_px == pytest.approx(width, abs=0.01)
    assert (shape.pixels, shape.pieces, shape.sides) == (40 * width, 1, 0)
    assert shape.share == pytest.approx(40 * width / 3600)


def test_an_even_width_reads_one_less() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:50, 20:24] = 1
    assert mask_shape(mask).width_px == 3


def test_a_wire_that_leaves_the_frame_is_as_wide_at_its_border() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 0:5] = 1
    shape = mask_shape(mask)
    assert shape.sides == 3
    assert shape.width_px >= 5, "what lies beyond the border isn't known to be free"


def test_breaks_of_five_pixels_do_not_divide_and_longer_ones_do() -> None:
    for gap, pieces in ((3, 1), (4, 1), (8, 2)):
        mask = np.zeros((60, 60), np.uint8)
        mask[10:25, 30] = mask[25 + gap : 50, 30] = 1
        assert mask_shape(mask).pieces == pieces, gap


def test_an_empty_mask_and_a_full_one() -> None:
    empty = mask_shape(np.zeros((8, 8), np.uint8))
    assert (empty.pixels, empty.pieces, empty.sides) == (0, 0, 0) and np.isnan(empty.width_px)
    full = mask_shape(np.ones((8, 8), np.uint8))
    assert (full.share, full.sides, full.pieces) == (1, 4, 1)
