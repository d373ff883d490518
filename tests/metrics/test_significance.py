"""Paired tests against scipy's, and what few patients allow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.significance import EXACT_UP_TO, holm, sign_flip_test


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(float, st.integers(2, 9), elements=st.floats(-1, 1).map(lambda value: round(value, 2))))
def test_the_exact_test_is_scipys(differences: np.ndarray) -> None:
    theirs = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda a, b, axis: np.abs((a - b).mean(axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert sign_flip_test(differences).p == pytest.approx(theirs.pvalue)


def test_on_ranks_it_is_wilcoxons_test() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, 10)
    signed = np.sign(differences) * stats.rankdata(np.abs(differences))
    assert sign_flip_test(signed).p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


@pytest.mark.parametrize(("count", "smallest"), [(1, 1.0), (4, 0.125), (6, 0.03125), (9, 2 / 512)])
def test_the_smallest_p_is_reached_when_all_patients_agree(count: int, smallest: float) -> None:
    test = sign_flip_test(np.linspace(0.1, 0.2, count))
    assert test == pytest.approx((smallest, smallest, count))


def test_many_patients_are_flipped_at_random() -> None:
    differences = np.random.default_rng(1).normal(0.25, 1, EXACT_UP_TO + 4)
    one, again, other = (sign_flip_test(differences, n=20_000, seed=seed) for seed in (0, 0, 1))
    assert one == again != other and one.smallest == 1 / 20_001
    shifted = np.append(differences[:EXACT_UP_TO], np.zeros(5))  # zeros change no sum, so the exact p still holds
    assert sign_flip_test(shifted, n=20_000).p == pytest.approx(sign_flip_test(differences[:EXACT_UP_TO]).p, abs=0.012)


def test_no_difference_and_no_patient() -> None:
    assert sign_flip_test(np.zeros(5)).p == 1.0
    nobody = sign_flip_test(np.array([np.nan]))
    assert np.isnan(nobody.p) and np.isnan(nobody.smallest) and nobody.n == 0
    assert sign_flip_test(np.array([0.1, np.nan, 0.1])).n == 2


def test_false_alarms_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(2)
    alarms = np.mean([sign_flip_test(rng.normal(0, 1, 7)).p <= 0.05 for _ in range(600)])
    assert 0.02 < alarms < 0.07


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.04, float("nan"), 0.01]) == pytest.approx([0.04, float("nan"), 0.02], nan_ok=True)
    assert holm([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_steps_down_as_defined(values: list[float]) -> None:
    corrected = holm(values)
    for level in (0.01, 0.05, 0.2):
        rejected, order = set(), np.argsort(values, kind="stable")
        for rank, which in enumerate(order):
            if values[which] * (len(values) - rank) > level:
                break
            rejected.add(int(which))
        assert rejected == {k for k, value in enumerate(corrected) if value <= level}


@pytest.mark.parametrize(
    ("call", "key"),
    [(lambda: sign_flip_test(np.zeros((2, 2))), "differences"), (lambda: sign_flip_test(np.zeros(2), n=0), "n")],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
