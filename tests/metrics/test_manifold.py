import numpy as np
import pytest

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.manifold import overlap


def brute_force(real: np.ndarray, made: np.ndarray, k: int, g: np.ndarray, h: np.ndarray) -> tuple[float, ...]:
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.sqrt(((a - b) ** 2).sum()))

    def radii(v: np.ndarray, groups: np.ndarray) -> list[float]:
        others = [[b for j, b in enumerate(v) if groups[j] != group] for group in groups]
        return [sorted(distance(a, b) for b in far)[k - 1] for a, far in zip(v, others, strict=True)]

    r, m = radii(real, g), radii(made, h)
    inside = [[distance(x, y) <= r[i] for i, x in enumerate(real)] for y in made]
    precision = np.mean([any(row) for row in inside])
    density = sum(sum(row) for row in inside) / (k * len(made))
    recall = np.mean([any(distance(x, y) <= m[j] for j, y in enumerate(made)) for x in real])
    coverage = np.mean([any(row[i] for row in inside) for i in range(len(real))])
    return precision, density, recall, coverage


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0])
def test_overlap_by_brute_force(k: int, shift: float) -> None:
    rng = np.random.default_rng(k)
    real, made = rng.standard_normal((25, 3)), rng.standard_normal((20, 3)) * 1.3 + shift
    found = overlap(real, made, k=k)
    assert found is not None
    expected = brute_force(real, made, k, np.arange(25), np.arange(20))
    assert [v.mean() for v in found] == pytest.approx(expected)
    groups = np.arange(25) // 2, np.arange(20) // 3
    grouped = overlap(real, made, k=k, real_groups=groups[0], made_groups=groups[1])
    assert grouped is not None
    assert [v.mean() for v in grouped] == pytest.approx(brute_force(real, made, k, *groups))


def test_overlap_of_copies_and_of_strangers() -> None:
    real = np.random.default_rng(0).standard_normal((40, 2))
    same, far = overlap(real, real, k=3), overlap(real, real + 100.0, k=3)
    assert same is not None
    assert far is not None
    assert same.precision.mean() == same.recall.mean() == same.coverage.mean() == 1.0
    assert same.density.mean() >= 1.0
    assert [v.mean() for v in far] == [0.0] * 4


def test_a_generator_that_repeats_one_picture_is_precise_and_recalls_nothing() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((60, 2))
    found = overlap(real, np.repeat(real[:1], 60, 0) + 1e-6 * rng.standard_normal((60, 2)), k=3)
    assert found is not None
    assert found.precision.mean() == 1.0
    assert found.recall.mean() < 0.1
    assert found.coverage.mean() < 0.5


def test_order_does_not_count() -> None:
    rng = np.random.default_rng(1)
    real, made = rng.standard_normal((30, 3)), rng.standard_normal((30, 3)) + 0.5
    first, second = overlap(real, made, k=4), overlap(real[::-1], made[::-1], k=4)
    assert first is not None
    assert second is not None
    assert [v.mean() for v in first] == pytest.approx([v.mean() for v in second])


def test_too_few_neighbours() -> None:
    values = np.random.default_rng(0).standard_normal((6, 2))
    assert overlap(values[:3], values, k=3) is None
    assert overlap(values, values, k=2, real_groups=np.array([0, 0, 0, 0, 1, 1])) is not None
    assert overlap(values, values, k=3, real_groups=np.array([0, 0, 0, 0, 1, 1])) is None
    with pytest.raises(MetricsError, match="no such neighbour"):
        overlap(values, values, k=0)
