from pathlib import Path

import numpy as np
import pytest
import torch
from generation import generation_batch
from toy import FRAMES, WINDOW

from sfvd_pl.augment.columns import (
    clip_columns,
    median_visibility,
    quantise,
    scene_columns,
    synthetic_columns,
)
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
    assert np.allclose(np.asarray(columns["clips/requested_visibility"]), batch.visibility.numpy())
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


def test_synthetic_columns_add_the_median_and_the_caller_s_facts(source: Path) -> None:
    batch = generation_batch(source, IDS, scale=0.01)
    image = torch.rand(2, 1, FRAMES, WINDOW, WINDOW)
    columns = synthetic_columns(batch, image, 0, 255, {"clips/accepted": np.array([True, False])})
    assert list(columns["clips/accepted"]) == [True, False]
    assert np.allclose(np.asarray(columns["clips/segmentation_scale"]), [0.05, 0.1])
    by_frame = np.asarray(columns["frames/visibility"]).reshape(2, FRAMES)
    assert np.allclose(np.asarray(columns["clips/measured_visibility"]), np.nanmedian(by_frame, axis=1))


def test_median_ignores_unmeasured_frames_and_is_nan_where_none_was() -> None:
    nan = np.nan
    found = median_visibility(np.array([[1.0, nan, 3.0, 8.0], [nan] * 4, [2.0, 2.0, 2.0, nan]]))
    assert found.dtype == np.float32
    assert found[[0, 2]].tolist() == [3.0, 2.0]
    assert np.isnan(found[1])
