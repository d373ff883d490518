import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.morphology import skeletonize
from toy import wire_row

from sfvd_pl.datasets.windows import (
    NEARNESS_CUTOFF_PX,
    Window,
    band_around,
    centreline_nearness,
    choose_window,
    philox,
)


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(8, 40),
    height=st.integers(8, 60),
    width=st.integers(8, 60),
    probability=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_windows_lie_inside_the_frame(
    seed: int, size: int, height: int, width: int, probability: float
) -> None:
    wire_mask = np.zeros((2, height, width), np.uint8)
    wire_mask[1, seed % height, (7 * seed) % width] = 1
    window = choose_window(
        philox(seed), size, height, width, wire_mask, wire_probability=probability, augment=True
    )
    assert window.size == size
    assert 0 <= window.top <= max(0, height - size)
    assert 0 <= window.left <= max(0, width - size)
    if probability == 1.0:
        assert window.cut(wire_mask).any()


@pytest.mark.parametrize("probability", [0.0, 0.4, 0.85, 1.0])
def test_the_wire_is_in_view_as_often_as_asked(probability: float) -> None:
    wire_mask = np.zeros((1, 200, 200), np.uint8)
    wire_mask[0, 3, 150] = 1  # a random window of 20 pixels holds it about once in a thousand
    hits = [
        choose_window(philox(i), 20, 200, 200, wire_mask, wire_probability=probability, augment=True)
        .cut(wire_mask)
        .any()
        for i in range(1500)
    ]
    assert np.mean(hits) == pytest.approx(probability, abs=0.04)


def test_without_a_wire_the_corners_are_spread_evenly() -> None:
    corners = np.array(
        [
            (w.top, w.left)
            for w in (
                choose_window(philox(i), 10, 14, 19, None, wire_probability=1.0, augment=False)
                for i in range(3000)
            )
        ]
    )
    for axis, places in ((0, 5), (1, 10)):
        counts = np.bincount(corners[:, axis], minlength=places)
        assert len(counts) == places
        assert counts.min() > 0.75 * 3000 / places
        assert counts.max() < 1.25 * 3000 / places


def test_it_always_draws_the_same_amount() -> None:
    after = []
    for wire_mask, probability, augment in ((None, 0.0, False), (wire_row(1, 40, 40, 9), 1.0, True)):
        rng = philox(4)
        choose_window(rng, 16, 40, 40, wire_mask, wire_probability=probability, augment=augment)
        after.append(rng.random())
    assert after[0] == after[1]


def test_all_turns_and_both_mirrorings_occur_and_none_unasked() -> None:
    windows = [
        choose_window(philox(i), 8, 20, 20, None, wire_probability=0.0, augment=True) for i in range(100)
    ]
    assert {(w.quarter_turns, w.mirrored) for w in windows} == {(t, m) for t in range(4) for m in (True, False)}
    plain = [
        choose_window(philox(i), 8, 20, 20, None, wire_probability=0.0, augment=False) for i in range(20)
    ]
    assert {(w.quarter_turns, w.mirrored) for w in plain} == {(0, False)}


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [True, False])
def test_cut_then_turn_then_mirror_by_hand(turns: int, mirrored: bool) -> None:
    frames = np.arange(2 * 9 * 11).reshape(2, 9, 11)
    cut = Window(2, 3, 5, turns, mirrored).cut(frames)
    for t in range(2):
        expected = [list(row[3:8]) for row in frames[t][2:7]]
        for _ in range(turns):  # anticlockwise: the last column becomes the first row
            expected = [list(column) for column in zip(*expected, strict=True)][::-1]
        if mirrored:
            expected = [row[::-1] for row in expected]
        assert cut[t].tolist() == expected
    assert cut.flags.c_contiguous


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 6)])
def test_a_small_frame_is_padded_by_its_edge(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (3, *shape))
    cut = Window(0, 0, 8).cut(frame)
    for row in range(8):
        for column in range(8):
            inside = min(row, shape[0] - 1), min(column, shape[1] - 1)
            assert (cut[:, row, column] == frame[:, inside[0], inside[1]]).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nearness_against_the_distance_to_every_centreline_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wire_mask = wire_row(2, 24, 30, 5)
    wire_mask[1] = 0
    for step in range(20):
        row = int(12 + 6 * np.sin(step / 3 + rng.random()))
        wire_mask[1, row : row + 2, step + 4] = 1
    nearness = centreline_nearness(wire_mask)
    for frame in range(2):
        centreline = np.argwhere(skeletonize(wire_mask[frame] > 0))
        for row in range(24):
            for column in range(30):
                distance = np.sqrt(((centreline - (row, column)) ** 2).sum(1)).min()
                expected = max(0.0, 1.0 - distance / NEARNESS_CUTOFF_PX)
                assert nearness[frame, row, column] == pytest.approx(expected, abs=1e-6)


def test_nearness_without_a_wire_is_zero() -> None:
    wire_mask = wire_row(2, 16, 16, 4)
    wire_mask[0] = 0
    nearness = centreline_nearness(wire_mask)
    assert not nearness[0].any()
    assert nearness[1].max() == 1.0


@pytest.mark.parametrize("radius", [0.0, 2.0, 4.0, 4.5])
def test_band_against_the_distance_to_every_pixel_of_the_mask(radius: float) -> None:
    masks = np.zeros((3, 14, 17), np.uint8)
    masks[0, 5, 3:9] = 1
    masks[2, [0, 13], [16, 2]] = 1
    band = band_around(masks, radius)
    for frame in range(3):
        pixels = np.argwhere(masks[frame])
        for place in np.ndindex(14, 17):
            near = any(np.hypot(*(pixel - place)) <= radius for pixel in pixels)
            assert band[frame][place] == near
