"""Overlap, surface and tip measures against MONAI, brute force and geometry."""

import itertools

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric, HausdorffDistanceMetric, SurfaceDistanceMetric
from scipy import ndimage
from skimage.morphology import skeletonize
from wire_shapes import SHAPES, blank, line, one_pixel, pieces, ring

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.segmentation import (
    MEASURES,
    FrameScores,
    cldice,
    clip_means,
    dice,
    iou,
    patient_means,
    patient_table,
    score_frames,
    surface_distances,
)
from sfvd_pl.metrics.wire import skeleton, tip_error, wire_ends

PAIRS = list(itertools.product(SHAPES, repeat=2))
FILLED = [pair for pair in PAIRS if "empty" not in pair]


def batch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


@pytest.mark.parametrize("pair", FILLED, ids="-".join)
def test_dice_and_iou_agree_with_monai(pair: tuple[str, str]) -> None:
    predicted, label = (SHAPES[name] for name in pair)
    reference = DiceMetric(include_background=True)(batch(predicted), batch(label)).item()
    assert dice(predicted, label) == pytest.approx(reference, abs=1e-6)
    assert iou(predicted, label) == pytest.approx(reference / (2 - reference), abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy")
@pytest.mark.parametrize(
    "pair", [("line", "thick"), ("border", "ring"), ("pieces", "line"), ("one_pixel", "ring")]
)
def test_surface_distances_agree_with_monai(pair: tuple[str, str]) -> None:
    # Away from the frame's border, where MONAI's surfaces are defined differently.
    predicted, label = (np.pad(SHAPES[name], 4) for name in pair)
    hd95 = HausdorffDistanceMetric(include_background=True, percentile=95)(
        batch(predicted), batch(label)
    ).item()
    assd = SurfaceDistanceMetric(include_background=True, symmetric=True)(
        batch(predicted), batch(label)
    ).item()
    assert surface_distances(predicted, label) == pytest.approx((hd95, assd), abs=1e-4)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_cldice_is_its_definition_on_whole_frame_skeletons(pair: tuple[str, str]) -> None:
    predicted, label = (SHAPES[name] > 0 for name in pair)
    if predicted.any() and label.any():
        inside = [
            (skeletonize(a) & b).sum() / skeletonize(a).sum()
            for a, b in ((predicted, label), (label, predicted))
        ]
        expected = 2 * inside[0] * inside[1] / sum(inside) if sum(inside) else 0.0
    else:
        expected = float(predicted.any() == label.any())
    assert cldice(predicted, label) == pytest.approx(expected)


def test_cldice_sees_the_only_channel() -> None:
    assert cldice(line(), line()) == 1.0
    thick = line(column=14, thickness=3)
    assert cldice(thick, line()) == 1.0 > dice(thick, line())
    assert 0 < cldice(line(6, 15), line(6, 25)) < 1


@pytest.mark.parametrize("measure", [dice, iou, cldice])
def test_empty_masks_score_as_documented(measure) -> None:
    assert measure(blank(), blank()) == 1.0
    assert measure(blank(), line()) == 0.0
    assert measure(line(), blank()) == 0.0


def test_empty_masks_are_at_the_documented_distances() -> None:
    diagonal = np.hypot(32, 32)
    assert surface_distances(blank(), blank()) == (0.0, 0.0)
    assert surface_distances(line(), blank()) == surface_distances(blank(), line()) == (diagonal, diagonal)
    assert tip_error(blank(), line()) == pytest.approx(diagonal)
    assert np.isnan(tip_error(line(), blank())) and np.isnan(tip_error(blank(), blank()))


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "empty"])
def test_a_mask_against_itself_is_perfect(name: str) -> None:
    mask = SHAPES[name]
    assert dice(mask, mask) == iou(mask, mask) == cldice(mask, mask) == 1.0
    assert surface_distances(mask, mask) == (0.0, 0.0)
    error = tip_error(mask, mask)
    assert error == 0.0 or np.isnan(error)


@pytest.mark.parametrize("name", list(SHAPES))
def test_skeleton_of_the_box_is_that_of_the_frame(name: str) -> None:
    np.testing.assert_array_equal(
        skeleton(SHAPES[name]), skeletonize(np.pad(SHAPES[name] > 0, 1))[1:-1, 1:-1]
    )


def test_ends_of_a_curve_with_a_spur_are_its_furthest_end_points() -> None:
    mask = line(4, 27)
    mask[12, 15:20] = 1
    assert {tuple(end) for end in wire_ends(mask)} == {(4.0, 15.0), (27.0, 15.0)}


def test_ends_of_a_wire_that_turns_back_are_its_tips_not_its_bend() -> None:
    mask = blank()
    mask[4:25, 6] = mask[10:25, 20] = mask[24, 6:21] = 1
    assert {tuple(end) for end in wire_ends(mask)} == {(4.0, 6.0), (10.0, 20.0)}


def test_ends_of_a_wire_with_a_loop_are_its_end_points_not_the_loops_far_side() -> None:
    rows, columns = np.indices((32, 32))
    mask = (np.abs(np.hypot(rows - 10, columns - 15) - 6) < 0.5).astype(np.uint8)
    mask[16:29, 15] = 1
    for step in range(5):
        mask[14 + step, 19 + step] = 1
    assert {tuple(end) for end in wire_ends(mask)} == {(28.0, 15.0), (18.0, 23.0)}


def test_a_break_is_bridged_and_a_far_speck_is_not() -> None:
    assert {tuple(end) for end in wire_ends(pieces())} == {(6.0, 15.0), (25.0, 15.0)}
    assert {tuple(end) for end in wire_ends(pieces(), gap_px=1.0)} == {(14.0, 15.0), (25.0, 15.0)}


