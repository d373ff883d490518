"""Intervals over patients against scipy's bootstrap, theory and brute force."""

import numpy as np
import pytest
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.bootstrap import mean_intervals, paired_bootstrap, patient_bootstrap, sums_interval

VALUES = {f"p{i}": float(value) for i, value in enumerate(np.random.default_rng(0).normal(0.7, 0.1, 25))}


def test_the_interval_is_scipys() -> None:
    ours = patient_bootstrap(VALUES, n=4000, seed=1)
    theirs = stats.bootstrap(
        (np.array(list(VALUES.values())),),
        np.mean,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert ours.estimate == pytest.approx(np.mean(list(VALUES.values())))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_whole_patients_are_resampled_not_their_clips() -> None:
    # Within a patient all clips agree, so a hundred clips each tell no more than one each.
    few = patient_bootstrap({"a": 0.2, "b": 0.8, "c": 0.5}, n=500)
    many = patient_bootstrap({"a": [0.2] * 100, "b": [0.8] * 100, "c": [0.5] * 100}, n=500)
    assert many == pytest.approx(few)


def test_clips_are_pooled_so_that_the_estimate_is_the_mean_over_clips() -> None:
    assert patient_bootstrap({"a": [1.0, 1.0, 1.0], "b": [0.0]}).estimate == pytest.approx(0.75)


def test_order_of_patients_does_not_matter_and_the_seed_does() -> None:
    reordered = dict(sorted(VALUES.items(), reverse=True))
    assert patient_bootstrap(reordered, n=200, seed=3) == patient_bootstrap(VALUES, n=200, seed=3)
    assert patient_bootstrap(VALUES, n=200, seed=4) != patient_bootstrap(VALUES, n=200, seed=3)


def test_another_statistic_and_level() -> None:
    wide = patient_bootstrap(VALUES, statistic=lambda values: float(np.median(values)), n=500)
    narrow = patient_bootstrap(VALUES, statistic=lambda values: float(np.median(values)), n=500, level=0.5)
    assert wide.estimate == np.median(list(VALUES.values()))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_unknown_values_are_dropped() -> None:
    with_gaps = {**VALUES, "gap": float("nan"), "void": []}
    assert patient_bootstrap(with_gaps, n=100) == patient_bootstrap(VALUES, n=100)
    assert (
        np.isnan(patient_bootstrap({}, n=10)).all()
        and np.isnan(patient_bootstrap({"a": float("nan")}, n=10)).all()
    )


def test_one_patient_has_no_interval() -> None:
    estimate, low, high = patient_bootstrap({"a": [0.1, 0.5]}, n=10)
    assert estimate == pytest.approx(0.3) and np.isnan(low) and np.isnan(high)


def test_pairing_cancels_what_patients_share() -> None:
    arm = {patient: value + 0.05 for patient, value in VALUES.items()}
    paired = paired_bootstrap(arm, VALUES, n=500)
    assert paired == pytest.approx((0.05, 0.05, 0.05))
    flipped = paired_bootstrap(VALUES, arm, n=500)
    assert flipped == pytest.approx((-0.05, -0.05, -0.05))


def test_a_patient_unknown_in_one_arm_is_dropped_from_both() -> None:
    arm = {"a": 0.5, "b": float("nan"), "c": 0.7}
    assert paired_bootstrap(arm, {"a": 0.4, "b": 0.0, "c": 0.6}, n=50).estimate == pytest.approx(0.1)
    nothing = paired_bootstrap({"a": float("nan")}, {"a": 1.0}, n=50)
    assert np.isnan(nothing).all()


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: patient_bootstrap(VALUES, n=0), "n"),
        (lambda: patient_bootstrap(VALUES, level=1.0), "level"),
        (lambda: paired_bootstrap(VALUES, VALUES, level=0.0), "level"),
        (lambda: paired_bootstrap(VALUES, {"other": 1.0}), "reference_by_patient"),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key


def test_many_means_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(40, 3))
    values[rng.random((40, 3)) < 0.2] = np.nan
    values[:4, 2] = np.nan  # a patient without any value in one column
    groups = [f"p{row // 4}" for row in range(40)]
    found = mean_intervals(values, groups, n=300, seed=2)
    for column, interval in zip(values.T, found, strict=True):
        by_patient: dict[str, list[float]] = {}
        for group, value in zip(groups, column, strict=True):
            by_patient.setdefault(group, []).append(float(value))
        assert interval == pytest.approx(patient_bootstrap(by_patient, n=300, seed=2))


def test_many_means_of_one_patient_or_none_have_no_interval() -> None:
    one, nothing = mean_intervals(np.array([[1.0, np.nan], [3.0, np.nan]]), ["a", "a"])
    assert one.estimate == 2 and np.isnan([one.low, one.high]).all()
    assert np.isnan(nothing).all()
    assert all(np.isnan(interval.estimate) for interval in mean_intervals(np.empty((0, 2)), []))


def test_what_is_computed_from_sums_has_the_interval_of_resampled_groups() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.uniform(1, 2, 30), rng.uniform(1, 2, 30)
    groups = [f"p{row // 2}" for row in range(30)]
    found = sums_interval(np.stack([x, y], axis=1), groups, lambda s: s[..., 1] / s[..., 0], n=500, seed=1)
    ours = {f"p{k}": [float(2 * k), float(2 * k + 1)] for k in range(15)}
    brute = patient_bootstrap(
        ours, statistic=lambda rows: y[rows.astype(int)].sum() / x[rows.astype(int)].sum(), n=500, seed=1
    )
    assert found == pytest.approx(brute)
    assert np.isnan(sums_interval(np.full((2, 2), np.nan), ["a", "b"], lambda s: s[..., 0])).all()
    assert np.isnan(sums_interval(np.empty((0, 2)), [], lambda s: s[..., 0])).all()


def test_each_row_needs_a_group() -> None:
    with pytest.raises(MetricsError, match="don't belong together"):
        mean_intervals(np.zeros((3, 1)), ["a"])
    with pytest.raises(MetricsError, match="don't belong together"):
        sums_interval(np.zeros((3, 1)), ["a"], lambda s: s[..., 0])
