"""Two sets of clips beside one another."""

import numpy as np
import pytest

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.compare import as_markdown, compare_sets, measure_clip
from sfvd_pl.metrics.visibility import clip_visibility

SHAPE = (8, 96, 128)
NOTHING = np.zeros(SHAPE, np.bool_)


def noise(seed: int) -> np.ndarray:
    return 0.5 + 0.02 * np.random.default_rng(seed).normal(0, 1, SHAPE)


def test_measures_of_a_clip_and_their_invariance_to_full_scale() -> None:
    clip, wire = noise(5), NOTHING.copy()
    wire[:, 20:80, 50:52] = True
    clip[wire] -= 0.2
    found = measure_clip(clip * 255, wire)
    assert found["grey: mean, share of full scale"] == pytest.approx(clip.mean())
    assert found["residual: std, 1/255"] == pytest.approx(255 * 0.02 * 0.945, rel=0.05)
    assert abs(found["residual: autocorrelation at lag 1"]) < 0.02
    assert found["wire: CNR"] == pytest.approx(np.median(clip_visibility(clip, wire)))
    assert found["wire: width of the label, px"] == pytest.approx(2, abs=0.1)
    assert found["wire: length of the label, px"] == pytest.approx(60, abs=3)
    assert found["wire: depth of the shadow, share of its surroundings"] == pytest.approx(0.4, rel=0.05)
    twice = measure_clip(clip * 510, wire, intensity_max=510)
    assert all(twice[key] == pytest.approx(value, nan_ok=True) for key, value in found.items())
    unmarked = measure_clip(clip * 255, NOTHING)
    assert np.isnan(unmarked["wire: CNR"]) and np.isnan(unmarked["wire: width of the label, px"])


def test_a_table_of_two_sets() -> None:
    first = [{"a": value, "b": np.nan} for value in (5.0, 6.0, 7.0)]
    second = [{"a": value, "b": 1.0} for value in np.arange(11.0)]
    a, b = compare_sets(first, second)
    assert a.first[1] == 6 and a.second == (1.0, 5.0, 9.0)
    assert a.gap == pytest.approx(1 / (8 / 2.563))
    assert np.isnan(b.gap)
    text = as_markdown((a, b), "mine", "theirs").splitlines()
    assert text[0] == "| measure | mine | theirs | gap |"
    assert text[2] == "| a | 6 (5.2 .. 6.8) | 5 (1 .. 9) | +0.3 |" and text[3] == "| b | - | 1 (1 .. 1) | - |"


def test_what_cant_be_measured_is_refused() -> None:
    with pytest.raises(MetricsError, match="too small"):
        measure_clip(np.ones((3, 20, 64)), np.zeros((3, 20, 64)))
    with pytest.raises(MetricsError, match="shape"):
        measure_clip(np.ones((3, 64, 64)), np.zeros((3, 64, 65)))
    with pytest.raises(MetricsError, match="axes"):
        measure_clip(np.ones((64, 64)), np.zeros((64, 64)))
    with pytest.raises(MetricsError, match="nothing to compare"):
        compare_sets([], [{"a": 1.0}])
