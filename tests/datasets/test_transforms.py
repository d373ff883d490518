import numpy as np
import pytest
import torch
from scipy.interpolate import splev, splprep
from scipy.ndimage import label
from torch.nn.functional import grid_sample

from sfvd_pl.datasets.courses import draw_curve
from sfvd_pl.datasets.transforms import FINE, classical, jitter, random_affine, warp_grid, warp_mask

SIDE = 96


def _curve(seed: int) -> np.ndarray:
    """A smooth curve in the middle of a frame, so that no turn moves it out: rows and columns."""
    spline, _ = splprep(np.random.default_rng(seed).uniform(32, 64, (2, 4)), k=3, s=0)
    return np.array(splev(np.linspace(0, 1, 400), spline)).T


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Where the points of the input lie in the output; the matrix leads from output to input, x before y, -1..1."""
    place = (points[:, ::-1] + 0.5) / SIDE * 2 - 1
    back = np.linalg.solve(matrix[:, :2], (place - matrix[:, 2]).T).T
    return ((back + 1) / 2 * SIDE - 0.5)[:, ::-1]


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def _parts(mask: np.ndarray) -> int:
    return int(label(mask, np.ones((3, 3)))[1])


@pytest.mark.parametrize(("width", "least"), [(1.0, 0.8), (1.5, 0.86), (2.0, 0.88), (3.0, 0.9)])
def test_warped_wires_stay_whole_and_are_what_would_be_drawn(width: float, least: float) -> None:
    ours, nearest, parts = [], [], []
    for seed in range(20):
        points, matrix = _curve(seed), random_affine(np.random.default_rng(seed))
        mask = draw_curve(points, SIDE, SIDE, width) > 0.5
        drawn = draw_curve(_moved(points, matrix), SIDE, SIDE, width) > 0.5
        bends = np.zeros((2, 6, 6))
        warped = warp_mask(mask, warp_grid(matrix, bends, SIDE, SIDE, fine=FINE))
        ours.append(_dice(warped, drawn))
        parts.append(_parts(warped) - _parts(mask))
        values, grid = torch.from_numpy(mask.astype(np.float32))[None, None], warp_grid(matrix, bends, SIDE, SIDE)
        plain = grid_sample(values, grid, mode="nearest", align_corners=False)
        nearest.append(_dice(plain[0, 0].numpy() > 0, drawn))
    assert max(parts) <= 0  # nothing breaks
    assert np.mean(ours) > least
    assert np.mean(ours) > np.mean(nearest) + (0.04 if width == 1 else 0.01)


def _frame(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mask = draw_curve(_curve(3), SIDE, SIDE, 2.0) > 0.5
    image = 0.3 * np.random.default_rng(seed).standard_normal((2, SIDE, SIDE)) - 2.0 * mask
    ignore = np.zeros_like(mask)
    ignore[:, 80:] = True
    return image.astype(np.float32), mask, ignore


def test_the_generator_alone_decides() -> None:
    one, two, other = (classical(np.random.default_rng(seed), *_frame()) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], other[0])
    jittered = [jitter(np.random.default_rng(seed), _frame()[0]) for seed in (1, 1, 2)]
    assert np.array_equal(jittered[0], jittered[1])
    assert not np.array_equal(jittered[0], jittered[2])


def test_mask_and_ignored_pixels_move_with_the_picture() -> None:
    image, mask, ignore = _frame()
    changed = 0
    for seed in range(30):
        out, wire, unknown = classical(np.random.default_rng(seed), image, mask, ignore)
        assert out.shape == image.shape
        assert not (wire & unknown).any()
        assert 0.01 < unknown.mean() < 0.35
        assert out[0][wire].mean() < out[0][~wire].mean() - 0.9
        changed += int(not np.array_equal(wire, mask))
    assert 10 < changed < 30  # geometry often, not always
