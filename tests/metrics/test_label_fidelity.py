"""Label fidelity against brute force, its shuffled control, and streaming."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_shapes import blank, line

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.intervals import mean_interval
from sfvd_pl.metrics.label import (
    MEASURES,
    LabelFidelity,
    LabelFidelityAccumulator,
    derangement,
    label_fidelity_section,
    other_masks,
)
from sfvd_pl.metrics.scores import score_frame

START, LENGTH = np.array([0, 4, 8, 10]), np.array([4, 4, 2, 4])
GROUPS = ["a", "a", "b", "c"]


def frames() -> tuple[np.ndarray, np.ndarray]:
    """Fourteen frames whose wires lie apart by clip, and predictions that miss some of each."""
    masks = np.stack([line(column=5 + 6 * clip) for clip, count in enumerate(LENGTH) for _ in range(count)])
    keep = np.random.default_rng(0).random(masks.shape) < 0.7
    return (0.8 * masks * keep).astype(np.float32), masks


def measure(
    probability: np.ndarray,
    masks: np.ndarray,
    *,
    visibility: np.ndarray | None = None,
    annotated: np.ndarray | None = None,
    order: list[int] | None = None,
    **settings: object,
) -> LabelFidelity:
    stream = LabelFidelityAccumulator(**settings)
    for clip in order or range(len(START)):
        rows = slice(START[clip], START[clip] + LENGTH[clip])
        stream.update(
            probability[rows],
            masks[rows],
            group=GROUPS[clip],
            name=f"clip {clip}",
            visibility=None if visibility is None else visibility[rows],
            annotated=None if annotated is None else annotated[rows],
        )
    return stream.result(n=200, seed=3)


def brute_force(probability: np.ndarray, masks: np.ndarray, measure: str) -> list[list[float]]:
    """The measure of every frame of every clip."""
    return [
        [score_frame(probability[s + t] >= 0.5, masks[s + t])[measure] for t in range(n)]
        for s, n in zip(START, LENGTH, strict=True)
    ]


@pytest.mark.parametrize(("number", "name"), list(enumerate(MEASURES)))
def test_overall_and_by_frame_are_brute_force(number: int, name: str) -> None:
    probability, masks = frames()
    result = measure(probability, masks)
    scores = brute_force(probability, masks, name)
    means = [np.mean(clip) for clip in scores]
    grouped = mean_interval(np.array([means[0] + means[1], means[2], means[3]]), np.array([2, 1, 1]), low=0)
    high = 1 if name in ("dice", "cldice") else np.inf
    expected = (grouped.estimate, grouped.low, min(grouped.high, high))
    assert result.overall[number] == pytest.approx(expected)
    assert result.overall[number].estimate == pytest.approx(np.mean(means))
    for t, found in enumerate(result.by_frame):
        assert found[number].estimate == pytest.approx(np.mean([clip[t] for clip in scores if t < len(clip)]))
    assert result.n_by_frame.tolist() == [4, 4, 3, 3] and result.n_groups == 3 and len(result.clips) == 4


def test_drift_is_dice_at_the_end_over_dice_at_the_beginning() -> None:
    probability, masks = frames()
    result = measure(probability, masks)
    assert result.drift == pytest.approx(result.by_frame[3][0].estimate / result.by_frame[0][0].estimate)


def test_every_clip_is_listed() -> None:
    probability, masks = frames()
    probability[8:10] = 0.0
    result = measure(probability, masks, visibility=np.arange(14.0))
    scores = [np.mean(clip) for clip in brute_force(probability, masks, "dice")]
    assert [clip.values["dice"] for clip in result.clips] == pytest.approx(scores)
    missed = result.clips[2]
    assert (missed.number, missed.name, missed.group) == (2, "clip 2", "b")
    assert missed.as_dict()["n_frames"] == 2 and missed.visibility == pytest.approx(8.5)
    assert missed.values["tip_error_px"] == pytest.approx(np.hypot(32, 32))


def test_frames_without_a_label_and_clips_without_any_do_not_count() -> None:
    probability, masks = frames()
    annotated = np.ones(14, dtype=bool)
    annotated[[1, 8, 9]] = False
    masks = masks * annotated[:, None, None].astype(np.uint8)
    result = measure(probability, masks, annotated=annotated)
    kept = [[0, 2, 3], [4, 5, 6, 7], [10, 11, 12, 13]]
    dice = [[score_frame(probability[i] >= 0.5, masks[i])["dice"] for i in clip] for clip in kept]
    assert result.overall[0].estimate == pytest.approx(np.mean([np.mean(clip) for clip in dice]))
    assert [(clip.number, clip.n_frames) for clip in result.clips] == [(0, 3), (1, 4), (3, 4)]
    assert result.n_by_frame.tolist() == [3, 2, 3, 3]


def test_bins_of_visibility_hold_their_lower_limit() -> None:
    probability, masks = frames()
    visibility = np.array([0.0, 1.0, 1.5, 2.0] + [np.nan] * 10)
    result = measure(probability, masks, visibility=visibility, visibility_edges=(1, 2))
    assert result.n_by_visibility.tolist() == [2]
    expected = np.mean([score_frame(probability[i] >= 0.5, masks[i])["dice"] for i in (1, 2)])
    assert result.by_visibility[0][0].estimate == pytest.approx(expected)
    assert np.isnan(result.by_visibility[0][0].low)  # both are of one group


def test_the_control_never_meets_a_copy_of_its_own_mask() -> None:
    masks = np.stack([line(column=c) for c in (5, 5, 20, 20)])
    partner = derangement(["m", "m", "n", "n"], 0)
    assert partner is not None and derangement(["m", "m", "m", "n"], 0) is None
    control = LabelFidelityAccumulator()
    for clip in range(4):
        control.update(masks[clip : clip + 1].astype(float), masks[partner[clip]][None], group=str(clip))
    assert control.result().overall[0].estimate == 0.0


def test_masks_of_another_clip_are_repeated_or_cut() -> None:
    masks = np.arange(3)[:, None, None] * np.ones((1, 2, 2))
    assert other_masks(masks, (5, 2, 2))[:, 0, 0].tolist() == [0, 1, 2, 0, 1]
    assert other_masks(masks, (2, 2, 2))[:, 0, 0].tolist() == [0, 1]
    assert other_masks(masks, (2, 1, 3))[1].tolist() == [[1, 1, 0]]
    assert other_masks(masks, (2, 1, 2), np.array([[[0, 1]]] * 2))[1].tolist() == [[1, 0]]


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


def test_the_order_of_clips_does_not_matter() -> None:
    probability, masks = frames()
    visibility = np.linspace(0, 5, 14)
    one = measure(probability, masks, visibility=visibility).row("x")
    other = measure(probability, masks, visibility=visibility, order=[3, 1, 0, 2]).row("x")
    assert flat(one) == pytest.approx(flat(other), nan_ok=True)


def flat(value: object) -> list[float]:
    """All numbers of a row."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in flat(item)]
    return [] if isinstance(value, str) else [float(value)]


