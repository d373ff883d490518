import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.distribution import (
    KernelDistance,
    Moments,
    MomentsAccumulator,
    VectorSet,
    equal_draw,
    frechet_distance,
    frechet_of_vectors,
    kernel_inception_distance,
    moments,
    polynomial_kernel,
)
from sfvd_pl.metrics.likeness import likeness_row


def vectors(n: int, d: int, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) * scale + shift


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(moments(first), moments(second))


class Flat(nn.Module):
    """The picture's pixels as its features."""

    num_features = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def images(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.reshape(-1, 3, 2, 2))


# -- moments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [[50], [1, 1, 48], [0, 7, 13, 0, 30]])
def test_moments_of_batches_are_those_of_the_whole(batches: list[int]) -> None:
    values = vectors(50, 4, shift=1e4)  # far from 0: sums of squares would lose the spread
    found = MomentsAccumulator(4)
    for part in np.split(values, np.cumsum(batches)[:-1]):
        found.update(part)
    n, mean, covariance = found.result()
    assert n == 50
    assert np.allclose(mean, values.mean(0), rtol=1e-12)
    assert np.allclose(covariance, np.cov(values, rowvar=False), rtol=1e-6)


def test_single_precision_far_from_zero_keeps_its_spread() -> None:
    values = vectors(4000, 3, shift=300.0, scale=0.01).astype(np.float32)
    assert np.allclose(moments(values).covariance, np.cov(values.astype(np.float64), rowvar=False), rtol=1e-9)


def test_moments_refuse_what_is_no_number() -> None:
    values = vectors(4, 2)
    values[1, 1] = np.nan
    with pytest.raises(MetricsError, match="NaN or infinity"):
        moments(values)


# -- Frechet ----------------------------------------------------------------------------------------------------


def test_frechet_distance_of_normal_distributions_is_known() -> None:
    def normal(mean: list[float], variances: list[float]) -> Moments:
        return Moments(99, np.array(mean), np.diag(variances))

    assert frechet_distance(normal([0, 0], [1, 4]), normal([3, 4], [1, 4])) == pytest.approx(25.0)
    # Diagonal covariances: the sum over (s1 - s2)^2.
    assert frechet_distance(normal([0, 0], [1, 4]), normal([0, 0], [9, 1])) == pytest.approx(4.0 + 1.0)
    assert frechet_distance(normal([1], [0]), normal([1], [4])) == pytest.approx(4.0)


@pytest.mark.parametrize(("n", "d"), [(200, 12), (40, 12), (13, 12)])
def test_frechet_distance_by_scipy(n: int, d: int) -> None:
    mix = vectors(d, d, 5)
    first, second = vectors(n, d, 1) @ mix, vectors(n + 5, d, 2, shift=0.3) @ mix.T
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(c1 + c2 - 2 * np.real(sqrtm(c1 @ c2)))
    assert frechet(first, second) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_by_torchmetrics() -> None:
    first, second = vectors(60, 12, 1).astype(np.float32), vectors(60, 12, 2, shift=0.5).astype(np.float32)
    metric = FrechetInceptionDistance(feature=Flat(), normalize=True, input_img_size=(3, 2, 2)).double()
    metric.used_custom_model = True
    for values, real in ((first, True), (second, False)):
        metric.update(images(values), real=real)
    assert frechet(first, second) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_frechet_distance_with_fewer_vectors_than_features() -> None:
    first, second = vectors(8, 40, 1), vectors(8, 40, 2, shift=0.2)
    distance = frechet(first, second)
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    cross = np.sqrt(np.linalg.eigvals(c1 @ c2).real.clip(0)).sum()
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(c1 + c2) - 2 * cross
    assert distance == pytest.approx(expected, rel=1e-4)  # roots of rounding errors in the reference
    assert frechet_of_vectors(first, second[:6]) == pytest.approx(frechet(first, second[:6]), rel=1e-6)
    assert frechet_of_vectors(first, second) == pytest.approx(distance, rel=1e-6)
    assert frechet(first, first) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(frechet(first[:1], second))
    with pytest.raises(MetricsError, match="different lengths"):
        frechet(first, second[:, :5])


