import numpy as np
import pytest
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.memorisation.calibration import (
    CONFIDENCE,
    effective_number,
    fisher,
    gumbel_factor,
    tolerance_threshold,
)


@pytest.mark.parametrize("n", [8, 40])
@pytest.mark.parametrize(("location", "scale"), [(0.0, 1.0), (-3.0, 0.02)])
def test_the_rate_is_kept_with_the_stated_confidence(n: int, location: float, scale: float) -> None:
    rng = np.random.default_rng(n)
    samples = rng.gumbel(location, scale, (4000, n))
    limits = samples.mean(1) + gumbel_factor(n, 0.01, CONFIDENCE) * samples.std(1, ddof=1)
    kept = (stats.gumbel_r.sf(limits, location, scale) <= 0.01).mean()
    assert kept == pytest.approx(CONFIDENCE, abs=0.015)


def test_fewer_clips_ask_for_more_distance() -> None:
    factors = [gumbel_factor(n, 0.01, 0.95) for n in (5, 20, 100, 1000)]
    assert factors == sorted(factors, reverse=True)
    exact = (stats.gumbel_r.ppf(0.99) - stats.gumbel_r.mean()) / stats.gumbel_r.std()
    assert factors[-1] == pytest.approx(exact, rel=0.12) and factors[-1] > exact


def test_a_threshold_says_what_it_stands_on() -> None:
    scores = np.random.default_rng(0).gumbel(size=60)
    patients = [f"p{k % 12}" for k in range(60)]
    found = tolerance_threshold([*scores, float("nan")], [*patients, "p0"], 0.01)
    assert (found.n, found.n_patients, found.highest) == (60, 12, scores.max())
    assert found.value > found.highest > found.median
    assert found.assumption_free == 1 / (found.n_effective + 1)
    assert found.value > tolerance_threshold(scores, patients, 0.05).value


def test_it_is_never_below_what_was_seen() -> None:
    scores = np.append(np.random.default_rng(1).gumbel(size=400), 60.0)
    assert tolerance_threshold(scores, [str(k) for k in range(401)], 0.1).value >= 60.0


def test_too_few_clips_make_no_threshold() -> None:
    few = tolerance_threshold([0.1, 0.2, 0.3], ["a", "b", "c"], 0.01)
    assert np.isnan(few.value) and few.assumption_free == 0.25
    none = tolerance_threshold([], [], 0.01)
    assert np.isnan(none.value) and none.n == 0 and none.assumption_free == 1
    alike = tolerance_threshold(np.repeat([1.0, 2.0, 3.0], 50), list("abc" * 50), 0.01)
    assert alike.n == 150
    for arguments in ([[0.1], ["a", "b"], 0.01], [[0.1], ["a"], 0.0], [[0.1], ["a"], 1.0]):
        with pytest.raises(MetricsError, match="can't be calibrated"):
            tolerance_threshold(*arguments)  # type: ignore[arg-type]


def test_clips_of_one_patient_count_as_few_as_they_are_alike() -> None:
    rng = np.random.default_rng(2)
    owners = [f"p{k // 10}" for k in range(100)]
    apart = effective_number(rng.normal(size=100), owners)
    alike = effective_number(np.repeat(rng.normal(size=10), 10), owners)
    mixed = effective_number(np.repeat(rng.normal(size=10), 10) + rng.normal(size=100), owners)
    assert alike == pytest.approx(10) and apart > 70 and 12 < mixed < 40
    assert effective_number(rng.normal(size=5), ["a"] * 5) == 1
    assert effective_number(rng.normal(size=3), list("abc")) == 3


def test_fishers_scale_has_no_end() -> None:
    assert fisher(0.5) == pytest.approx(0.5493, abs=1e-4)
    assert np.isfinite(fisher([1.0, -1.0])).all() and fisher(1.0) > fisher(0.999)
