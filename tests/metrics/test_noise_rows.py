"""Noise of known memory and colour, clip by clip."""

import numpy as np
import pytest
from scipy import ndimage, signal

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.noise_rows import ROW_LAGS, clip_noise, noise_rows_section
from sfvd_pl.metrics.rows import RowAccumulator
from sfvd_pl.metrics.spectrum import FINE_BANDS

SHAPE = (12, 64, 64)
NO_WIRE = np.zeros(SHAPE, np.uint8)


def white(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.03, SHAPE)


def test_white_noise() -> None:
    found = clip_noise(0.5 + white(), NO_WIRE, intensity_max=1)
    assert found["noise_std"] == pytest.approx(0.03, rel=0.03)
    assert found["pixel_std"] == pytest.approx(0.03, rel=0.02)
    assert found["autocorrelation"] == pytest.approx(np.zeros(len(ROW_LAGS)), abs=0.03)
    assert np.asarray(found["spectrum"])[1:] == pytest.approx(np.ones(7), abs=0.1)


@pytest.mark.parametrize("memory", [0.3, 0.8])
def test_a_recursive_filters_memory(memory: float) -> None:
    # A first-order recursion remembers memory ** lag; scipy makes it, after a long start.
    long = np.random.default_rng(1).normal(0, 0.03, (40, *SHAPE[1:]))
    clip = 0.5 + signal.lfilter([1], [1, -memory], long, axis=0)[-SHAPE[0] :]
    found = clip_noise(clip, NO_WIRE, intensity_max=1)
    assert found["autocorrelation"] == pytest.approx(memory ** np.array(ROW_LAGS, float), abs=0.05)


def test_frozen_grain_is_remembered_forever() -> None:
    clip = 0.5 + np.repeat(white()[:1], SHAPE[0], axis=0)
    found = clip_noise(clip, NO_WIRE, intensity_max=1)
    assert found["autocorrelation"] == pytest.approx(np.ones(len(ROW_LAGS)))
    assert found["noise_std"] == 0 and np.isnan(found["spectrum"]).all()


def test_blur_takes_the_high_frequencies() -> None:
    sharp = 0.5 + white(2)
    blurred = ndimage.gaussian_filter(sharp, (0, 1, 1), mode="wrap")
    ours, theirs = (np.asarray(clip_noise(c, NO_WIRE, intensity_max=1)["spectrum"]) for c in (blurred, sharp))
    assert ours[-1] < 0.01 * theirs[-1] and ours[0] > 2 * theirs[0]


def test_the_wire_isnt_noise() -> None:
    clip, wire = 0.5 + white(3), NO_WIRE.copy()
    for t in range(SHAPE[0]):
        wire[t, :, 20 + t : 22 + t] = 1
    still = clip_noise(clip, wire, intensity_max=1)
    clip[wire != 0] -= 0.3
    seen = clip_noise(clip, wire, intensity_max=1)
    for name in ("residual_std", "noise_std", "autocorrelation", "spectrum"):
        # The residual's blur reaches a little further than the band, with a weight of a thousandth.
        assert seen[name] == pytest.approx(still[name], abs=2e-3)
    assert clip_noise(clip, NO_WIRE, intensity_max=1)["residual_std"] > 1.3 * float(still["residual_std"])


@pytest.mark.parametrize("clip", [np.full((1, 32, 32), 0.5), np.full((3, 32, 32), 0.5), np.zeros((3, 8, 8))])
def test_edges(clip: np.ndarray) -> None:
    for wire in (np.zeros(clip.shape, np.uint8), np.ones(clip.shape, np.uint8)):
        found = clip_noise(clip, wire, intensity_max=1)
        assert np.isnan(found["autocorrelation"]).all() and np.isnan(found["spectrum"]).all()
        assert len(np.asarray(found["spectrum"])) == len(FINE_BANDS) - 1


def test_large_frames_are_cut_into_patches_without_overlap() -> None:
    clip = 0.5 + np.random.default_rng(4).normal(0, 0.03, (3, 192, 192))
    found = clip_noise(clip * 4095, np.zeros(clip.shape, np.uint8), intensity_max=4095)
    assert found["noise_std"] == pytest.approx(0.03, rel=0.03)


def test_the_section_names_its_lags_and_frequencies() -> None:
    table = RowAccumulator()
    table.update("a", clip_noise(0.5 + white(), NO_WIRE, intensity_max=1))
    section = noise_rows_section(table.row("real"), [table.row("synthetic")])
    assert len(section["frequencies"]) == len(section["rows"][0]["spectrum"]) == 8
    assert section["frequencies"] == pytest.approx(np.arange(1, 9) / 16)
    assert len(section["lags"]) == len(section["reference"]["autocorrelation"])
    with pytest.raises(MetricsError, match="shape"):
        clip_noise(white(), NO_WIRE[1:])
