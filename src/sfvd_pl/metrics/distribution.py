"""Distances between the distributions of two sets of feature vectors.

Vectors are ``N D``, in double precision inside. Vectors of one clip are not independent of one another; where
``groups`` say which belong together, the measures leave out what would take them for independent ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Floats, Ints, require_axes
from sfvd_pl.metrics.bootstrap import Interval

Vectors = Float[np.ndarray, "N D"]


class Moments(NamedTuple):
    """Number, mean ``D`` and covariance ``D D`` (over N - 1) of vectors."""

    n: int
    mean: Floats
    covariance: Floats


class MomentsAccumulator:
    """Mean and covariance of vectors that come batch after batch; keeps ``D x D`` numbers, whatever their count.

    Batches are joined by the update of Chan, Golub and LeVeque (1979), which squares deviations from a mean and never
    subtracts two large sums.

    Args:
        num_features: D.
    """

    def __init__(self, num_features: int) -> None:
        self.n = 0
        self.mean: Floats = np.zeros(num_features)
        self.scatter: Floats = np.zeros((num_features, num_features))

    def update(self, vectors: Vectors) -> None:
        """Add a batch."""
        require_axes(vectors, "N D", "vectors")
        if not len(vectors):
            return
        batch = np.asarray(vectors, np.float64)
        _require_finite(batch, "vectors")
        mean = batch.mean(0)
        centred = batch - mean
        shift, total = mean - self.mean, self.n + len(batch)
        self.scatter += centred.T @ centred + np.outer(shift, shift) * (self.n * len(batch) / total)
        self.mean = self.mean + shift * (len(batch) / total)
        self.n = total

    def result(self) -> Moments:
        """Moments so far; the covariance is NaN below two vectors."""
        covariance = self.scatter / (self.n - 1) if self.n > 1 else np.full_like(self.scatter, np.nan)
        return Moments(self.n, self.mean, covariance)


def moments(vectors: Vectors) -> Moments:
    """Moments of vectors at hand."""
    found = MomentsAccumulator(vectors.shape[1])
    found.update(vectors)
    return found.result()


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared Frechet (2-Wasserstein) distance of the two normal distributions with these moments.

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)) (Dowson and Landau 1982; as FID: Heusel et al. 2017, arXiv
    1706.08500). The last trace is the sum of the singular values of C1^(1/2) C2^(1/2), with symmetric roots by
    eigenvalues: exact for singular covariances, where a general matrix root of C1 C2 fails or turns complex.
    NaN where either has fewer than two vectors.
    """
    if min(first.n, second.n) < 2:
        return float("nan")
    if first.mean.shape != second.mean.shape:
        raise MetricsError(
            "the two sets have vectors of different lengths",
            key="num_features",
            expected=len(first.mean),
            found=len(second.mean),
            remedy="embed both sets by the same network",
        )
    cross = np.linalg.svd(_root(first.covariance) @ _root(second.covariance), compute_uv=False).sum()
    distance = np.sum((first.mean - second.mean) ** 2)
    distance += np.trace(first.covariance) + np.trace(second.covariance) - 2.0 * cross
    return float(max(distance, 0.0))  # below zero by rounding only


def frechet_of_vectors(first: Float[np.ndarray, "N D"], second: Float[np.ndarray, "M D"]) -> float:
    """:func:`frechet_distance` of vectors at hand, in the cheaper of two ways.

    With centred vectors A1, A2 over the roots of n - 1, C = A'A and the last trace is the sum of the singular values of
    A1 A2', which is N M instead of D D: seconds become milliseconds where vectors are fewer than their numbers.
    """
    if max(len(first), len(second)) >= first.shape[1] or min(len(first), len(second)) < 2:
        return frechet_distance(moments(first), moments(second))
    a, b = (
        (v - v.mean(0)) / np.sqrt(len(v) - 1) for v in (np.asarray(first, np.float64), np.asarray(second, np.float64))
    )
    _require_finite(a, "first")
    _require_finite(b, "second")
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    distance = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.sum(a**2) + np.sum(b**2) - 2.0 * cross
    return float(max(distance, 0.0))


