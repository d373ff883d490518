import numpy as np
from toy import wire_row

from sfvd_pl.datasets.transforms import apply_classical, classical_augmentation


def _frame(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    mask = wire_row(1, 32, 32, 14)[0]
    image = 0.5 + 0.05 * np.random.default_rng(seed).standard_normal((32, 32)) - 0.3 * mask
    return image.astype(np.float32).clip(0, 1), mask


def test_the_seed_alone_decides() -> None:
    image, mask = _frame()
    first, again = classical_augmentation(1), classical_augmentation(2)
    for seed in (5, 9):
        apply_classical(again, seed, image, mask)
    one, two = apply_classical(first, 2**62 + 7, image, mask), apply_classical(again, 2**62 + 7, image, mask)
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
    assert not np.array_equal(one[0], apply_classical(first, 8, image, mask)[0])


def test_values_stay_a_signal_and_a_mask() -> None:
    image, mask = _frame()
    composition = classical_augmentation(0)
    changed = 0
    for seed in range(30):
        out, label = apply_classical(composition, seed, image, mask)
        assert out.dtype == np.float32
        assert out.shape == image.shape
        assert out.min() >= 0
        assert out.max() <= 1
        assert set(np.unique(label)) <= {0, 1}
        changed += int(not np.array_equal(label, mask))
    assert 10 < changed < 30  # geometry often, not always


def test_the_mask_moves_with_the_picture() -> None:
    image, mask = _frame()
    composition = classical_augmentation(0)
    for seed in range(30):
        out, label = apply_classical(composition, seed, image, mask)
        if label.sum() > 20:
            assert out[label > 0].mean() < out[label == 0].mean() - 0.08
