"""Intervals by resampling whole patients, since frames and clips of one patient are not independent."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Floats, require_axes

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
    check_resampling(n, level)
    groups = [group for group in _groups(values_by_patient).values() if group.size]
    if not groups:
        return Interval(float("nan"), float("nan"), float("nan"))
    estimate = float(statistic(np.concatenate(groups)))
    draws = [
        float(statistic(np.concatenate([groups[i] for i in rows])))
        for rows in _resamples(len(groups), n, seed)
    ]
    return _interval(estimate, draws, level)


def mean_intervals(
    values: Floats, groups: Sequence[str], *, n: int = 2000, level: int | float = 0.95, seed: int = 0
) -> list[Interval]:
    """:func:`patient_bootstrap` of the mean for many measures at once: the same numbers, in one matrix product.

    Args:
        values: (clips, measures); what is not finite is dropped from its own column only.
        groups: What each row belongs to and is drawn with: its patient, or the clip itself.
        n: See :func:`patient_bootstrap`.
        level: See :func:`patient_bootstrap`.
        seed: See :func:`patient_bootstrap`.

    Returns:
        One interval a column.

    Raises:
        MetricsError: If there isn't one group a row, or ``n`` or ``level`` are out of range.
    """
    check_resampling(n, level)
    values = np.asarray(values, np.float64)
    sums, counts = _group_sums(values, groups)
    found: list[Interval] = []
    times: dict[int, Floats] = {}
    for total, count in zip(sums.T, counts.T, strict=True):
        there = count > 0  # a group without a value in this column is never drawn for it
        size = int(there.sum())
        if not size:
            found.append(Interval(float("nan"), float("nan"), float("nan")))
            continue
        if size not in times:
            times[size] = _times_drawn(size, n, seed)
        draws = (times[size] @ total[there]) / (times[size] @ count[there])
        found.append(_interval(float(total.sum() / count.sum()), draws.tolist(), level))
    return found


def sums_interval(
    sums: Floats,
    groups: Sequence[str],
    statistic: Callable[[Floats], Floats],
    *,
    n: int = 2000,
    level: int | float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of what is computed from sums over all clips, such as a correlation or a slope of pooled pairs.

    Args:
        sums: (clips, k), each clip's own sums; rows that aren't finite are dropped.
        groups: What each row is drawn with: its patient, or the clip itself.
        statistic: Of the added sums: (..., k) to (...). Resamples for which it isn't finite are left out.
        n: See :func:`patient_bootstrap`.
        level: See :func:`patient_bootstrap`.
        seed: See :func:`patient_bootstrap`.

    Raises:
        MetricsError: If there isn't one group a row, or ``n`` or ``level`` are out of range.
    """
    check_resampling(n, level)
    whole = np.flatnonzero(np.isfinite(sums).all(axis=1)) if len(sums) else np.empty(0, np.int64)
    if len(groups) != len(sums):
        _refuse_groups(len(sums), len(groups))
    if not len(whole):
        return Interval(float("nan"), float("nan"), float("nan"))
    totals, _ = _group_sums(np.asarray(sums, np.float64)[whole], [groups[row] for row in whole.tolist()])
    estimate = float(statistic(totals.sum(axis=0)))
    draws = np.atleast_1d(statistic(_times_drawn(len(totals), n, seed) @ totals))
    return _interval(estimate, draws[np.isfinite(draws)].tolist(), level)


def _refuse_groups(rows: int, groups: int) -> None:
    raise MetricsError(
        "rows and groups don't belong together",
        key="groups",
        expected=f"{rows} groups, one a row",
        found=groups,
        remedy="name the patient or the clip of every row",
    )


def _group_sums(values: Floats, groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and number of the finite values of each group (by name) and column, (groups, columns) each."""
    require_axes(values, "clips measures", "values")
    if len(groups) != len(values):
        _refuse_groups(len(values), len(groups))
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    finite = np.isfinite(values)
    sums, counts = np.zeros((2, len(names), values.shape[1]))
    np.add.at(sums, member, np.where(finite, values, 0.0))
    np.add.at(counts, member, finite)
    return sums, counts


def _times_drawn(count: int, n: int, seed: int) -> Floats:
    """How often each group is in each resample, (n, count); no row for a single group."""
    rows = _resamples(count, n, seed)
    drawn = np.zeros((len(rows), count), np.float64)
    for row, members in zip(drawn, rows, strict=True):
        row += np.bincount(members, minlength=count)
    return drawn


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
    check_resampling(n, level)
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


def check_resampling(n: int, level: int | float) -> None:
    """Refuse no resamples, and a coverage that is no probability."""
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
