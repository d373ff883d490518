"""Arms of a comparison: seeds averaged within patients, intervals over patients, differences paired and tested."""

import csv
from pathlib import Path

import numpy as np
import pytest

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arms import mean_over_seeds, paired_tests, segmentation_section
from sfvd_pl.metrics.intervals import mean_interval
from sfvd_pl.metrics.scores import HEADLINE, MEASURES, FrameScores, ScoredFrames
from sfvd_pl.metrics.tables import CLIP_COLUMNS, FRAME_COLUMNS, clip_rows, frame_rows, write_table


def table(*values: float) -> FrameScores:
    """One value for every measure of each frame."""
    return FrameScores(np.repeat(np.array(values, float)[:, None], len(MEASURES), axis=1))


def one_frame_each(count: int) -> ScoredFrames:
    """A patient with one clip of one frame for each value."""
    names = tuple(f"p{k}" for k in range(count))
    numbers = np.arange(count)
    return ScoredFrames(numbers, np.zeros(count, int), 0.4 + numbers, np.full(count, 0.5), names, names)


def column(section: dict, arm: int, measure: str) -> dict:
    return section["arms"][arm][measure]


def test_seeds_are_averaged_within_each_patient() -> None:
    means = mean_over_seeds([table(0.2, 0.4), table(0.4, float("nan"))], one_frame_each(2))
    np.testing.assert_allclose(means[:, 0], [0.3, 0.4])


def test_the_section_holds_intervals_and_paired_differences() -> None:
    base, better = np.array([0.2, 0.5, 0.7]), np.array([0.4, 0.6, 0.7])
    section = segmentation_section(
        {"real": [table(*base)], "mixed": [table(*better)]}, one_frame_each(3), seeds=[3], n=300, seed=1
    )
    first, second = section["arms"]
    assert first["dice"] == pytest.approx(mean_interval(base, low=0, high=1).as_dict())
    assert first["tip_error_px"] == pytest.approx(mean_interval(base, low=0).as_dict())
    assert second["difference"]["dice"] == pytest.approx(mean_interval(better - base, low=-1, high=1).as_dict())
    assert second["difference"]["reference"] == section["reference"] == "real" and "difference" not in first
    assert section["n_patients"] == section["n_frames"] == 3 and section["seeds"] == [3]
    assert section["interval"]["method"] == "student" and first["patients"]["p2"]["dice"] == 0.7


def test_another_reference() -> None:
    arms = {"a": [table(0.2, 0.3)], "b": [table(0.5, 0.6)]}
    section = segmentation_section(arms, one_frame_each(2), seeds=[0], reference="b", n=20)
    assert section["arms"][0]["difference"]["dice"]["mean"] == pytest.approx(-0.3)
    assert "difference" not in section["arms"][1]


def test_an_unknown_tip_stays_unknown() -> None:
    blind = table(0.2, 0.3).values.copy()
    blind[:, MEASURES.index("tip_error_px")] = np.nan
    section = segmentation_section({"a": [FrameScores(blind)], "b": [table(0.1, 0.2)]}, one_frame_each(2), seeds=[0])
    assert np.isnan(section["arms"][0]["tip_error_px"]["mean"])
    assert np.isnan(section["arms"][1]["difference"]["tip_error_px"]["mean"])
    tests = section["tests"]
    assert tests["family"] == 2 and [np.isnan(row["p_holm"]) for row in tests["rows"]] == [False, False, True]


def test_each_bin_of_visibility_averages_its_own_frames_by_patient() -> None:
    # Two frames of p0 and one of p1 below CNR 1, one of p1 above, one without a known visibility.
    frames = ScoredFrames(
        clip=np.array([0, 0, 1, 1, 1]),
        frame=np.array([0, 1, 0, 1, 2]),
        visibility=np.array([0.6, 0.9, 0.5, 1.0, np.nan]),
        spacing_mm=np.full(5, np.nan),
        names=("a", "b"),
        patients=("p0", "p1"),
    )
    scores = [table(0.1, 0.3, 0.4, 0.8, 0.0), table(0.3, 0.5, 0.4, 0.8, 0.0)]
    section = segmentation_section({"x": scores}, frames, seeds=[0, 1], edges=(0.5, 1.0, 2.0, 9.0))
    bins = section["arms"][0]["by_visibility"]
    assert [(row["low"], row["high"], row["n_frames"], row["n_patients"]) for row in bins] == [
        (0.5, 1.0, 3, 2),
        (1.0, 2.0, 1, 1),
        (2.0, 9.0, 0, 0),
    ]
    assert bins[0]["dice"]["mean"] == pytest.approx((0.3 + 0.4) / 2)
    assert bins[1]["dice"]["mean"] == pytest.approx(0.8) and np.isnan(bins[1]["dice"]["low"])
    assert np.isnan(bins[2]["dice"]["mean"])


