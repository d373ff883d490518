"""Intervals over patients: against scipy, by hand, and whether they hold what they promise."""

import numpy as np
import pytest
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.intervals import SMALL, interval_method, mean_interval, mean_intervals

MANY = np.random.default_rng(0).beta(8, 3, 25)
FEW = MANY[:4]


def test_few_patients_get_students_interval() -> None:
    theirs = stats.ttest_1samp(FEW, 0).confidence_interval(0.95)
    assert mean_interval(FEW) == pytest.approx((FEW.mean(), theirs.low, theirs.high))
    theirs = stats.ttest_1samp(FEW, 0).confidence_interval(0.8)
    assert mean_interval(FEW, level=0.8)[1:] == pytest.approx((theirs.low, theirs.high))


def test_many_patients_get_scipys_bootstrap_at_the_expanded_level() -> None:
    count = len(MANY)
    tail = stats.norm.cdf(-np.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1))
    theirs = stats.bootstrap(
        (MANY,), np.mean, n_resamples=20_000, method="percentile", confidence_level=1 - 2 * tail, rng=2
    ).confidence_interval
    ours = mean_interval(MANY, n=20_000, seed=1)
    assert ours == pytest.approx((MANY.mean(), theirs.low, theirs.high), abs=0.003)


def test_a_ratio_of_sums_is_scipys_too() -> None:
    counts = np.random.default_rng(1).integers(1, 9, len(MANY)).astype(float)
    sums = MANY * counts
    tail = stats.norm.cdf(-np.sqrt(25 / 24) * stats.t.ppf(0.975, 24))
    theirs = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        confidence_level=1 - 2 * tail,
        rng=2,
    ).confidence_interval
    ours = mean_interval(sums, counts, n=20_000)
    assert ours == pytest.approx((sums.sum() / counts.sum(), theirs.low, theirs.high), abs=0.004)


def test_students_interval_of_a_ratio_is_that_of_its_linear_part() -> None:
    sums, counts = np.array([3.0, 1.0, 4.0, 2.0]), np.array([4.0, 2.0, 5.0, 3.0])
    estimate = 10 / 14
    residual = (sums - estimate * counts) / counts.mean()
    reach = stats.t.ppf(0.975, 3) * residual.std(ddof=1) / 2
    assert mean_interval(sums, counts) == pytest.approx((estimate, estimate - reach, estimate + reach))
    # With as many values each it is the plain one.
    assert mean_interval(FEW * 3, np.full(4, 3)) == pytest.approx(mean_interval(FEW))


def test_measures_at_once_are_measures_one_by_one() -> None:
    table = np.random.default_rng(2).random((12, 4))
    table[3, 1] = np.nan
    table[5:, 2] = np.nan
    table[:, 3] = np.nan
    together = mean_intervals(table, n=300, seed=5)
    for column, found in zip(table.T, together, strict=True):
        assert found == pytest.approx(mean_interval(column, n=300, seed=5), nan_ok=True)
    assert np.isnan(together[3]).all()


def test_bounds_stay_within_the_measure() -> None:
    nearly = np.array([0.9, 0.99, 1.0, 0.7])
    free = mean_interval(nearly)
    assert free.high > 1.0
    assert mean_interval(nearly, low=0.0, high=1.0) == pytest.approx((free.estimate, free.low, 1.0))


def test_without_a_spread_there_is_no_interval() -> None:
    assert np.isnan(mean_interval(np.array([]))).all() and np.isnan(mean_interval(np.array([np.nan]))).all()
    estimate, low, high = mean_interval(np.array([0.4, np.nan]), low=0.0, high=1.0)
    assert estimate == 0.4 and np.isnan(low) and np.isnan(high)
    assert np.isnan(mean_interval(np.array([0.0, 0.0]), np.array([0, 0]))).all()
    methods = [interval_method(n) for n in (0, 1, 2, SMALL - 1, SMALL)]
    assert methods == ["none", "none", "student", "student", "bootstrap"]


def test_the_seed_decides() -> None:
    assert mean_interval(MANY, n=200, seed=3) == mean_interval(MANY, n=200, seed=3)
    assert mean_interval(MANY, n=200, seed=3) != mean_interval(MANY, n=200, seed=4)


@pytest.mark.parametrize("count", [4, SMALL, 16])
def test_intervals_cover_what_they_promise(count: int) -> None:
    """Of Dice-like values, skewed to the left; the plain percentile interval misses the mark at four patients."""
    rng = np.random.default_rng(count)
    worlds, truth = rng.beta(8, 3, (600, count)), 8 / 11
    found = np.array([mean_interval(world, n=400) for world in worlds])
    covered = np.mean((found[:, 1] <= truth) & (truth <= found[:, 2]))
    assert covered >= 0.91
    if count == 4:
        picks = worlds[:, rng.integers(0, 4, (400, 4))].mean(axis=-1)
        low, high = np.quantile(picks, [0.025, 0.975], axis=1)
        assert np.mean((low <= truth) & (truth <= high)) < 0.85 < covered


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: mean_interval(np.zeros((2, 2))), "sums"),
        (lambda: mean_interval(np.zeros(3), np.zeros(2)), "counts"),
        (lambda: mean_interval(np.zeros(3), n=0), "n"),
        (lambda: mean_intervals(np.zeros((3, 1)), level=1.0), "level"),
        (lambda: mean_intervals(np.zeros(3)), "sums"),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
