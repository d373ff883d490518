"""Intervals of a mean over patients that hold what they promise where patients are few.

A percentile interval can't reach beyond the lowest and the highest patient. Of four patients from a symmetric
distribution these miss its centre once in eight times, so that no resampling whatever yields 95 % there; the
plain percentile interval covers 80 %. Hence Student's interval below ``SMALL`` patients, and from there on the
percentile bootstrap at a level that makes up for its narrowness. ``docs/metrics.md`` has the coverage of both.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from sfvd_pl.metrics.arrays import Array, Floats, require_axes, require_same_shape
from sfvd_pl.metrics.bootstrap import Interval, check_resampling

SMALL = 8
"""From this many patients on, the bootstrap covers as well as Student's interval (to about one point in a hundred)."""
Method = Literal["none", "student", "bootstrap"]
_CHUNK = 256
"""Resamples whose weights are in memory at a time."""


def interval_method(n_patients: int) -> Method:
    """How :func:`mean_interval` of so many patients is made."""
    if n_patients < 2:
        return "none"
    return "student" if n_patients < SMALL else "bootstrap"


def mean_interval(
    sums: Array,
    counts: Array | None = None,
    *,
    n: int = 2000,
    level: int | float = 0.95,
    seed: int = 0,
    low: float = -np.inf,
    high: float = np.inf,
) -> Interval:
    """The mean over patients, and its interval: :func:`mean_intervals` of one measure.

    Args:
        sums: (P,).
        counts: (P,) or None.
        n: See :func:`mean_intervals`.
        level: See :func:`mean_intervals`.
        seed: See :func:`mean_intervals`.
        low: The least value that the measure can take.
        high: The largest.

    Raises:
        MetricsError: As :func:`mean_intervals`.
    """
    total = np.asarray(sums, dtype=np.float64)
    require_axes(total, "P", "sums")
    weight = None if counts is None else np.asarray(counts)[..., None]
    return mean_intervals(total[:, None], weight, n=n, level=level, seed=seed, low=[low], high=[high])[0]


def mean_intervals(
    sums: Array,
    counts: Array | None = None,
    *,
    n: int = 2000,
    level: int | float = 0.95,
    seed: int = 0,
    low: Sequence[float] | float = -np.inf,
    high: Sequence[float] | float = np.inf,
) -> list[Interval]:
    """Means over patients of several measures, each with its interval.

    With ``counts`` it is the mean over all values of all patients, ``sum(sums) / sum(counts)``, in which patients
    with more values weigh more; whole patients are resampled all the same.

    - Fewer than ``SMALL`` patients: Student's interval; for a ratio of sums with the linearised residuals
      ``(s - mean * c) / mean(c)`` (Cochran, Sampling Techniques, 1977, chapter 6).
    - Otherwise the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13) at the expanded level of Hesterberg
      (The American Statistician 69, 2015, section 4.1): ``Phi(-sqrt(p / (p - 1)) t)`` beyond either bound.

    Args:
        sums: (P, K) each patient's value, or the sum of its values. Not finite: the patient is left out there.
        counts: (P, K) values of each patient; None: one each. 0: the patient is left out there.
        n: Resamples of the bootstrap.
        level: Coverage, between 0 and 1.
        seed: Of the resampling.
        low: The least value that each measure can take; the bounds don't go beyond it.
        high: The largest.

    Returns:
        One a measure, all NaN without a patient; the bounds are NaN with one, which shows no spread between patients.

    Raises:
        MetricsError: If the shapes differ, or ``n`` or ``level`` are out of range.
    """
    check_resampling(n, level)
    total = np.asarray(sums, dtype=np.float64)
    require_axes(total, "P K", "sums")
    weight = np.ones_like(total) if counts is None else np.asarray(counts, dtype=np.float64)
    require_same_shape(weight, total, "counts", "sums")
    known = np.isfinite(total) & (weight > 0)
    table: Floats = np.full((3, total.shape[1]), np.nan)
    # Measures that are known of the same patients share their resamples, whose weights are what takes time.
    patterns, member = np.unique(known, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        columns = np.flatnonzero(member.ravel() == number)
        s, c = total[pattern][:, columns], weight[pattern][:, columns]
        method = interval_method(len(s))
        if len(s):
            table[0, columns] = s.sum(axis=0) / c.sum(axis=0)
        if method == "student":
            table[1:, columns] = _student(s, c, level)
        elif method == "bootstrap":
            table[1:, columns] = _bootstrap(s, c, level, n, seed)
    table[1], table[2] = np.maximum(table[1], low), np.minimum(table[2], high)
    return [Interval(*row) for row in table.T.tolist()]


def _student(total: Floats, weight: Floats, level: float) -> tuple[Floats, Floats]:
    """Bounds for each column of (P, K) sums and counts."""
    count = len(total)
    estimate = total.sum(axis=0) / weight.sum(axis=0)
    residual = (total - estimate * weight) / weight.mean(axis=0)
    error = np.sqrt((residual**2).sum(axis=0) / (count * (count - 1)))
    reach = stats.t.ppf((1 + level) / 2, count - 1) * error
    return estimate - reach, estimate + reach


def _bootstrap(total: Floats, weight: Floats, level: float, n: int, seed: int) -> Floats:
    """Bounds, (2, K), for each column of (P, K) sums and counts."""
    count = len(total)
    rng = np.random.default_rng(seed)
    draws = []
    for first in range(0, n, _CHUNK):
        times = rng.multinomial(count, np.full(count, 1 / count), size=min(_CHUNK, n - first)).astype(np.float64)
        draws.append((times @ total) / (times @ weight))
    expanded = np.sqrt(count / (count - 1)) * stats.t.ppf((1 + level) / 2, count - 1)
    tail = float(stats.norm.cdf(-expanded))
    bounds: Floats = np.quantile(np.concatenate(draws), [tail, 1 - tail], axis=0)
    return bounds