def _root(covariance: Floats) -> Floats:
    values, basis = np.linalg.eigh((covariance + covariance.T) / 2.0)
    root: Floats = (basis * np.sqrt(np.maximum(values, 0.0))) @ basis.T
    return root


def polynomial_kernel(first: Float[np.ndarray, "N D"], second: Float[np.ndarray, "M D"]) -> Floats:
    """(x y / D + 1)^3, the kernel of KID (Binkowski et al. 2018, arXiv 1801.01401)."""
    product: Floats = np.asarray(first, np.float64) @ np.asarray(second, np.float64).T
    kernel: Floats = (product / first.shape[1] + 1.0) ** 3
    return kernel


class KernelDistance:
    """Unbiased squared maximum mean discrepancy of two sets under :func:`polynomial_kernel`, resampled at little cost.

    Without ``groups`` it is KID's estimator (Gretton et al. 2012, lemma 6). With them, pairs of vectors of one group
    (frames of one clip) are left out within a set, as pairs of a vector with itself are: they are more alike than two
    pictures drawn at random, so with few clips they would make any two sets look apart.

    Args:
        first: Vectors of one set.
        second: Of the other.
    """

    def __init__(self, first: "VectorSet", second: "VectorSet") -> None:
        units = [first.unit_matrix(), second.unit_matrix()]
        self.unit_counts = [matrix.shape[1] for matrix in units]
        self._within, self._pairs = [], []
        for part, unit in zip((first, second), units, strict=True):
            apart = (part.groups[:, None] != part.groups[None, :]).astype(np.float64)
            kernel = polynomial_kernel(part.vectors, part.vectors)
            self._within.append(unit.T @ (kernel * apart) @ unit)
            self._pairs.append(unit.T @ apart @ unit)
        self._across = units[0].T @ polynomial_kernel(first.vectors, second.vectors) @ units[1]
        self._sizes = [unit.sum(0) for unit in units]

    def value(self, first_weight: Floats | None = None, second_weight: Floats | None = None) -> float:
        """The estimate where each unit counts so many times, once without weights. NaN without a pair.

        Copies of one unit are not held against one another: they are as alike as no two units are.
        """
        weights = [
            np.ones(count) if weight is None else weight
            for count, weight in zip(self.unit_counts, (first_weight, second_weight), strict=True)
        ]
        return float(self._values(weights[0][None], weights[1][None])[0])

    def _values(self, *weights: Floats) -> Floats:
        """:meth:`value` for each row of weights ``n U``."""
        total: Floats = np.zeros(len(weights[0]))
        for weight, kernel, pairs in zip(weights, self._within, self._pairs, strict=True):
            count = _pair_sum(weight, pairs)
            total += np.divide(_pair_sum(weight, kernel), count, out=np.full_like(count, np.nan), where=count > 0)
        across = ((weights[0] @ self._across) * weights[1]).sum(1)
        sizes = (weights[0] @ self._sizes[0]) * (weights[1] @ self._sizes[1])
        values: Floats = total - 2.0 * across / sizes
        return values

    def interval(self, *, n: int = 500, level: float = 0.95, seed: int = 0) -> Interval:
        """The estimate and its percentile bootstrap interval over the units of both sets; NaN bounds with one unit."""
        if min(self.unit_counts) < 2:
            return Interval(self.value(), float("nan"), float("nan"))
        draws = [unit_draws(count, n, seed + number) for number, count in enumerate(self.unit_counts)]
        return _bounds(self.value(), self._values(*draws), level)


def _pair_sum(weight: Floats, of_pairs: Floats) -> Floats:
    """Sums over pairs of units ``n``, for weights ``n U``; within a unit each of its copies counts once."""
    own = np.diagonal(of_pairs)
    found: Floats = ((weight @ of_pairs) * weight).sum(1) - weight**2 @ own + weight @ own
    return found


