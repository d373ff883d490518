import numpy as np
from scipy.interpolate import griddata, splev, splprep
from scipy.ndimage import label

from sfvd_pl.datasets.courses import draw_curve
from sfvd_pl.datasets.transforms import classical, jitter

SIDE = 96


def _curve(seed: int) -> np.ndarray:
    """A smooth curve in the middle of a frame, so that no turn moves it out: rows and columns."""
    spline, _ = splprep(np.random.default_rng(seed).uniform(32, 64, (2, 4)), k=3, s=0)
    return np.array(splev(np.linspace(0, 1, 400), spline)).T


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def _parts(mask: np.ndarray) -> int:
    return int(label(mask, np.ones((3, 3)))[1])


def _warp(seed: int) -> np.ndarray:
    """Rows and columns of the input that the pixels of the output come from, seen in frames that hold them."""
    image = np.stack([*np.mgrid[:SIDE, :SIDE], np.full((SIDE, SIDE), (SIDE - 1) / 2)]).astype(np.float32)
    nothing = np.zeros((SIDE, SIDE), bool)
    out, wire_mask, _ = classical(np.random.default_rng(seed), image, nothing, nothing)
    assert not wire_mask.any()
    gamma = np.log(out[2, 0, 0] / (SIDE - 1)) / np.log(0.5)  # frames share it
    return (SIDE - 1) * (out[:2] / (SIDE - 1)).clip(0) ** (1 / gamma)


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def test_warped_wires_stay_whole_and_are_what_would_be_drawn() -> None:
    least = {1.0: 0.83, 1.5: 0.86, 2.0: 0.9, 3.0: 0.92}  # a mask of whole pixels doesn't say more of its curve
    dice: dict[float, list[float]] = {width: [] for width in least}
    for seed in range(16):
        points, source = _curve(seed), _warp(seed)
        if np.abs(source[0] - np.arange(SIDE)[:, None]).max() < 0.5:
            continue  # no geometry this time
        moved = griddata(source.reshape(2, -1).T, np.indices((SIDE, SIDE)).reshape(2, -1).T, points)
        for width in least:
            mask = draw_curve(points, SIDE, SIDE, width) > 0.5
            drawn = draw_curve(moved, SIDE, SIDE, width * _length(moved) / _length(points)) > 0.5
            _, wire, _ = classical(np.random.default_rng(seed), _frame()[0], mask, np.zeros_like(mask))
            assert _parts(wire) <= _parts(mask)
            dice[width].append(_dice(wire, drawn))
    means = {width: np.mean(values) for width, values in dice.items()}
    assert all(means[width] > least[width] for width in least), means


def _frame(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mask = draw_curve(_curve(3), SIDE, SIDE, 2.0) > 0.5
    image = 0.3 * np.random.default_rng(seed).standard_normal((2, SIDE, SIDE)) - 2.0 * mask
    ignore = np.zeros_like(mask)
    ignore[:, 80:] = True
    return image.astype(np.float32), mask, ignore


def test_the_generator_alone_decides() -> None:
    one, two, other = (classical(np.random.default_rng(seed), *_frame()) for seed in (0, 0, 1))
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
