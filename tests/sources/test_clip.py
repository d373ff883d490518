"""A clip that exists is sound: every guard of ``Clip`` trips."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip


def good() -> dict[str, Any]:
    """Fields of a valid clip."""
    wire = np.zeros((2, 4, 5), np.uint8)
    wire[0, 1, 1] = 1
    return {
        "name": "p1/r1",
        "patient": "p1",
        "image": np.full((2, 4, 5), 7, np.uint8),
        "wire_mask": wire,
        "annotated": np.array([True, False]),
        "fps": float("nan"),
        "spacing_mm": 0.3,
        "intensity_max": 255,
        "origin": "npy",
        "intensity": "log",
        "source_scale": 0.5,
        "source_offset": -3.0,
        "angles_deg": (-30.0, float("nan")),
        "affine": ((1.0, 0.0, 4.0), (0.0, 1.0, 2.0)),
        "ignore": np.zeros((2, 4, 5), np.uint8),
    }


def test_valid_clip_has_size() -> None:
    clip = Clip(**good())
    assert (len(clip), clip.frame_shape) == (2, (4, 5))
    assert {field.name for field in fields(clip)} == set(good())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patient", ""),
        ("name", "r1"),
        ("name", "p1/"),
        ("name", "p2/r1"),
        ("image", np.zeros((4, 5), np.uint8)),
        ("image", np.zeros((0, 4, 5), np.uint8)),
        ("image", np.zeros((2, 4, 5), np.float32)),
        ("intensity_max", 0),
        ("intensity_max", 256),
        ("intensity_max", 6),
        ("wire_mask", np.zeros((2, 4, 4), np.uint8)),
        ("wire_mask", np.zeros((2, 4, 5), bool)),
        ("ignore", np.zeros((2, 4, 4), np.uint8)),
        ("ignore", np.full((2, 4, 5), 2, np.uint8)),
        ("ignore", good()["wire_mask"]),
        ("wire_mask", np.full((2, 4, 5), 2, np.uint8)),
        ("annotated", np.array([True])),
        ("annotated", np.array([1, 0])),
        ("annotated", np.array([False, False])),
        ("fps", 0.0),
        ("fps", float("inf")),
        ("spacing_mm", -1.0),
        ("origin", ""),
        ("intensity", "bright"),
        ("source_scale", 0.0),
        ("source_scale", float("nan")),
        ("source_offset", float("inf")),
        ("angles_deg", (0.0, 181.0)),
        ("angles_deg", (0.0,)),
        ("affine", ((1.0, 0.0, 0.0), (2.0, 0.0, 0.0))),
        ("affine", ((1.0, 0.0), (0.0, 1.0))),
    ],
)
def test_every_guard_trips(key: str, value: object) -> None:
    with pytest.raises(SourceError):
        Clip(**{**good(), key: value})


@pytest.mark.parametrize(("top", "wider"), [(255, 256), (255, 1023), (200, 255), (1023, 4095), (4095, 65535)])
def test_a_stretched_clip_gives_back_every_value(top: int, wider: int) -> None:
    values = np.resize(np.arange(top + 1), (2, 4, top + 1)).astype(np.uint8 if top <= 255 else np.uint16)
    blank = np.zeros(values.shape, np.uint8)
    clip = Clip("p/r", "p", values, blank, np.array([False, False]), 15.0, 0.3, top, source_offset=-1024.0)
    wide = clip.rescaled(wider)
    assert (wide.intensity_max, int(wide.image.max())) == (wider, wider)
    back = np.rint(wide.source_scale * wide.image.astype(float) + wide.source_offset)
    assert np.array_equal(back, values.astype(float) - 1024)
    assert clip.rescaled(top) is clip
    with pytest.raises(SourceError, match="don't fit"):
        wide.rescaled(top)


def test_an_inverted_clip_gives_back_every_value() -> None:
    clip = Clip(**good())
    turned = clip.inverted()
    assert turned.image.dtype == np.uint8 and (turned.image == 248).all()
    for pixels in (clip, turned):
        source = pixels.source_scale * pixels.image.astype(float) + pixels.source_offset
        assert np.allclose(source, 0.5 * 7 - 3.0)
    assert np.array_equal(turned.inverted().image, clip.image) and turned.inverted().source_scale == 0.5
