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
        ("wire_mask", np.full((2, 4, 5), 2, np.uint8)),
        ("annotated", np.array([True])),
        ("annotated", np.array([1, 0])),
        ("annotated", np.array([False, False])),
        ("fps", 0.0),
        ("fps", float("inf")),
        ("spacing_mm", -1.0),
    ],
)
def test_every_guard_trips(key: str, value: object) -> None:
    with pytest.raises(SourceError):
        Clip(**{**good(), key: value})
