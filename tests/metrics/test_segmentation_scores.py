"""Measures of segmentation: what they say of plain cases, empty masks, and how they are averaged."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import skeletonize
from wire_shapes import SHAPES, blank, line, one_pixel, pieces, ring

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.scores import (
    DEFINITIONS,
    MEASURES,
    FrameScores,
    ScoredFrames,
    group_means,
    score_frame,
    score_frames,
)
from sfvd_pl.metrics.segmentation import cldice, dice, false_components, iou, length_ratio, surface_distances
from sfvd_pl.metrics.wire import Wire, skeleton, tip_error, wire_ends, wire_path


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
    assert scores["dice"].tolist()[::2] == [1.0, 0.0] and np.isnan(scores["dice"][1])
    assert all(np.isnan(column[1]) for column in scores.columns().values())
    assert scores["tip_error_px"][0] == 0.0 and scores["hd95_px"][2] == pytest.approx(np.hypot(32, 32))
    assert score_frames(probability, labels)["dice"][1] == 0.0
    assert score_frames(probability, labels, threshold=0.4)["dice"][2] == 1.0
    assert len(scores) == 3 and tuple(scores.columns()) == MEASURES


def test_what_is_found_in_ignored_pixels_is_neither_right_nor_wrong() -> None:
    label, other = np.zeros((2, 40, 40), np.uint8), np.zeros((2, 40, 40), np.uint8)
    label[:, 10, 5:30], other[0, 25:28, 5:30] = 1, 1
    predicted = (label | other).astype(np.float32)
    found = score_frames(predicted, label, ignore=other)
    assert np.array_equal(found.values, score_frames(label.astype(np.float32), label).values, equal_nan=True)
    assert score_frames(predicted, label)["dice"].tolist() == [pytest.approx(0.4), 1.0]


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


def frames_of(lengths: list[int], patients: list[str]) -> ScoredFrames:
    clip = np.repeat(np.arange(len(lengths)), lengths)
    unknown = np.full(len(clip), np.nan)
    names = tuple(f"c{k}" for k in range(len(lengths)))
    return ScoredFrames(clip, np.arange(len(clip)), unknown, unknown, names, tuple(patients))


def table_of(values: list[float]) -> FrameScores:
    return FrameScores(np.repeat(np.array(values, float)[:, None], len(MEASURES), axis=1))


def test_means_go_frame_clip_patient() -> None:
    scores = table_of([1.0, 0.0, np.nan, 0.5, 0.9, np.nan])
    frames = frames_of([2, 2, 1, 1], ["b", "a", "a", "c"])
    np.testing.assert_allclose(frames.clip_means(scores)[:, 0], [0.5, 0.5, 0.9, np.nan])
    assert frames.everybody == ("a", "b", "c")
    np.testing.assert_allclose(frames.patient_means(scores)[:, 0], [0.7, 0.5, np.nan])
    keep = np.array([True, False, True, True, True, True])
    np.testing.assert_allclose(frames.patient_means(scores, keep)[:, 0], [0.7, 1.0, np.nan])


def test_clips_weigh_the_same_however_long() -> None:
    labels = np.stack([line()] * 4)
    probability = np.stack([line(), line(), line(), blank()]).astype(float)
    scores = score_frames(probability, labels)
    means = frames_of([3, 1], ["p", "p"]).patient_means(scores)
    assert means.shape == (1, len(MEASURES)) and means[0, 0] == pytest.approx(0.5)


def test_group_means_leave_unknown_values_out_column_by_column() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, 5.0]])
    np.testing.assert_allclose(group_means(values, np.array([0, 0, 2]), 3), [[2, np.nan], [np.nan] * 2, [np.nan, 5]])


def test_length_ratio_says_how_much_of_the_wire_was_found() -> None:
    assert length_ratio(line(6, 15), line(6, 25)) == pytest.approx(0.5)
    assert length_ratio(line(6, 25), line(6, 15)) == pytest.approx(2.0)
    assert length_ratio(blank(), line()) == 0.0
    assert np.isnan(length_ratio(line(), blank())) and np.isnan(length_ratio(blank(), blank()))
    assert Wire(one_pixel()).length == 1.0 and Wire(blank()).length == 0.0
    assert Wire(np.eye(9)).length == pytest.approx(8 * 2**0.5 + 1)
    staircase = np.kron(np.eye(4), np.ones((1, 2)))[:, :8] > 0
    assert Wire(line(4, 27)).length == 24.0 and Wire(staircase).length == pytest.approx(4 + 3 * 2**0.5 + 1)


def test_false_components_are_parts_away_from_the_label() -> None:
    label, found = line(6, 25, column=15), line(6, 14, column=17)
    assert false_components(found, label) == 0  # 2 px beside it
    assert false_components(found, label, near_px=1) == 1
    found[28:30, 2:5] = found[0, 31] = found[2, 2] = found[3, 3] = 1
    assert false_components(found, label) == 3  # neighbours across a corner are one
    assert false_components(found, blank()) == 4
    assert false_components(blank(), label) == false_components(blank(), blank()) == 0
    broken = pieces()
    assert false_components(broken, line()) == 1  # its pieces lie on the label, its speck does not


def test_a_tip_is_found_within_a_distance_each_tip_by_itself() -> None:
    scores = score_frame(line(9, 29), line(6, 25), spacing_mm=0.5)
    assert scores["tip_error_px"] == pytest.approx(3.5) and scores["tip_error_mm"] == pytest.approx(1.75)
    assert (scores["pck_2px"], scores["pck_5px"]) == (0.0, 1.0)
    assert (scores["pck_1mm"], scores["pck_2mm"]) == (0.0, 1.0)
    one = score_frame(line(6, 20), line(6, 25))
    assert (one["pck_2px"], one["pck_5px"]) == (0.5, 1.0) and np.isnan(one["pck_1mm"]) and np.isnan(one["hd95_mm"])


def test_a_wire_that_was_missed_is_found_within_no_distance() -> None:
    # The diagonal of this frame is shorter than 10 px.
    missed = score_frame(np.zeros((6, 6)), np.pad(np.ones((2, 1)), ((2, 2), (2, 3))), spacing_mm=0.1)
    assert missed["tip_error_px"] == pytest.approx(np.hypot(6, 6)) and missed["pck_10px"] == missed["pck_5mm"] == 0.0


EMPTY = {
    # measure: both empty, nothing predicted, nothing labelled
    "dice": (1, 0, 0),
    "iou": (1, 0, 0),
    "cldice": (1, 0, 0),
    "tip_error_px": (np.nan, np.hypot(32, 32), np.nan),
    "tip_error_mm": (np.nan, 0.5 * np.hypot(32, 32), np.nan),
    **dict.fromkeys((name for name in MEASURES if name.startswith("pck")), (np.nan, 0, np.nan)),
    **dict.fromkeys(("hd95_px", "assd_px"), (0, np.hypot(32, 32), np.hypot(32, 32))),
    **dict.fromkeys(("hd95_mm", "assd_mm"), (0, 0.5 * np.hypot(32, 32), 0.5 * np.hypot(32, 32))),
    "length_ratio": (np.nan, 0, np.nan),
    "false_components": (0, 0, 1),
}


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_defined_where_a_mask_is_empty(name: str) -> None:
    found = [
        score_frame(predicted, label, spacing_mm=0.5)[name]
        for predicted, label in ((blank(), blank()), (blank(), line()), (line(), blank()))
    ]
    np.testing.assert_allclose(found, EMPTY[name])


def test_definitions_hold_for_every_pair_of_shapes() -> None:
    for predicted in SHAPES.values():
        for label in SHAPES.values():
            scores = score_frame(predicted, label, spacing_mm=0.5)
            assert tuple(scores) == MEASURES
            for measure in DEFINITIONS:
                value = scores[measure.name]
                assert np.isnan(value) or 0 <= value <= measure.high


def test_the_path_of_a_wire_leads_from_end_to_end() -> None:
    path = wire_path(pieces())
    assert sorted(path[[0, -1], 0]) == [6, 25] and (path[:, 1] == 15).all() and len(path) == 18
    np.testing.assert_array_equal(wire_ends(pieces()), path[[0, -1]])
    assert wire_path(blank()).shape == (0, 2) and len(wire_path(one_pixel())) == 1


def test_a_label_made_once_scores_as_its_mask_does() -> None:
    labels = np.stack([line(), blank(), ring()])
    probability = np.random.default_rng(0).random(labels.shape) * 0.3 + 0.5 * labels
    masks = score_frames(probability, labels, spacing_mm=0.4)
    wires = score_frames(probability, [Wire(label) for label in labels], spacing_mm=0.4)
    np.testing.assert_array_equal(masks.values, wires.values)


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
        (lambda: score_frames(np.zeros((2, 4, 4)), [Wire(np.zeros((4, 4)))]), "wire_mask"),
        (lambda: score_frame(blank(), Wire(blank(8, 8))), "predicted"),
        (lambda: length_ratio(np.zeros(3), np.zeros(3)), "predicted"),
        (lambda: false_components(blank(), np.zeros(3)), "label"),
        (lambda: Wire(np.zeros(3)), "wire_mask"),
        (lambda: FrameScores(np.zeros((3, 2))), "values"),
        (lambda: frames_of([1, 1], ["a"]), "patients"),
        (lambda: ScoredFrames(*[np.zeros(1, int)] * 2, *[np.zeros(2)] * 2, ("c",), ("p",)), "visibility"),
        (lambda: ScoredFrames(*[np.ones(1, int)] * 2, *[np.zeros(1)] * 2, ("c",), ("p",)), "clip"),
        (lambda: frames_of([1, 1], ["a", "a"]).clip_means(table_of([0.5])), "scores"),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
