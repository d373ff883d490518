"""A set's row of the section motion."""

import numpy as np
import pytest
from rendered import arc, mask, picture

from sfvd_pl.metrics.drift import MEASURES
from sfvd_pl.metrics.flow import SMOOTHNESS
from sfvd_pl.metrics.motion_rows import MotionAccumulator, clip_motion, motion_section

MOVES = np.array([0.0, 1.5, 0.5, -1.0, 1.0])


def fill(found: MotionAccumulator, moves: np.ndarray, n: int = 3, *, smoothness: bool = True) -> None:
    masks = np.stack([mask(arc(shift)) for shift in MOVES])
    for seed in range(n):
        frames = np.stack([picture(arc(shift)) for shift in moves])
        frames += np.random.default_rng(seed).normal(0, 0.02, frames.shape)
        found.update(f"p{seed}", clip_motion(frames, masks, intensity_max=1, smoothness=smoothness))


def test_a_wire_that_follows_and_one_that_stands_still() -> None:
    follows, stands = (MotionAccumulator(frames=8) for _ in range(2))
    fill(follows, MOVES)
    fill(stands, 0 * MOVES)
    good, bad = follows.row("synthetic"), stands.row("wrong")
    assert (good["name"], good["n"]) == ("synthetic", 3)
    assert good["displacement_correlation"]["mean"] > 0.95
    assert good["displacement_correlation"]["low"] <= good["displacement_correlation"]["high"]
    assert abs(bad["displacement_correlation"]["mean"]) < 0.5
    assert good["displacement_error_px"]["mean"] < 0.3 * bad["displacement_error_px"]["mean"]
    assert bad["displacement_error_px"]["mean"] == pytest.approx(bad["mask_motion_px"]["mean"], rel=0.1)
    assert tuple(good["by_frame"]) == MEASURES
    offsets = [point["mean"] for point in good["by_frame"]["offset_px"]]
    assert np.isfinite(offsets[:5]).all() and np.isnan(offsets[5:]).all() and len(offsets) == 8


def test_smoothness_only_where_asked_for() -> None:
    found = MotionAccumulator(frames=5)
    fill(found, MOVES, 2, smoothness=False)
    row = found.row("wrong masks")
    assert all(np.isnan(row[name]["mean"]) for name in SMOOTHNESS)
    assert np.isfinite(row["drift_cnr"]["mean"])


def test_a_set_without_clips_and_the_section() -> None:
    empty = MotionAccumulator().row("floor")
    assert empty == {"name": "floor", "n": 0}
    assert motion_section(empty, [empty]) == {"reference": empty, "rows": [empty]}