def test_frechet_distance_ignores_order_and_who_is_first() -> None:
    first, second = vectors(50, 6, 1), vectors(30, 6, 2, shift=0.4)
    assert frechet(first[::-1], second) == pytest.approx(frechet(first, second), rel=1e-9)
    assert frechet(second, first) == pytest.approx(frechet(first, second), rel=1e-9)


# -- kernel -----------------------------------------------------------------------------------------------------


def brute_force_mmd(x: np.ndarray, y: np.ndarray, gx: np.ndarray, gy: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1.0) ** 3)

    own = []
    for v, g in ((x, gx), (y, gy)):
        own.append(np.mean([k(a, b) for i, a in enumerate(v) for j, b in enumerate(v) if g[i] != g[j]]))
    return own[0] + own[1] - 2 * float(np.mean([k(a, b) for a in x for b in y]))


def test_kernel_distance_by_brute_force() -> None:
    x, y = vectors(9, 4, 1), vectors(7, 4, 2, shift=0.5)
    gx, gy = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5]), np.array([0, 1, 1, 2, 2, 2, 3])
    alone = KernelDistance(VectorSet.independent(x), VectorSet.independent(y)).value()
    assert alone == pytest.approx(brute_force_mmd(x, y, np.arange(9), np.arange(7)), rel=1e-9)
    grouped = KernelDistance(VectorSet(x, gx, gx // 2), VectorSet(y, gy, gy)).value()
    assert grouped == pytest.approx(brute_force_mmd(x, y, gx, gy), rel=1e-9)


def test_kernel_distance_by_torchmetrics() -> None:
    first, second = vectors(40, 12, 1).astype(np.float32), vectors(40, 12, 2, shift=0.5).astype(np.float32)
    metric = KernelInceptionDistance(feature=Flat(), subsets=3, subset_size=40, normalize=True)
    metric.used_custom_model = True
    for values, real in ((first, True), (second, False)):
        metric.update(images(values), real=real)
    mean, std = kernel_inception_distance(first, second, subsets=3, subset_size=40)
    assert mean == pytest.approx(float(metric.compute()[0]), rel=1e-4)
    assert std == pytest.approx(0.0, abs=1e-9)  # every subset is the whole
    assert mean == pytest.approx(KernelDistance(*map(VectorSet.independent, (first, second))).value(), rel=1e-6)


def test_subsets_spread_around_the_estimate_of_the_whole() -> None:
    first, second = vectors(300, 5, 1), vectors(300, 5, 2, shift=0.2)
    mean, std = kernel_inception_distance(first, second, subset_size=60)
    whole = KernelDistance(*map(VectorSet.independent, (first, second))).value()
    assert std > 0
    assert abs(mean - whole) < 3 * std / np.sqrt(50) + 0.1 * whole
    assert kernel_inception_distance(first, second, subset_size=60) == (mean, std)
    assert np.isnan(kernel_inception_distance(first[:1], second)[0])


def test_kernel_distance_is_unbiased() -> None:
    """Its mean over draws from one distribution is 0, however few the vectors; with clips of four alike frames too."""

    def draw(seed: int) -> VectorSet:
        clips = vectors(6, 3, seed)
        frames = np.repeat(clips, 4, 0) + 0.01 * vectors(24, 3, seed + 7000)
        groups = np.repeat(np.arange(6), 4)
        return VectorSet(frames, groups, groups)

    found, naive = [], []
    for seed in range(300):
        first, second = draw(seed), draw(seed + 1000)
        found.append(KernelDistance(first, second).value())
        naive.append(KernelDistance(*(VectorSet.independent(s.vectors) for s in (first, second))).value())
    error = np.std(found) / np.sqrt(300)
    assert abs(np.mean(found)) < 3 * error
    assert np.mean(naive) > 10 * error  # alike frames taken for independent ones


def test_interval_of_the_kernel_distance() -> None:
    first, second = VectorSet.independent(vectors(40, 4, 1)), VectorSet.independent(vectors(40, 4, 2, shift=1.0))
    distance = KernelDistance(first, second)
    interval = distance.interval(n=200)
    assert interval.estimate == distance.value()
    assert interval.low < interval.estimate < interval.high
    assert interval == distance.interval(n=200)
    same = KernelDistance(first, VectorSet.independent(vectors(40, 4, 3))).interval(n=200)
    assert same.low < 0 < same.high < interval.low
    one = VectorSet(first.vectors, first.groups, np.zeros(40, int))
    alone = KernelDistance(one, second).interval(n=5)
    assert np.isfinite(alone.estimate)
    assert np.isnan(alone.low)


def test_a_weight_counts_a_unit_as_copies_would_that_are_never_held_against_one_another() -> None:
    x, y = vectors(3, 4, 1), vectors(4, 4, 2)
    weighted = KernelDistance(*map(VectorSet.independent, (x, y))).value(np.array([2.0, 1.0, 0.0]))
    doubled = VectorSet(x[[0, 0, 1]], np.array([0, 0, 1]), np.array([0, 0, 1]))
    assert weighted == pytest.approx(KernelDistance(doubled, VectorSet.independent(y)).value(), rel=1e-9)


def test_one_clip_has_no_pair_to_go_by() -> None:
    one = VectorSet(vectors(4, 2), np.zeros(4, int), np.zeros(4, int))
    assert np.isnan(KernelDistance(one, VectorSet.independent(vectors(4, 2, 1))).value())


def test_kernel_is_cubic() -> None:
    assert polynomial_kernel(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])) == pytest.approx((11 / 2 + 1) ** 3)


