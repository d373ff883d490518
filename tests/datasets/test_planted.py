from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from toy import FRAMES, WINDOW

from sfvd_pl.datasets.planted import Planted, PlantedKind
from sfvd_pl.datasets.sets import WindowClips


@pytest.fixture
def base(source: Path) -> WindowClips:
    return WindowClips(source, "train", window=WINDOW, frames=FRAMES, seed=0)


def test_copies_are_copies(base: WindowClips) -> None:
    original = base[1].image.astype(float)
    made = {kind: Planted(base, kind, seed=5)[1].image for kind in get_args(PlantedKind)}
    assert np.array_equal(made["exact"], base[1].image)
    for kind, strength in (("noised", 0.03), ("noisier", 0.05)):
        noise = (made[kind] - original)[(made[kind] > 0) & (made[kind] < 255)]
        assert noise.std() == pytest.approx(strength * 255, rel=0.1)
    ways = [np.rot90(view, k, axes=(1, 2)) for view in (original, original[:, :, ::-1]) for k in range(4)]
    assert [np.array_equal(made["flipped"], way) for way in ways].count(True) == 1
    assert not np.array_equal(made["flipped"], original)
    for kind in ("shifted", "regrained"):
        assert made[kind].dtype == np.uint8 and not np.array_equal(made[kind], original)
    smooth = gaussian_filter(original, (0, 1, 1), mode="nearest")
    new, taken = made["regrained"] - smooth, original - smooth
    assert new.std() == pytest.approx(taken.std(), rel=0.1)
    assert abs(np.corrcoef(new.ravel(), taken.ravel())[0, 1]) < 0.1


def test_masks_go_with_the_pictures(base: WindowClips) -> None:
    clip = base[0]
    for kind in ("flipped", "shifted"):
        made = Planted(base, kind, seed=1)[0]
        dark = [float(c.image[c.wire_mask > 0].mean() - c.image.mean()) for c in (clip, made)]
        assert dark[1] == pytest.approx(dark[0], rel=0.25)
        assert made.wire_mask.shape == clip.wire_mask.shape and not np.array_equal(made.wire_mask, clip.wire_mask)


def test_a_planted_set_is_a_set(base: WindowClips) -> None:
    sets = [Planted(base, kind, seed) for kind in get_args(PlantedKind) for seed in (0, 1)]
    assert len({made.identity for made in sets}) == len(sets)
    assert sets[0].identity == Planted(base, "exact", 0).identity
    assert sets[0].patients == base.patients and len(sets[0]) == len(base)
    assert np.array_equal(Planted(base, "noised", 3)[2].image, Planted(base, "noised", 3)[2].image)
    with pytest.raises(ValueError, match="unknown kind"):
        Planted(base, "painted")  # type: ignore[arg-type]
