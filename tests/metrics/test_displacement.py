"""Wires that move by known amounts, with their masks or without regard to them."""

import numpy as np
import pytest
from rendered import arc, mask, picture, straight
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.displacement import (
    displacement_correlation,
    displacement_sums,
    wire_displacement,
    wire_offsets,
)

MOVES = np.array([0.0, 1.5, 0.5, -1.0, 1.0, 2.5, 1.2, 0.0])
STILL = np.full(len(MOVES), 0.3)


def clip_of(shifts: np.ndarray, seed: int | None = None) -> np.ndarray:
    frames = np.stack([picture(arc(shift)) for shift in shifts])
    return frames if seed is None else frames + np.random.default_rng(seed).normal(0, 0.03, frames.shape)


def masks_of(shifts: np.ndarray) -> np.ndarray:
    return np.stack([mask(arc(shift)) for shift in shifts])


def correlation(clip: np.ndarray, masks: np.ndarray) -> float:
    sums = displacement_sums(wire_displacement(clip, masks))
    return displacement_correlation(sums[None], ["a"]).estimate


def test_a_wire_that_follows_its_mask() -> None:
    found = wire_displacement(clip_of(MOVES, 0), masks_of(MOVES))
    assert np.abs(found.picture - found.mask).mean() < 0.2
    expected = np.abs(np.diff(MOVES))
    assert np.abs(found.mask).mean() == pytest.approx(expected.mean(), abs=0.15)
    assert correlation(clip_of(MOVES, 0), masks_of(MOVES)) > 0.97
    assert np.abs(found.offset).mean() < 0.15
    assert found.offset_by_frame.shape == MOVES.shape and np.isfinite(found.offset_by_frame).all()


def test_a_wire_that_stands_still_under_moving_masks() -> None:
    found = wire_displacement(clip_of(STILL), masks_of(MOVES))
    assert np.abs(found.picture).mean() < 0.1
    assert np.abs(found.picture - found.mask).mean() == pytest.approx(np.abs(np.diff(MOVES)).mean(), abs=0.15)
    assert found.offset_by_frame == pytest.approx(np.abs(MOVES - 0.3), abs=0.2)


def test_a_wire_that_moves_the_other_way() -> None:
    assert correlation(clip_of(-MOVES, 1), masks_of(MOVES)) < -0.9


def test_pictures_without_a_wire_are_unrelated_to_the_masks() -> None:
    found = [
        displacement_sums(wire_displacement(np.random.default_rng(seed).normal(0.5, 0.1, (8, 64, 64)), masks_of(MOVES)))
        for seed in range(6)
    ]
    assert abs(displacement_correlation(np.stack(found), list("abcdef")).estimate) < 0.2


def test_the_correlation_is_scipys_over_all_clips_together() -> None:
    first = wire_displacement(clip_of(MOVES, 3), masks_of(MOVES))
    second = wire_displacement(clip_of(MOVES[::-1], 4), masks_of(MOVES[::-1] + 0.4))
    pooled = displacement_correlation(np.stack([displacement_sums(f) for f in (first, second)]), ["a", "b"])
    x, y = np.concatenate([first.mask, second.mask]), np.concatenate([first.picture, second.picture])
    assert pooled.estimate == pytest.approx(stats.pearsonr(x, y).statistic)
    assert pooled.low <= pooled.estimate <= pooled.high


def test_masks_that_dont_move_say_nothing() -> None:
    assert np.isnan(correlation(clip_of(MOVES), masks_of(STILL)))


def test_frames_without_a_label_are_left_out() -> None:
    masks, known = masks_of(MOVES), np.ones(8, bool)
    known[3] = False
    masks[3] = 0
    found = wire_displacement(clip_of(MOVES), masks, known)
    whole = wire_displacement(clip_of(MOVES), masks_of(MOVES))
    assert len(found.mask) < len(whole.mask)
    assert np.isnan(found.offset_by_frame[3]) and np.isfinite(np.delete(found.offset_by_frame, 3)).all()


@pytest.mark.parametrize(
    ("clip", "masks"),
    [
        (np.zeros((3, 32, 32)), np.zeros((3, 32, 32), np.uint8)),
        (np.zeros((1, 64, 64)), masks_of(STILL[:1])),
        (np.full((3, 64, 64), 0.5), masks_of(MOVES[:3])),
        (np.zeros((2, 64, 64)), np.stack([mask(straight(0, -5, 70))] * 2)),
    ],
    ids=["no wire", "one frame", "constant", "wire on the border"],
)
def test_where_nothing_can_be_measured_nothing_is(clip: np.ndarray, masks: np.ndarray) -> None:
    found = wire_displacement(clip, masks)
    assert len(found.mask) == len(found.picture) == 0
    assert np.isnan(found.offset_by_frame).all()
    assert np.isnan(displacement_correlation(displacement_sums(found)[None], ["a"]).estimate)


def test_offsets_of_each_frame() -> None:
    found = wire_offsets(clip_of(MOVES[:3] + 1), masks_of(MOVES[:3]))
    assert len(found) == 3
    assert [np.abs(gap).mean() for gap in found] == pytest.approx([1.0] * 3, abs=0.15)


def test_shapes_are_checked() -> None:
    with pytest.raises(MetricsError, match="shape"):
        wire_displacement(np.zeros((2, 32, 32)), np.zeros((2, 32, 31)))
    with pytest.raises(MetricsError, match="axes"):
        wire_displacement(np.zeros((32, 32)), np.zeros((32, 32)))
