import numpy as np
import pytest

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.quality.exposure import Exposure, ExposureMeter, constant_border, robust_z


def noise(frames: int = 6, side: int = 60, std: float = 5.0, top: int = 255, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).normal(0.5 * top, std, (frames, side, side))
    return np.clip(np.rint(pixels), 0, top).astype(np.uint8 if top <= 255 else np.uint16)


def measured(clip: np.ndarray, top: int = 255, blocks: int = 1) -> Exposure:
    meter = ExposureMeter(top)
    for part in np.array_split(clip, blocks):
        meter.update(part)
    return meter.result()


@pytest.mark.parametrize(("std", "top"), [(2.0, 255), (6.0, 255), (900.0, 65535)])
def test_noise_is_that_of_independent_frames(std: float, top: int) -> None:
    assert measured(noise(std=std, top=top), top).noise == pytest.approx(std / top, rel=0.06)


def test_something_that_moves_is_not_taken_for_noise() -> None:
    clip = noise()
    for t in range(len(clip)):
        clip[t, 20:30, 5 + 6 * t : 17 + 6 * t] //= 2
    assert measured(clip).noise == pytest.approx(5 / 255, rel=0.25)


def test_levels_means_and_ends_of_the_scale_by_brute_force() -> None:
    clip = noise(std=60.0)
    seen = measured(clip)
    assert seen.mean == pytest.approx(clip.mean() / 255)
    assert seen.std == pytest.approx(clip.std() / 255)
    assert seen.levels == len(np.unique(clip))
    assert seen.low == pytest.approx((clip == 0).mean()) and seen.low > 0.01
    assert seen.high == pytest.approx((clip == 255).mean()) and seen.high > 0.01
    assert seen.border_px == (0, 0, 0, 0) and seen.border_share == 0


def test_blocks_make_no_difference() -> None:
    clip = noise(frames=9)
    clip[4] = clip[3]
    assert measured(clip, blocks=4) == measured(clip)
    assert measured(clip).repeated == measured(clip).identical == (4,)


def test_a_constant_border_is_measured_and_does_not_count_as_clipped() -> None:
    clip = noise()
    clip[:, :5] = 0
    clip[:, :, -7:] = 0
    seen = measured(clip)
    assert seen.border_px == (5, 0, 0, 7)
    assert seen.border_share == pytest.approx(1 - 55 * 53 / 3600)
    assert seen.low == 0
    frame = measured(np.full((3, 8, 9), 7, np.uint8))
    assert frame.border_px[0] == 8 and frame.border_share == 1


def test_a_border_that_changes_once_is_no_border() -> None:
    clip = noise()
    clip[:, :5] = 0
    clip[3, 2, 30] = 9
    assert measured(clip).border_px == (2, 0, 0, 0)
    flat = clip.reshape(-1, *clip.shape[1:])
    assert constant_border(flat.min(axis=0), flat.max(axis=0)) == (2, 0, 0, 0)


def test_one_frame_has_no_noise_and_repeats_nothing() -> None:
    seen = measured(noise(frames=1))
    assert np.isnan(seen.noise) and seen.repeated == ()


def test_robust_z() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan, 100.0])
    found = robust_z(values)
    known = values[np.isfinite(values)]
    spread = 1.4826 * np.median(np.abs(known - np.median(known)))
    assert np.allclose(found, (values - np.median(known)) / spread, equal_nan=True)
    assert np.isnan(robust_z(np.full(4, 2.0))).all() and np.isnan(robust_z(np.full(3, np.nan))).all()


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(MetricsError, match="no frame"):
        ExposureMeter(255).result()
    with pytest.raises(MetricsError, match="counts"):
        ExposureMeter(255).update(np.zeros((1, 4, 4)))
