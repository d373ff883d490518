import numpy as np
import pytest

from sfvd_pl.datasets.windows import Window
from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.memorisation.views import (
    ORIENTATIONS,
    PAD_PX,
    REDUCTION,
    WORKING_PX,
    oriented,
    padded,
    picture_view,
    query_frames,
    reduced,
    wire_view,
    working_clip,
    working_mask,
)
from sfvd_pl.metrics.memorisation.wires import wire_in_question


def test_every_way_of_cutting_a_window_is_undone() -> None:
    frame = np.random.default_rng(0).normal(size=(2, 20, 20))
    for orientation in ORIENTATIONS:
        cut = Window(0, 0, 20, orientation.quarter_turns, orientation.mirrored).cut(frame)
        assert np.array_equal(orientation.undo(cut), frame)
    assert len({frame.tobytes() for frame in oriented(frame)}) == 8


def test_training_frames_get_a_rim_and_hold_a_window() -> None:
    small = padded(np.ones((2, 40, 70), np.float32))
    assert small.shape == (2, WORKING_PX + 2 * PAD_PX, 88)
    assert small.min() == 1.0
    masks = padded(np.ones((1, 96, 96), np.float32), mode="constant")
    assert masks.sum() == 96 * 96 and masks[0, PAD_PX, PAD_PX] == 1 and masks[0, PAD_PX - 1, PAD_PX] == 0
    assert all(side % REDUCTION == 0 for side in small.shape[1:] + masks.shape[1:])


def test_reduced_takes_means_of_blocks() -> None:
    frames = np.arange(2 * 8 * 9, dtype=np.float32).reshape(2, 8, 9)
    assert reduced(frames).shape == (2, 2, 2)
    assert reduced(frames)[1, 1, 0] == frames[1, 4:, :4].mean()


def test_the_working_scale_is_the_same_for_every_window() -> None:
    frames = np.random.default_rng(1).normal(size=(2, 96, 128)).astype(np.float32)
    assert working_clip(frames, 32).shape == (2, 192, 256)
    assert working_clip(frames, WORKING_PX) is frames
    mask = np.zeros((1, 256, 256), np.uint8)
    mask[0, 100, 17:201] = 1
    scaled = working_mask(mask, 256)
    assert scaled.shape == (1, 64, 64) and scaled[0, 25, 4:51].all() and scaled.sum() == 47
    with pytest.raises(MetricsError):
        working_clip(frames[0], 32)


def test_grain_is_what_a_frame_has_beyond_the_mean_of_its_clip() -> None:
    rng = np.random.default_rng(2)
    still = 40 * rng.normal(size=(64, 64))
    noise = rng.normal(size=(6, 64, 64))
    structure, grain = picture_view((still + noise).astype(np.float32)).fine
    alone = picture_view((noise - noise.mean(0)).astype(np.float32)).fine[0]
    assert np.corrcoef(grain.ravel(), alone.ravel())[0, 1] > 0.999
    assert abs(np.corrcoef(structure[0].ravel(), grain[0].ravel())[0, 1]) < 0.2
    assert not picture_view(still[None].astype(np.float32)).fine[1].any()


def test_a_wire_and_its_margin_do_not_count() -> None:
    mask = np.zeros((2, 64, 64), np.uint8)
    mask[0, 32, 10:50] = 1
    view = picture_view(np.random.default_rng(3).normal(size=(2, 64, 64)).astype(np.float32), mask)
    assert not view.used[0, 28:37, 6:54].any() and view.used[0, 27].all() and view.used[1].all()


def test_courses_that_lie_close_resemble_one_another() -> None:
    def course(row: int) -> np.ndarray:
        mask = np.zeros((1, 64, 64), np.uint8)
        mask[0, row : row + 2, 8:56] = 1
        return wire_view(mask).fine[0].ravel()

    def cosine(row: int) -> float:
        return float(course(20) @ course(row) / np.linalg.norm(course(20)) / np.linalg.norm(course(row)))

    assert cosine(20) == pytest.approx(1) and 0.7 < cosine(22) < 0.99 and cosine(40) < 0.01


def test_query_frames_are_even_and_odd_by_turns() -> None:
    assert [query_frames(n) for n in (1, 2, 3)] == [[0], [0, 1], [0, 1, 2]]
    assert query_frames(8) == [0, 3, 4, 7] and query_frames(16) == [0, 5, 10, 15]
    assert all(0 <= t < n for n in range(1, 40) for t in query_frames(n))


def test_only_wire_beside_the_one_that_was_asked_for_is_in_question() -> None:
    asked = np.zeros((4, 64, 64), np.uint8)
    asked[:, 20:22, 4:60] = 1
    followed = np.roll(asked, 2, axis=1)
    elsewhere = followed.copy()
    elsewhere[:, 45:47, 4:60] = 1
    assert wire_in_question(followed, asked) is None
    found = wire_in_question(elsewhere, asked)
    assert found is not None and found[:, 45:47, 4:60].all() and not found[:, :40].any()
    assert np.array_equal(wire_in_question(followed, None), followed)
    assert wire_in_question(np.zeros_like(asked), None) is None
