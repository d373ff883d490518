"""How alike a clip must be to a training clip to be called a copy: a threshold with a known rate of false alarms.

Real clips of patients whom the training clips don't show can't be copies of them. The likeness of each to its nearest
training clip is what chance and common anatomy reach. It is the greatest of many likenesses, so a Gumbel distribution
is fitted (the limit law of maxima), and the threshold is an upper *tolerance limit* of it: with the stated confidence
no more than the stated share of such clips lies above, although mean and spread are known from few clips only.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import MetricsError

CONFIDENCE = 0.95
"""With which the rate of false alarms is kept."""
LEAST_CLIPS = 4
"""Real clips, counted as independent, without which no threshold is made."""
DRAWS = 20_000
"""Simulated samples that a tolerance factor is read from."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it stands on.

    Attributes:
        value: Scores above it are copies; NaN where there are too few clips to say.
        rate: Share of independent clips allowed above it.
        n: Scores of independent real clips.
        n_patients: Patients that they are of.
        n_effective: As how many independent scores they count, since those of one patient are alike.
        median: Of these scores.
        highest: The greatest of them.
        assumption_free: Rate of false alarms that n alone proves for "above the highest", without the Gumbel law.
    """

    value: float
    rate: float
    n: int
    n_patients: int
    n_effective: float
    median: float
    highest: float
    assumption_free: float


def tolerance_threshold(scores: npt.ArrayLike, patients: list[str], rate: float) -> Threshold:
    """Threshold above which at most a share ``rate`` of independent scores lies, with ``CONFIDENCE``.

    It is never below the highest of the scores themselves. Without any law, the next exchangeable score is above the
    highest of n with probability 1 / (n + 1) (conformal prediction, Vovk et al. 2005); this is stated beside it,
    with the effective number of scores for n.

    Args:
        scores: One a real clip, on a scale without an upper end; NaN are left out.
        patients: Whose each is.
        rate: Share of false alarms allowed, 0 < rate < 1.

    Raises:
        MetricsError: Lengths that differ, or a rate outside 0..1.
    """
    values = np.asarray(scores, np.float64)
    if len(values) != len(patients) or not 0 < rate < 1:
        raise MetricsError(
            "a threshold can't be calibrated on these scores",
            key="scores, patients, rate",
            expected="one patient a score, 0 < rate < 1",
            found=f"{len(values)} scores, {len(patients)} patients, rate {rate}",
        )
    known = np.isfinite(values)
    values, owners = values[known], [patient for patient, kept in zip(patients, known, strict=True) if kept]
    effective = effective_number(values, owners)
    if effective < LEAST_CLIPS:
        value = float("nan")
    else:
        factor = gumbel_factor(int(effective), round(rate, 12), CONFIDENCE)
        value = float(max(values.mean() + factor * values.std(ddof=1), values.max()))
    return Threshold(
        value=value,
        rate=rate,
        n=len(values),
        n_patients=len(set(owners)),
        n_effective=effective,
        median=float(np.median(values)) if len(values) else float("nan"),
        highest=float(values.max()) if len(values) else float("nan"),
        assumption_free=1.0 / (effective + 1.0),
    )


def effective_number(values: Doubles, owners: list[str]) -> float:
    """How many independent values some values count as, those of one owner being alike (Kish's design effect).

    The intraclass correlation is that of a one-way analysis of variance, from 0 to 1; n values of one size m a patient
    count as n / (1 + (m - 1) icc). At least the number of owners, at most the number of values.
    """
    names, group = np.unique(np.asarray(owners, str), return_inverse=True)
    n, k = len(values), len(names)
    if k < 2 or n <= k:
        return float(k)
    sizes = np.bincount(group).astype(float)
    means = np.bincount(group, values) / sizes
    typical = (n - (sizes**2).sum() / n) / (k - 1)
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (k - 1)
    within = float(((values - means[group]) ** 2).sum()) / (n - k)
    spread = between + (typical - 1) * within
    icc = min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 0.0
    weighted = float((sizes**2).sum() / n)
    return float(min(n, max(k, n / (1 + (weighted - 1) * icc))))


@lru_cache(maxsize=64)
def gumbel_factor(n: int, rate: float, confidence: float) -> float:
    """Standard deviations above the mean at which an upper tolerance limit of a Gumbel sample of size n lies.

    (q - mean) / std is pivotal in a family of location and scale, q its quantile at ``1 - rate``; so its quantile at
    ``confidence`` over simulated standard samples is the factor for all Gumbel distributions.
    """
    rng = np.random.default_rng(np.random.Philox(key=n))
    draws = rng.gumbel(size=(min(DRAWS, max(2000, 4_000_000 // n)), n))
    quantile = -np.log(-np.log1p(-rate))
    factors = (quantile - draws.mean(1)) / np.maximum(draws.std(1, ddof=1), 1e-9)
    return float(np.quantile(factors, confidence))


def fisher(similarity: npt.ArrayLike) -> Doubles:
    """Similarities on a scale without an end (Fisher 1915), capped where float16 can't tell them apart."""
    return np.arctanh(np.clip(np.asarray(similarity, np.float64), -0.9999, 0.9999))
