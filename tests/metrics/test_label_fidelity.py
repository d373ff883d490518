"""Label fidelity against brute force, its shuffled control, and streaming."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_shapes import blank, line

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.label import (
    LabelFidelityAccumulator,
    derangement,
    label_fidelity,
    label_fidelity_section,
)
from sfvd_pl.metrics.segmentation import dice

START, LENGTH = np.array([0, 4, 8, 10]), np.array([4, 4, 2, 4])
PATIENTS = ["a", "a", "b", "c"]


def frames() -> tuple[np.ndarray, np.ndarray]:
    """Fourteen frames whose wires lie apart by clip, and predictions that miss some of each."""
    masks = np.stack([line(column=5 + 6 * clip) for clip, count in enumerate(LENGTH) for _ in range(count)])
    keep = np.random.default_rng(0).random(masks.shape) < 0.7
    return (0.8 * masks * keep).astype(np.float32), masks


def test_overall_by_frame_and_drift_are_brute_force() -> None:
    probability, masks = frames()
    result = label_fidelity(probability, masks, start=START, length=LENGTH, patients=PATIENTS)
    scores = [
        [dice(probability[s + t] >= 0.5, masks[s + t]) for t in range(n)]
        for s, n in zip(START, LENGTH, strict=True)
    ]
    assert result.dice.estimate == pytest.approx(np.mean([np.mean(clip) for clip in scores]))
    by_frame = [np.mean([clip[t] for clip in scores if t < len(clip)]) for t in range(4)]
    np.testing.assert_allclose(result.by_frame, by_frame)
    assert result.drift == pytest.approx(by_frame[3] / by_frame[0])
    assert result.n_clips == 4 and result.shuffled == 0.0
    assert result.dice.low <= result.dice.estimate <= result.dice.high


def test_frames_without_a_label_and_clips_without_any_do_not_count() -> None:
    probability, masks = frames()
    annotated = np.ones(14, dtype=bool)
    annotated[[1, 8, 9]] = False
    masks = masks * annotated[:, None, None].astype(np.uint8)
    result = label_fidelity(
        probability, masks, start=START, length=LENGTH, patients=PATIENTS, annotated=annotated
    )
    kept = [[0, 2, 3], [4, 5, 6, 7], [10, 11, 12, 13]]
    expected = np.mean([np.mean([dice(probability[i] >= 0.5, masks[i]) for i in clip]) for clip in kept])
    assert result.dice.estimate == pytest.approx(expected) and result.n_clips == 3


def test_bins_of_visibility_hold_their_lower_limit() -> None:
    probability, masks = frames()
    visibility = np.array([0.0, 1.0, 1.5, 2.0] + [np.nan] * 10)
    result = label_fidelity(
        probability,
        masks,
        start=START,
        length=LENGTH,
        patients=PATIENTS,
        visibility=visibility,
        visibility_edges=(1, 2),
    )
    assert result.n_by_visibility.tolist() == [2]
    assert result.by_visibility[0] == pytest.approx(
        np.mean([dice(probability[i] >= 0.5, masks[i]) for i in (1, 2)])
    )


def test_the_control_never_meets_a_copy_of_its_own_mask() -> None:
    masks = np.stack([line(column=c) for c in (5, 5, 20, 20)])
    perfect = masks.astype(float)
    each = {"start": np.arange(4), "length": np.ones(4, dtype=int), "patients": ["a", "b", "c", "d"]}
    assert label_fidelity(perfect, masks, groups=["m", "m", "n", "n"], **each).shuffled == 0.0
    assert np.isnan(label_fidelity(perfect, masks, groups=["m", "m", "m", "n"], **each).shuffled)


@settings(max_examples=60, deadline=None)
@given(groups=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=24), seed=st.integers(0, 999))
def test_a_derangement_leaves_every_group(groups: list[str], seed: int) -> None:
    partner = derangement(groups, seed)
    if 2 * max(groups.count(name) for name in groups) > len(groups):
        assert partner is None
        return
    assert partner is not None and sorted(partner.tolist()) == list(range(len(groups)))
    assert all(groups[i] != groups[j] for i, j in enumerate(partner))


def test_a_derangement_is_seeded_and_random() -> None:
    names = [str(i) for i in range(12)]
    first, again, other = (derangement(names, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and derangement([], 0) is None


def test_one_clip_at_a_time_is_the_same_as_all_at_once() -> None:
    probability, masks = frames()
    visibility = np.linspace(0, 5, 14)
    whole = label_fidelity(
        probability, masks, start=START, length=LENGTH, patients=PATIENTS, visibility=visibility
    )
    stream = LabelFidelityAccumulator()
    for clip in reversed(range(4)):
        rows = slice(START[clip], START[clip] + LENGTH[clip])
        stream.update(probability[rows], masks[rows], patient=PATIENTS[clip], visibility=visibility[rows])
    result = stream.result()
    assert result.dice == pytest.approx(whole.dice)
    np.testing.assert_allclose(result.by_frame, whole.by_frame)
    np.testing.assert_allclose(result.by_visibility, whole.by_visibility)


def test_nothing_measured_is_nan() -> None:
    stream = LabelFidelityAccumulator()
    assert np.isnan(
        stream.update(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)), patient="a", annotated=np.array([False]))
    )
    result = stream.result()
    assert result.n_clips == 0 and np.isnan(result.dice.estimate) and np.isnan(result.drift)
    assert np.isnan(result.shuffled) and result.by_frame.size == 0


def test_the_section_puts_both_sets_side_by_side() -> None:
    probability, masks = frames()
    common = {"start": START, "length": LENGTH, "patients": PATIENTS}
    real = label_fidelity(masks.astype(float), masks, visibility=np.full(14, 2.5), **common)
    synthetic = label_fidelity(probability, masks, visibility=np.full(14, 9.0), **common)
    section = label_fidelity_section(synthetic, real)
    assert section["ratio"] == pytest.approx(synthetic.dice.estimate)
    assert section["real"]["dice"] == 1.0 and section["synthetic"]["n_clips"] == 4
    counts = [(row["n_synthetic"], row["n_real"]) for row in section["by_visibility"]]
    assert counts[-1] == (14, 0) and counts[4] == (0, 14)
    nothing = label_fidelity(np.zeros_like(probability), masks, **common)
    assert np.isnan(label_fidelity_section(synthetic, nothing)["ratio"])


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: LabelFidelityAccumulator(visibility_edges=(1.0,)), "visibility_edges"),
        (lambda: LabelFidelityAccumulator(visibility_edges=(1.0, 1.0)), "visibility_edges"),
        (lambda: label_fidelity(*frames(), start=START, length=LENGTH, patients=["a"]), "patients"),
        (
            lambda: label_fidelity(*frames(), start=START, length=LENGTH, patients=PATIENTS, groups=["a"]),
            "groups",
        ),
        (
            lambda: label_fidelity(blank(), blank(), start=START, length=LENGTH, patients=PATIENTS),
            "probability",
        ),
        (
            lambda: label_fidelity(*frames(), start=START, length=LENGTH + 4, patients=PATIENTS),
            "start, length",
        ),
        (
            lambda: LabelFidelityAccumulator().update(
                np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), patient="a", visibility=np.zeros(3)
            ),
            "visibility",
        ),
        (
            lambda: LabelFidelityAccumulator().update(
                np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), patient="a", other_mask=np.zeros((2, 9, 8))
            ),
            "other_mask[0]",
        ),
        (
            lambda: label_fidelity_section(
                LabelFidelityAccumulator().result(),
                LabelFidelityAccumulator(visibility_edges=(0.0, 1.0)).result(),
            ),
            "visibility_edges",
        ),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
