"""Intervals over patients against scipy's bootstrap, theory and brute force."""

import numpy as np
import pytest
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.bootstrap import paired_bootstrap, patient_bootstrap

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
