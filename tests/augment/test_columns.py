from pathlib import Path

import numpy as np
import pytest
import torch
from generation import generation_batch
from toy import FRAMES, WINDOW

from sfvd_pl.augment.columns import DrawnClip, anchored_columns, clip_columns, quantise, scene_columns
from sfvd_pl.augment.plan import Plan, PlanConfig
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.metrics.visibility import wire_visibility

IDS = [4, 9]


@pytest.mark.parametrize(("top", "dtype"), [(255, np.uint8), (100, np.uint8), (4095, np.uint16), (65535, np.uint16)])
def test_quantise_rounds_to_the_depth_of_the_source(top: int, dtype: type) -> None:
    values = torch.tensor([[0.0, 0.4 / top, 0.6 / top, 0.5, 1.0]])
    pixels = quantise(values, top)
    assert pixels.dtype == dtype
    assert pixels[0, [0, 1, 2, 4]].tolist() == [0, 0, 1, top]
    assert abs(int(pixels[0, 3]) - top / 2) <= 0.5
    levels = torch.arange(top + 1) / top
    assert np.array_equal(quantise(levels, top), np.arange(top + 1))


def test_identity_columns_say_what_was_asked(source: Path) -> None:
    batch = generation_batch(source, IDS)
    columns = scene_columns(batch, torch.rand(2, 1, 1, WINDOW, WINDOW), 6, 255)
    assert columns["clips/name"] == ["synthetic/000004", "synthetic/000009"]
    assert columns["clips/patient"] == ["synthetic"] * 2
    assert list(columns["clips/sample_id"]) == IDS
    assert list(columns["clips/sample_seed"]) == [sample_seed(6, i, "sequence") for i in IDS]
    assert list(columns["clips/length"]) == [FRAMES] * 2
    assert np.isnan(np.asarray(columns["clips/requested_visibility"])).all(), "nothing is asked of the models"
    assert list(columns["clips/height"]) == list(columns["clips/width"]) == [WINDOW] * 2
    assert columns["clips/mask_origin"] == batch.origin
    assert columns["clips/mask_source"] == batch.mask_source


@pytest.mark.parametrize("top", [255, 4095])
def test_frames_stay_beside_their_masks(source: Path, top: int) -> None:
    batch, image = generation_batch(source, IDS), torch.rand(2, 1, FRAMES, WINDOW, WINDOW)
    columns = clip_columns(batch, image, 0, top)
    pixels, masks = np.asarray(columns["frames/image"]), np.asarray(columns["frames/wire_mask"])
    assert pixels.shape == masks.shape == (2 * FRAMES, WINDOW, WINDOW)
    for clip in range(2):
        for frame in range(FRAMES):
            row = clip * FRAMES + frame
            assert np.array_equal(pixels[row], quantise(image[clip, 0, frame], top))
            assert np.array_equal(masks[row], batch.wire_mask[clip, 0, frame].numpy())
            seen = wire_visibility(pixels[row], masks[row])
            assert np.asarray(columns["frames/visibility"])[row] == pytest.approx(seen, nan_ok=True, abs=1e-5)
    assert np.asarray(columns["frames/annotated"]).all()


def test_a_scene_is_measured_against_the_first_mask(source: Path) -> None:
    batch, image = generation_batch(source, IDS), torch.rand(2, 1, 1, WINDOW, WINDOW)
    columns = scene_columns(batch, image, 0, 255)
    for clip in range(2):
        pixels = np.asarray(columns["clips/scene"])[clip]
        assert np.array_equal(pixels, quantise(image[clip, 0, 0], 255))
        seen = wire_visibility(pixels, batch.wire_mask[clip, 0, 0].numpy().astype(np.uint8))
        assert np.asarray(columns["clips/measured_visibility"])[clip] == pytest.approx(seen, nan_ok=True, abs=1e-5)


def test_an_anchored_clip_says_what_it_shows_and_is_padded_to_the_artifact_s_frames(
    source: Path, suspects: Path
) -> None:
    plan = Plan(PlanConfig(frames=FRAMES, window=WINDOW, anchored=0.5, vessel_share=0.0), source, suspects, 3)
    clips = [plan.clip(i) for i in range(8)]
    fresh = next(clip for clip in clips if clip.frames is None)
    shown = next(clip for clip in clips if clip.frames is not None)
    for clip in (fresh, shown):
        size = clip.wire_mask.shape[1]
        pixels = np.random.default_rng(0).integers(0, 255, clip.wire_mask.shape).astype(np.uint8)
        columns = anchored_columns(clip, DrawnClip(pixels, 1.5, 0.7, 0.4, "because"), plan, 255)
        image, ignore = np.asarray(columns["frames/image"]), np.asarray(columns["frames/ignore"])
        assert image.shape == ignore.shape == (FRAMES, 48, 48)
        assert np.array_equal(image[:, :size, :size], pixels)
        assert (image[:, size:] == image[:, size - 1 : size]).all()
        assert (image[..., size:] == image[..., size - 1 : size]).all()
        assert np.array_equal(ignore[:, :size, :size], clip.ignore)
        assert ignore[:, size:].all() and ignore[..., size:].all()
        assert np.array_equal(np.asarray(columns["frames/wire_mask"])[:, :size, :size], clip.label)
        assert not (ignore & np.asarray(columns["frames/wire_mask"])).any()
        assert (columns["clips/height"], columns["clips/width"]) == ([size], [size])
        assert columns["clips/background"] == [clip.background]
        assert columns["clips/background_patient"] == [clip.background_patient]
        assert columns["clips/background_start"] == [clip.background_start]
        assert columns["clips/requested_visibility"] == pytest.approx([clip.visibility])
        frames = zip(pixels, clip.wire_mask, clip.ignore, strict=True)
        by_frame = [wire_visibility(p, w, ignore=i) for p, w, i in frames]
        assert columns["clips/measured_visibility"] == pytest.approx([np.nanmedian(by_frame)], abs=1e-5)
        assert columns["clips/contrast"] == [1.5] and columns["clips/attenuation_cnr"] == pytest.approx([0.7])
        assert columns["clips/reject_reason"] == ["because"] and not np.asarray(columns["clips/accepted"]).any()
    assert columns.keys() >= {"clips/hard", "clips/gate_dice", "clips/segmentation_scale"}
