"""Paired tests between arms over patients, exact where patients are few, corrected for how many there are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, require_axes

EXACT_UP_TO = 16
"""Patients up to which all 2^n flips of signs are tried."""


class SignFlip(NamedTuple):
    """Outcome of a sign-flip test.

    Attributes:
        p: Two-sided; NaN without a patient.
        smallest: The least p that so many patients can give, however large the difference: 2^(1 - n) while exact.
        n: Patients that both arms were measured on.
    """

    p: float
    smallest: float
    n: int


def sign_flip_test(differences: Array, *, n: int = 20_000, seed: int = 0) -> SignFlip:
    """Whether a mean paired difference is larger than chance makes it: the permutation test for pairs.

    If two arms do equally well on a patient, their difference is as likely to have the other sign. So p is the share of
    all choices of signs under which the absolute mean is at least as large as it is (Fisher, The Design of
    Experiments, 1935, section 21). Unlike Wilcoxon's test it uses the sizes of differences rather than their ranks.

    Args:
        differences: (P,) one a patient; those not finite are left out.
        n: Random choices of signs where there are more than ``EXACT_UP_TO`` patients; p then counts the observed one,
            too (Phipson and Smyth, 2010).
        seed: Of those.

    Raises:
        MetricsError: If ``differences`` is not (P,), or ``n`` below 1.
    """
    values = np.asarray(differences, dtype=np.float64)
    require_axes(values, "P", "differences")
    if n < 1:
        raise MetricsError("no flips asked for", key="n", expected="at least 1", found=n, remedy="use 20000")
    values = values[np.isfinite(values)]
    count = values.size
    if count == 0:
        return SignFlip(float("nan"), float("nan"), 0)
    # Sums that differ by rounding alone are equal.
    least = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if count <= EXACT_UP_TO:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return SignFlip(float((np.abs(signs @ values) >= least).mean()), 2.0 ** (1 - count), count)
    rng = np.random.default_rng(seed)
    extreme = 0
    for first in range(0, n, 1024):
        signs = 1 - 2 * rng.integers(0, 2, (min(1024, n - first), count))
        extreme += int((np.abs(signs @ values) >= least).sum())
    return SignFlip((extreme + 1) / (n + 1), 1 / (n + 1), count)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for the number of tests (Holm, Scandinavian Journal of Statistics 6, 1979).

    Rejecting where the corrected p is at most 0.05 keeps the chance of any false rejection at 5 %.

    Args:
        p_values: Of the whole family; NaN stands for a test that couldn't be made, and isn't counted.
    """
    values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    factor = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factor), 1.0)
    return [float(value) for value in corrected]
