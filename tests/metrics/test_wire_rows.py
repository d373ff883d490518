"""Rendered wires of known place, width, depth and end; requests met by a known line."""

import numpy as np
import pytest
from rendered import mask, picture, straight
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.metrics.wire_rows import clip_wire, visibility_calibration, wire_section

FRAMES = 5
MASKS = np.stack([mask(straight(30))] * FRAMES)


def clip_of(line: np.ndarray, **options: float) -> np.ndarray:
    grain = np.random.default_rng(0).normal(0, 0.01, (FRAMES, 64, 64))
    return picture(line, **options) + grain


def test_a_wire_where_its_mask_is() -> None:
    clip = clip_of(straight(30), width=2.4)
    found = clip_wire(clip, MASKS, intensity_max=1)
    assert found["offset_px"] < 0.1 and abs(found["tip_offset_px"]) < 0.6
    assert found["tip_found"] == 1 and found["tip_error_px"] == pytest.approx(abs(found["tip_offset_px"]))
    assert found["width_px"] == pytest.approx(2.4, abs=0.4)
    assert found["label_width_px"] == pytest.approx(MASKS[0].sum() / (MASKS[0].any(axis=1).sum()), rel=0.1)
    assert found["width_ratio"] == pytest.approx(found["width_px"] / found["label_width_px"])
    assert found["cnr"] == pytest.approx(clip_visibility(clip, MASKS).mean())
    assert found["depth"] == pytest.approx(0.2 / 0.6, rel=0.15)


def test_a_wire_beside_its_mask_a_wide_one_and_one_that_ends_early() -> None:
    assert clip_wire(clip_of(straight(31.5)), MASKS, intensity_max=1)["offset_px"] == pytest.approx(1.5, abs=0.15)
    assert clip_wire(clip_of(straight(30), width=4.0), MASKS, intensity_max=1)["width_px"] == pytest.approx(4, abs=0.3)
    early = clip_wire(clip_of(straight(30, bottom=37)), MASKS, intensity_max=1)
    assert early["tip_offset_px"] == pytest.approx(-3, abs=0.7)


def test_only_known_frames_count() -> None:
    masks, known = MASKS.copy(), np.ones(FRAMES, bool)
    known[2], masks[2] = False, 0
    clip = clip_of(straight(30))
    clip[2] = 0
    kept = clip_wire(clip, masks, known, intensity_max=1)
    assert kept == pytest.approx(clip_wire(clip[known], masks[known], intensity_max=1), nan_ok=True)


@pytest.mark.parametrize(
    ("clip", "masks"),
    [
        (np.full((2, 64, 64), 0.5), np.zeros((2, 64, 64), np.uint8)),
        (np.full((1, 64, 64), 0.5), MASKS[:1]),
        (np.zeros((2, 64, 64)), np.ones((2, 64, 64), np.uint8)),
    ],
    ids=["no wire", "constant", "all wire"],
)
def test_edges(clip: np.ndarray, masks: np.ndarray) -> None:
    found = clip_wire(clip, masks, intensity_max=1)
    assert all(np.isnan(found[name]) for name in ("cnr", "width_px", "width_ratio", "offset_px", "tip_offset_px"))


def test_calibration_is_scipys_line_and_rank_correlation() -> None:
    rng = np.random.default_rng(0)
    requested = rng.uniform(1, 4, 60)
    measured = 0.5 + 0.8 * requested + rng.normal(0, 0.4, 60)
    measured[3] = np.nan
    found = visibility_calibration(requested, measured, [str(k) for k in range(60)])
    there = np.isfinite(measured)
    line = stats.linregress(requested[there], measured[there])
    assert found["n"] == 59
    assert found["slope"]["mean"] == pytest.approx(line.slope)
    assert found["intercept"]["mean"] == pytest.approx(line.intercept)
    assert found["spearman"]["mean"] == pytest.approx(stats.spearmanr(requested[there], measured[there]).statistic)
    error = line.stderr * stats.norm.ppf(0.975)
    assert found["slope"]["low"] == pytest.approx(line.slope - error, abs=0.4 * error)
    assert found["slope"]["high"] == pytest.approx(line.slope + error, abs=0.4 * error)
    assert found["spearman"]["low"] < found["spearman"]["mean"] < found["spearman"]["high"]
    assert sum(row["n"] for row in found["bins"]) == 59 and len(found["bins"]) == 6
    first, last = found["bins"][0], found["bins"][-1]
    assert first["low"] == requested[there].min() and last["high"] == requested[there].max()
    inside = measured[there][requested[there] < first["high"]]
    assert (first["n"], first["median"]) == (len(inside), pytest.approx(np.median(inside)))


def test_calibration_without_a_spread_of_requests() -> None:
    for requested in (np.full(5, 2.0), np.full(5, np.nan), np.empty(0)):
        found = visibility_calibration(requested, np.arange(float(len(requested))), list("abcde")[: len(requested)])
        assert np.isnan([found["slope"]["mean"], found["intercept"]["mean"], found["spearman"]["mean"]]).all()
    with pytest.raises(MetricsError, match="shape"):
        visibility_calibration(np.zeros(3), np.zeros(2), ["a"] * 3)


def test_section() -> None:
    section = wire_section({"name": "real"}, [{"name": "synthetic"}], {"n": 0})
    assert section == {"reference": {"name": "real"}, "rows": [{"name": "synthetic"}], "calibration": {"n": 0}}