@dataclass(frozen=True)
class VectorSet:
    """Vectors of a set of clips.

    Attributes:
        vectors: ``N D``.
        groups: ``N``; vectors of one group are of one clip.
        units: ``N``; what is drawn together in a resample: a patient, or a generated clip.
    """

    vectors: Floats
    groups: Ints
    units: Ints

    def __post_init__(self) -> None:
        """Refuse what can't be measured."""
        require_axes(self.vectors, "N D", "vectors")
        _require_finite(self.vectors, "vectors")

    @classmethod
    def independent(cls, vectors: Vectors) -> "VectorSet":
        """Vectors each of which is a clip and a unit by itself."""
        each = np.arange(len(vectors))
        return cls(np.asarray(vectors, np.float64), each, each)

    def unit_matrix(self) -> Floats:
        """``N U``: 1 where a vector is of a unit."""
        _, inverse = np.unique(self.units, return_inverse=True)
        return np.eye(int(inverse.max(initial=-1)) + 1)[inverse]

    def mean_interval(self, values: Floats, *, n: int = 500, level: float = 0.95, seed: int = 0) -> Interval:
        """Mean of one number a vector, with its percentile bootstrap interval over the units."""
        matrix = self.unit_matrix()
        sums, sizes = values @ matrix, matrix.sum(0)
        estimate = float(sums.sum() / sizes.sum())
        if matrix.shape[1] < 2:
            return Interval(estimate, float("nan"), float("nan"))
        draws = unit_draws(matrix.shape[1], n, seed)
        return _bounds(estimate, (draws @ sums) / (draws @ sizes), level)


def unit_draws(count: int, n: int, seed: int) -> Floats:
    """``n`` resamples of ``count`` units: how many times each is drawn, ``n count``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1.0 / count), size=n).astype(np.float64)


def _bounds(estimate: float, draws: Floats, level: float) -> Interval:
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def kernel_inception_distance(
    first: Float[np.ndarray, "N D"],
    second: Float[np.ndarray, "M D"],
    *,
    subsets: int = 50,
    subset_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """KID as published: mean and standard deviation of the estimator over random subsets (arXiv 1801.01401).

    Args:
        first: Vectors of one set.
        second: Of the other.
        subsets: How many subsets.
        subset_size: Vectors in each, of both sets; all where there are fewer.
        seed: Of their choice.
    """
    kernels = [polynomial_kernel(a, b) for a, b in ((first, first), (second, second), (first, second))]
    rng = np.random.default_rng(seed)
    size = min(subset_size, len(first), len(second))
    if size < 2:
        return float("nan"), float("nan")
    found = []
    for _ in range(subsets):
        rows, columns = (rng.permutation(len(vectors))[:size] for vectors in (first, second))
        own = kernels[0][np.ix_(rows, rows)], kernels[1][np.ix_(columns, columns)]
        within = sum((kernel.sum() - np.trace(kernel)) / (size * (size - 1)) for kernel in own)
        found.append(within - 2.0 * kernels[2][np.ix_(rows, columns)].mean())
    return float(np.mean(found)), float(np.std(found))


def equal_draw(sizes: Sequence[int], seed: int) -> list[Ints]:
    """As many members of every set as the smallest has: which of each, in order, by a seeded draw.

    A distance grows as its samples get fewer, so sets of unlike size must not be compared.
    """
    count = min(sizes)
    return [np.sort(np.random.default_rng([seed, i]).permutation(n)[:count]) for i, n in enumerate(sizes)]


def _require_finite(vectors: NDArray[np.floating], key: str) -> None:
    if not np.isfinite(vectors).all():
        raise MetricsError(
            "feature vectors hold NaN or infinity",
            key=key,
            expected="finite numbers",
            found=f"{int((~np.isfinite(vectors)).sum())} others",
            remedy="look at the pictures and at the network that embedded them",
        )
