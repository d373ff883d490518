"""meta.json: what its keys do to a clip, and every wrong value refused by key."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import META_KEYS, Clip, Meta, read_meta, scan_source

AFFINE = [[0.5, 0.0, 12.0], [0.0, 0.5, -3.0]]
FULL: dict[str, Any] = {
    "fps": 12.5,
    "pixel_spacing_mm": 0.2,
    "intensity_max": 4095,
    "intensity": "log",
    "inverted": False,
    "angles_deg": [30, None],
    "source_scale": 0.25,
    "source_offset": -7,
    "affine": AFFINE,
    "origin": "dicom",
    "annotated_frames": [0, 2],
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "meta.json"
    path.write_text(json.dumps(content) if not isinstance(content, str) else content)
    return path


def test_every_key_reaches_the_clip(tmp_path: Path) -> None:
    assert set(FULL) == set(META_KEYS), "a key without a test"
    meta = read_meta(written(tmp_path, FULL | {"of somebody else": 1}))
    image = np.arange(24, dtype=np.uint16).reshape(1, 4, 6)
    clip = meta.clip("p/r", "p", image, origin="npy", intensity_max=4095, fps=99.0, intensity="display")
    assert (clip.fps, clip.spacing_mm, clip.intensity, clip.origin) == (12.5, 0.2, "log", "dicom")
    assert clip.angles_deg[0] == 30 and math.isnan(clip.angles_deg[1])
    assert np.array_equal(clip.affine, AFFINE)
    assert (clip.source_scale, clip.source_offset) == (0.25, -7.0)
    assert (meta.intensity_max, meta.annotated_frames) == (4095, (0, 2))


def test_without_keys_the_file_decides(tmp_path: Path) -> None:
    meta = read_meta(tmp_path / "absent.json")
    assert repr(meta) == repr(Meta())
    image = np.zeros((2, 4, 6), np.uint8)
    clip = meta.clip("p/r", "p", image, origin="video", intensity_max=255, fps=25.0, scale=2.0, offset=1.0)
    assert (clip.fps, clip.origin, clip.source_scale, clip.source_offset) == (25.0, "video", 2.0, 1.0)
    assert math.isnan(clip.spacing_mm) and clip.intensity == "unknown"


def test_inverted_pictures_come_in_dark_and_can_be_undone(make_run) -> None:
    run = make_run(frames=2, masked=(), meta={"inverted": True, "intensity_max": 200, "source_scale": 3.0})
    (clip,) = scan_source(run.parents[1])
    assert clip.image[:, 0, 0].tolist() == [100, 99]
    original = 3.0 * np.array([100, 101])
    assert (clip.source_scale * clip.image[:, 0, 0] + clip.source_offset).tolist() == original.tolist()


def test_a_clip_written_with_its_keys_comes_back_the_same(make_clip, tmp_path: Path) -> None:
    clip: Clip = make_clip(top=4095)
    folder = tmp_path / "data" / clip.name
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for k, (frame, mask) in enumerate(zip(clip.image, clip.wire_mask, strict=True)):
        Image.fromarray(frame).save(folder / "images" / f"{k:05d}.png")
        Image.fromarray(mask * 255).save(folder / "masks" / f"{k:05d}.png")
    written(folder, {key: value for key, value in FULL.items() if key != "annotated_frames"})
    (back,) = scan_source(tmp_path / "data")
    assert np.array_equal(back.image, clip.image) and back.image.dtype == clip.image.dtype
    assert np.array_equal(back.wire_mask, clip.wire_mask)
    assert back.annotated.all() and back.intensity_max == 4095


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fps", 0), ("fps", "15"), ("fps", 10**400), ("pixel_spacing_mm", [0.3, 0.3]), ("pixel_spacing_mm", True),
        ("intensity_max", 255.0), ("intensity_max", 0), ("intensity_max", 70000), ("intensity", "loud"),
        ("intensity", 1), ("inverted", "yes"), ("inverted", 1), ("angles_deg", [1]), ("angles_deg", [1, 200]),
        ("angles_deg", "RAO"), ("source_scale", 0), ("source_scale", "2"), ("source_offset", [1]),
        ("affine", [[1, 0, 0], [2, 0, 0]]), ("affine", [1, 0, 0, 0, 1, 0]), ("affine", [[1, 0], [0, 1]]),
        ("affine", [[1, 0, "0"], [0, 1, 0]]), ("origin", "tape"), ("annotated_frames", "some"),
        ("annotated_frames", [-1]), ("annotated_frames", [1.5]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_key(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(SourceError) as caught:
        read_meta(written(tmp_path, {key: value}))
    assert caught.value.key == key and caught.value.expected == META_KEYS[key]


@pytest.mark.parametrize("text", ['{"fps": NaN}', '{"fps": Infinity}', "[1]", "{", "[" * 100_000, "\udcff"])
def test_what_is_no_json_object_of_numbers_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "meta.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SourceError):
        read_meta(path)


def test_a_pixel_beyond_the_given_range_is_refused(make_run) -> None:
    run = make_run(meta={"intensity_max": 101})
    with pytest.raises(SourceError, match="intensity_max"):
        list(scan_source(run.parents[1]))


def test_a_huge_meta_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(SourceError, match="too large"):
        read_meta(path)