def test_a_speck_beyond_the_tip_becomes_the_end() -> None:
    mask = line(6, 20)
    mask[24, 15] = 1
    assert {tuple(end) for end in wire_ends(mask)} == {(6.0, 15.0), (24.0, 15.0)}


def test_ends_of_masks_without_end_points() -> None:
    assert wire_ends(blank()).shape == (0, 2)
    np.testing.assert_array_equal(wire_ends(one_pixel()), [[9, 20], [9, 20]])
    ends = wire_ends(ring())
    assert np.linalg.norm(ends[0] - ends[1]) > 12


def test_tip_error_is_the_mean_over_both_tips_in_view() -> None:
    assert tip_error(line(10, 25), line(6, 25)) == pytest.approx(2.0)
    assert tip_error(np.roll(line(), 3, axis=1), line()) == pytest.approx(3.0)
    assert tip_error(line()[::-1], line()) == tip_error(line(), line()[::-1])


def test_ends_are_matched_by_distance_not_by_order() -> None:
    falling = blank()
    for column in range(5, 26):
        falling[10 + (column - 5) // 5, column] = 1
    # Seen from above, the first end of one is the left one, of the other the right one.
    assert tip_error(falling[:, ::-1], falling[:, ::1]) == pytest.approx(np.hypot(4, 1), abs=0.5)


def test_where_the_wire_leaves_the_picture_is_no_tip() -> None:
    assert tip_error(line(6, 21), line(0, 25)) == pytest.approx(4.0)
    assert np.isnan(tip_error(line(6, 21), line(0, 31)))
    assert tip_error(line(6, 21), line(0, 31), border_px=0) == pytest.approx(8.0)


def test_no_prediction_is_worse_than_any_other() -> None:
    generator = np.random.default_rng(0)
    for _ in range(10):
        predicted = ndimage.binary_dilation(generator.random((32, 32)) > 0.99)
        assert tip_error(predicted, line()) < tip_error(blank(), line())


def test_frames_are_scored_as_one_by_one_and_unlabelled_ones_not_at_all() -> None:
    labels = np.stack([line(), blank(), line(column=20)])
    probability = np.stack([0.5 * line(), 0.9 * line(), 0.49 * line(column=20)]).astype(np.float16)
    scores = score_frames(probability, labels, annotated=np.array([True, False, True]))
    assert scores.dice.tolist()[::2] == [1.0, 0.0] and np.isnan(scores.dice[1])
    assert all(np.isnan(column[1]) for column in scores.columns().values())
    assert scores.tip_error_px[0] == 0.0 and scores.hd95_px[2] == pytest.approx(np.hypot(32, 32))
    assert score_frames(probability, labels).dice[1] == 0.0
    assert score_frames(probability, labels, threshold=0.4).dice[2] == 1.0
    assert len(scores) == 3 and tuple(scores.columns()) == MEASURES


def test_scores_of_parts_join_to_those_of_the_whole() -> None:
    generator = np.random.default_rng(1)
    labels = np.stack([line(column=c) for c in range(5, 11)])
    probability = generator.random(labels.shape) * 0.3 + 0.5 * labels
    whole = score_frames(probability, labels)
    parts = FrameScores.concatenate(
        [score_frames(probability[a:b], labels[a:b]) for a, b in ((0, 2), (2, 6))]
    )
    for name in MEASURES:
        np.testing.assert_array_equal(whole.columns()[name], parts.columns()[name])
    assert len(FrameScores.concatenate([])) == 0


def test_means_go_frame_clip_patient() -> None:
    values = np.array([1.0, 0.0, np.nan, 0.5, 0.9, np.nan])
    start, length = np.array([0, 2, 4, 5]), np.array([2, 2, 1, 1])
    clips = clip_means(values, start, length)
    np.testing.assert_allclose(clips, [0.5, 0.5, 0.9, np.nan])
    means = patient_means(clips, ["b", "a", "a", "c"])
    assert list(means) == ["a", "b", "c"]
    assert means["a"] == pytest.approx(0.7) and means["b"] == 0.5 and np.isnan(means["c"])


def test_patient_table_weighs_clips_not_frames() -> None:
    labels = np.stack([line()] * 4)
    probability = np.stack([line(), line(), line(), blank()]).astype(float)
    scores = score_frames(probability, labels)
    table = patient_table(scores, start=np.array([0, 3]), length=np.array([3, 1]), patients=["p", "p"])
    assert table["p"]["dice"] == pytest.approx(0.5) and set(table["p"]) == set(MEASURES)


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: dice(blank(), blank(8, 8)), "predicted"),
        (lambda: cldice(np.zeros((1, 4, 4)), np.zeros((1, 4, 4))), "predicted"),
        (lambda: surface_distances(np.zeros(4), np.zeros(4)), "predicted"),
        (lambda: tip_error(blank(), blank(8, 8)), "predicted"),
        (lambda: skeleton(np.zeros((1, 4, 4))), "wire_mask"),
        (lambda: score_frames(blank(), blank()), "probability"),
        (lambda: score_frames(np.zeros((2, 4, 4)), np.zeros((1, 4, 4))), "wire_mask"),
        (lambda: score_frames(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), annotated=np.ones(3)), "annotated"),
        (lambda: clip_means(np.zeros(4), np.array([0]), np.array([5])), "start, length"),
        (lambda: clip_means(np.zeros(4), np.array([0]), np.array([0])), "start, length"),
        (lambda: clip_means(np.zeros(4), np.array([-1]), np.array([2])), "start, length"),
        (lambda: clip_means(np.zeros(4), np.array([0, 1]), np.array([2])), "length"),
        (lambda: clip_means(np.zeros((4, 1)), np.array([0]), np.array([2])), "values"),
        (lambda: patient_means(np.zeros(2), ["a"]), "patients"),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