def test_mean_interval_draws_whole_units() -> None:
    units = np.repeat(np.arange(10), 5)
    made = VectorSet(vectors(50, 2), units, units)
    values = np.repeat(np.arange(10.0), 5)
    interval = made.mean_interval(values, n=2000)
    assert interval.estimate == 4.5
    spread = 1.96 * np.std(np.arange(10.0)) / np.sqrt(10)
    assert interval.high - interval.estimate == pytest.approx(spread, rel=0.15)


def test_equal_draw() -> None:
    parts = equal_draw([9, 4, 30], seed=1)
    assert [len(part) for part in parts] == [4, 4, 4]
    assert all(len(set(part)) == 4 and part.max() < n for part, n in zip(parts, (9, 4, 30), strict=True))
    assert all((a == b).all() for a, b in zip(parts, equal_draw([9, 4, 30], seed=1), strict=True))
    assert not np.array_equal(parts[2], equal_draw([9, 4, 30], seed=2)[2])


# -- rows -------------------------------------------------------------------------------------------------------


def test_a_row_says_when_its_frechet_distance_can_t_be_relied_on() -> None:
    reference = VectorSet.independent(vectors(30, 40, 1))
    row = likeness_row("synthetic", reference, VectorSet.independent(vectors(30, 40, 2)), n=30, seed=0)
    assert not row["frechet"]["reliable"]
    assert "30 vectors of 40 numbers" in row["note"]
    enough = likeness_row(
        "floor", VectorSet.independent(vectors(80, 4, 1)), VectorSet.independent(vectors(80, 4, 2)), n=80, seed=0
    )
    assert enough["frechet"]["reliable"]
    assert enough["note"] == ""
    assert (enough["n"], enough["n_vectors"]) == (80, 80)


def test_a_copy_is_as_like_as_can_be() -> None:
    values = VectorSet.independent(vectors(60, 4, 1))
    row = likeness_row("copy", values, values, n=60, seed=0)
    assert row["frechet"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert row["kernel"]["value"] <= 0
    assert [row[name]["value"] for name in ("precision", "recall", "coverage")] == [1.0, 1.0, 1.0]
