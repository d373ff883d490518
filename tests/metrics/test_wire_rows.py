"""Rendered wires of known place, width, depth and end; requests met by a known line."""

import numpy as np
import pytest
from rendered import mask, picture, straight

from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.metrics.wire_rows import clip_wire

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
