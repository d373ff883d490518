"""Intervals by resampling whole patients, since frames and clips of one patient are not independent."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Floats

Statistic = Callable[[Floats], float]
PatientValues = Mapping[str, float] | Mapping[str, Sequence[float]]


class Interval(NamedTuple):
    """An estimate and its percentile interval; all NaN without data, the bounds NaN with one patient."""

    estimate: float
    low: float
    high: float

    def as_dict(self, name: str = "mean") -> dict[str, float]:
        """As written in a metrics file, with the estimate under ``name``."""
        return {name: self.estimate, "low": self.low, "high": self.high}


def mean(values: Floats) -> float:
    """Arithmetic mean of a non-empty (n,) array."""
    return float(np.mean(values))


def patient_bootstrap(
    values_by_patient: PatientValues,
    *,
    statistic: Statistic = mean,
    n: int = 2000,
    level: int | float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap over patients (Efron and Tibshirani, 1993, chapter 13).

    Each of ``n`` times as many patients are drawn, with replacement, as there are; all values of a patient
    come with it, and ``statistic`` sees them pooled. The result does not depend on the order of the mapping.

    Args:
        values_by_patient: One value a patient, or several (such as one a clip). Values that are not finite
            are dropped, and patients left without any.
        statistic: Of a (k,) float64 array, k at least 1.
        n: Number of resamples, at least 1.
        level: Coverage, between 0 and 1.
        seed: Of the resampling.

    Returns:
        The statistic of the data and its interval. With one patient the bounds are NaN: nothing is known of
        the spread between patients.

    Raises:
        MetricsError: If ``n`` or ``level`` are out of range.
    """
    _check(n, level)
    groups = [group for group in _groups(values_by_patient).values() if group.size]
    if not groups:
        return Interval(float("nan"), float("nan"), float("nan"))
    estimate = float(statistic(np.concatenate(groups)))
    draws = [
        float(statistic(np.concatenate([groups[i] for i in rows])))
        for rows in _resamples(len(groups), n, seed)
    ]
    return _interval(estimate, draws, level)


def paired_bootstrap(
    values_by_patient: PatientValues,
    reference_by_patient: PatientValues,
    *,
    statistic: Statistic = mean,
    n: int = 2000,
    level: int | float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the difference between two arms, both measured on the same patients.

    Every resample draws the same patients for both, so what patients have in common cancels.

    Args:
        values_by_patient: Of one arm; see :func:`patient_bootstrap`.
        reference_by_patient: Of the arm that is subtracted, with the same patients. A patient without a
            finite value in either arm is dropped from both.
        statistic: See :func:`patient_bootstrap`.
        n: See :func:`patient_bootstrap`.
        level: See :func:`patient_bootstrap`.
        seed: See :func:`patient_bootstrap`.

    Returns:
        ``statistic(arm) - statistic(reference)`` and its interval.

    Raises:
        MetricsError: If the arms have different patients, or ``n`` or ``level`` are out of range.
    """
    _check(n, level)
    ours, theirs = _groups(values_by_patient), _groups(reference_by_patient)
    if ours.keys() != theirs.keys():
        raise MetricsError(
            "the two arms were not measured on the same patients",
            key="reference_by_patient",
            expected=sorted(ours),
            found=sorted(theirs),
            remedy="compare arms on one common set of test patients",
        )
    common = [patient for patient in ours if ours[patient].size and theirs[patient].size]
    if not common:
        return Interval(float("nan"), float("nan"), float("nan"))

    def difference(patients: Sequence[str]) -> float:
        left = np.concatenate([ours[patient] for patient in patients])
        right = np.concatenate([theirs[patient] for patient in patients])
        return float(statistic(left)) - float(statistic(right))

    draws = [difference([common[i] for i in rows]) for rows in _resamples(len(common), n, seed)]
    return _interval(difference(common), draws, level)


def _check(n: int, level: int | float) -> None:
    if n < 1:
        raise MetricsError(
            "no resamples asked for", key="n", expected="at least 1", found=n, remedy="use 2000"
        )
    if not 0 < level < 1:
        raise MetricsError(
            "the coverage is not a probability",
            key="level",
            expected="between 0 and 1",
            found=level,
            remedy="use 0.95",
        )


def _groups(values_by_patient: PatientValues) -> dict[str, Floats]:
    groups = {
        name: np.atleast_1d(np.asarray(values, dtype=np.float64))
        for name, values in values_by_patient.items()
    }
    return {name: groups[name][np.isfinite(groups[name])] for name in sorted(groups)}


def _resamples(count: int, n: int, seed: int) -> list[list[int]]:
    # One patient can't show the spread between patients; no resample at all keeps that visible.
    if count < 2:
        return []
    rows: list[list[int]] = np.random.default_rng(seed).integers(0, count, size=(n, count)).tolist()
    return rows


def _interval(estimate: float, draws: list[float], level: int | float) -> Interval:
    if not draws:
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.quantile(np.asarray(draws), [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
