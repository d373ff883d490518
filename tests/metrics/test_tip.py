"""Wires that end where their mask ends, before it, or beyond."""

import numpy as np
import pytest
from rendered import mask, picture, straight

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.tip import wire_tips
from sfvd_pl.metrics.wire import wire_path

FRAMES = 6


def clip_of(line: np.ndarray, noise: float = 0.02, **options: float) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, noise, (FRAMES, 64, 64))
    return np.stack([picture(line, **options)] * FRAMES) + grain


def masks_of(line: np.ndarray, width: float = 2.0) -> np.ndarray:
    return np.stack([mask(line, width=width)] * FRAMES)


@pytest.mark.parametrize("beyond", [-4.0, -2.0, 0.0, 1.0, 3.0, 5.0])
@pytest.mark.parametrize("slope", [0.0, 0.6])
def test_how_far_a_wire_goes_on_or_stops_short(beyond: float, slope: float) -> None:
    # The line's own end is a round cap, as the mask's: the same kind of end a few pixels on.
    drop = beyond / np.hypot(1, slope)
    found = wire_tips(
        clip_of(straight(20, bottom=40 + drop, slope=slope), noise=0.01), masks_of(straight(20, slope=slope))
    )
    assert (found.n, found.found) == (1, 1), "the other end leaves the picture"
    assert found.offset_px[0] == pytest.approx(beyond, abs=0.6)


def test_both_ends_count_where_both_are_in_view() -> None:
    found = wire_tips(clip_of(straight(30, 14, 46)), masks_of(straight(30, 12, 48)))
    assert (found.n, found.found) == (2, 2)
    assert found.offset_px == pytest.approx([-2, -2], abs=0.6)


def test_a_mean_over_frames_holds_in_noise() -> None:
    found = wire_tips(clip_of(straight(30, bottom=43), noise=0.06), masks_of(straight(30, bottom=40)))
    assert found.found == 1 and found.offset_px[0] == pytest.approx(3, abs=1.2)


def test_a_wire_that_goes_on_out_of_reach_or_isnt_there_has_no_tip_to_find() -> None:
    beyond = wire_tips(clip_of(straight(30, bottom=70)), masks_of(straight(30)))
    assert (beyond.n, beyond.found) == (1, 0)
    nowhere = wire_tips(clip_of(straight(8, bottom=70)), masks_of(straight(40)))
    assert nowhere.n == 1 and nowhere.found == 0
    constant = wire_tips(np.full((2, 64, 64), 0.5), masks_of(straight(30))[:2])
    assert (constant.n, constant.found) == (1, 0)


def test_ends_that_swap_places_from_frame_to_frame_stay_apart() -> None:
    # A level wire that tilts: a path begins at the lower end, which is the left one and the right one in turn.
    tilted = [np.array([[30 + tilt, 12.0], [30 - tilt, 48.0]]) for tilt in (2, -2, 2, -2)]
    longer = [line + np.array([[0, 0], [0, 3.0]]) for line in tilted]
    starts = [wire_path(mask(line))[0, 1] for line in tilted]
    assert starts[0] < 20 and starts[1] > 40, "otherwise nothing swaps"
    found = wire_tips(np.stack([picture(line) for line in longer]), np.stack([mask(line) for line in tilted]))
    assert sorted(found.offset_px) == pytest.approx([0, 3], abs=0.7)


@pytest.mark.parametrize(
    "masks",
    [np.zeros((FRAMES, 64, 64), np.uint8), masks_of(straight(30, -5, 70)), masks_of(straight(30, 20, 24))],
    ids=["no wire", "both ends outside", "too short"],
)
def test_masks_without_a_tip_in_view(masks: np.ndarray) -> None:
    found = wire_tips(clip_of(straight(30)), masks)
    assert (found.n, found.found, len(found.offset_px)) == (0, 0, 0)


def test_unlabelled_frames_dont_count_and_one_frame_is_enough() -> None:
    masks, known = masks_of(straight(30)), np.zeros(FRAMES, bool)
    assert wire_tips(clip_of(straight(30)), masks, known).n == 0
    known[2] = True
    one = wire_tips(clip_of(straight(30, bottom=42), noise=0.005), masks, known)
    assert one.offset_px == pytest.approx([2], abs=0.6)


def test_shapes_are_checked() -> None:
    with pytest.raises(MetricsError, match="shape"):
        wire_tips(np.zeros((2, 32, 32)), np.zeros((2, 32, 31)))