def test_what_few_patients_can_show_is_said() -> None:
    base = np.array([0.5, 0.6, 0.7, 0.4])
    arms = {"a": [table(*base)], "b": [table(*base + 0.1)], "c": [table(*base - 0.1)]}
    tests = segmentation_section(arms, one_frame_each(4), seeds=[0], n=20)["tests"]
    assert [(row["arm"], row["measure"]) for row in tests["rows"]] == [(a, m) for a in "bc" for m in HEADLINE]
    assert tests["family"] == 6 and tests["smallest_p"] == 0.125 and tests["smallest_p_holm"] == 0.75
    assert all(row["p"] == 0.125 and row["p_holm"] == 0.75 and row["n_patients"] == 4 for row in tests["rows"])


def test_enough_patients_that_agree_are_significant() -> None:
    base = np.random.default_rng(0).uniform(0.3, 0.7, (10, 1)) * np.ones((1, len(MEASURES)))
    tests = paired_tests({"a": base, "b": base + 0.05}, "a")
    assert tests["smallest_p"] == 2 / 1024 and all(row["p_holm"] == pytest.approx(6 / 1024) for row in tests["rows"])


def test_one_arm_has_nothing_to_be_tested_against() -> None:
    tests = segmentation_section({"a": [table(0.1, 0.2)]}, one_frame_each(2), seeds=[0], n=20)["tests"]
    assert tests["rows"] == [] and tests["family"] == 0 and np.isnan(tests["smallest_p_holm"])


def test_tables_hold_every_frame_and_every_clip(tmp_path: Path) -> None:
    frames = ScoredFrames(
        clip=np.array([0, 0, 1]),
        frame=np.array([4, 5, 0]),
        visibility=np.array([1.5, 2.5, np.nan]),
        spacing_mm=np.array([0.5, 0.5, np.nan]),
        names=('p0/"run", 1', "p1/run"),
        patients=("p0", "p1"),
    )
    arms = {"real": [table(0.1, 0.2, np.nan)], "mixed": [table(0.25, 1 / 3, 1.0)]}
    path = write_table(tmp_path / "frames.csv", FRAME_COLUMNS, frame_rows(arms, frames, [7]))
    rows = list(csv.DictReader(path.open(newline="")))
    assert len(rows) == 6 and list(rows[0]) == list(FRAME_COLUMNS)
    assert rows[1]["clip"] == 'p0/"run", 1' and rows[1]["frame"] == "5" and float(rows[1]["visibility"]) == 2.5
    assert rows[2]["dice"] == rows[2]["visibility"] == rows[2]["spacing_mm"] == "" and rows[2]["patient"] == "p1"
    assert float(rows[4]["iou"]) == 1 / 3 and rows[4]["arm"] == "mixed" and rows[4]["seed"] == "7"
    path = write_table(tmp_path / "clips.csv", CLIP_COLUMNS, clip_rows(arms, frames, [7]))
    rows = list(csv.DictReader(path.open(newline="")))
    assert len(rows) == 4 and rows[0]["frames"] == "2" and float(rows[0]["dice"]) == pytest.approx(0.15)
    assert float(rows[0]["visibility"]) == 2.0 and rows[1]["dice"] == ""
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["clips.csv", "frames.csv"]


def test_a_table_that_breaks_off_is_not_there(tmp_path: Path) -> None:
    def rows():
        yield ("real", 0)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_table(tmp_path / "frames.csv", ("arm", "seed"), rows())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: segmentation_section({}, one_frame_each(1), seeds=[0]), "reference"),
        (lambda: segmentation_section({"a": [table(0.1)]}, one_frame_each(1), seeds=[0], reference="b"), "reference"),
        (lambda: segmentation_section({"a": [table(0.1)]}, one_frame_each(1), seeds=[0, 1]), "arms"),
        (lambda: segmentation_section({"a": []}, one_frame_each(1), seeds=[]), "arms"),
        (lambda: segmentation_section({"a": [table(0.1)]}, one_frame_each(2), seeds=[0]), "scores"),
        (
            lambda: segmentation_section({"a": [table(0.1)]}, one_frame_each(1), seeds=[0], edges=(2.0, 1.0)),
            "visibility_edges",
        ),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