def test_nothing_measured_is_nan() -> None:
    stream = LabelFidelityAccumulator()
    nothing = stream.update(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)), group="a", annotated=np.array([False]))
    result = stream.result()
    assert nothing is None and result.clips == () and result.n_groups == 0 and result.by_frame == []
    assert np.isnan(result.overall[0].estimate) and np.isnan(result.drift)
    assert np.isnan(result.by_visibility[0][0].estimate) and result.row("x")["n"] == 0


def test_the_section_puts_sets_side_by_side() -> None:
    probability, masks = frames()
    real = measure(masks.astype(float), masks, visibility=np.full(14, 2.5))
    synthetic = measure(probability, masks, visibility=np.full(14, 9.0))
    section = label_fidelity_section({"synthetic": synthetic, "real": real})
    assert [row["name"] for row in section["rows"]] == ["synthetic", "real"]
    assert section["ratio"]["dice"] == pytest.approx(synthetic.overall[0].estimate)
    assert section["rows"][1]["dice"]["mean"] == 1.0 and section["rows"][0]["n"] == 4
    counts = [[entry["n"] for entry in row["by_visibility"]] for row in section["rows"]]
    assert counts == [[0] * 6 + [14], [0] * 4 + [14, 0, 0]]
    assert [clip["dice"] for clip in section["clips"]] == [clip.values["dice"] for clip in synthetic.clips]
    nothing = measure(np.zeros_like(probability), masks)
    assert np.isnan(label_fidelity_section({"synthetic": real, "real": nothing})["ratio"]["dice"])


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: LabelFidelityAccumulator(visibility_edges=(1.0,)), "visibility_edges"),
        (lambda: LabelFidelityAccumulator(visibility_edges=(1.0, 1.0)), "visibility_edges"),
        (lambda: LabelFidelityAccumulator().update(blank(), blank(), group="a"), "probability"),
        (
            lambda: LabelFidelityAccumulator().update(
                np.zeros((2, 8, 8)), np.zeros((2, 8, 8)), group="a", visibility=np.zeros(3)
            ),
            "visibility",
        ),
        (
            lambda: LabelFidelityAccumulator().update(np.zeros((2, 8, 8)), np.zeros((2, 9, 8)), group="a"),
            "wire_mask",
        ),
        (lambda: label_fidelity_section({"synthetic": LabelFidelityAccumulator().result()}), "rows"),
        (
            lambda: label_fidelity_section(
                {
                    "synthetic": LabelFidelityAccumulator().result(),
                    "real": LabelFidelityAccumulator(visibility_edges=(0.0, 1.0)).result(),
                }
            ),
            "visibility_edges",
        ),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
