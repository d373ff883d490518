"""A bright wire is found by its labels."""

from dataclasses import replace

import numpy as np
import pytest

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.importing.polarity import check_polarity, narrowed, with_polarity


def test_a_bright_wire_is_refused_with_the_remedy(make_clip) -> None:
    with pytest.raises(SourceError, match="p01/r01") as caught:
        with_polarity(make_clip(bright=True), "check", told=False)
    assert '"inverted": true' in str(caught.value) and "--polarity invert" in str(caught.value)


def test_a_dark_wire_passes_as_it_is(make_clip) -> None:
    clip = make_clip()
    assert (
        with_polarity(clip, "check", told=False) is clip and with_polarity(clip, "keep", told=False) is clip
    )
    bright = make_clip(bright=True)
    assert with_polarity(bright, "keep", told=False) is bright


def test_inverting_a_bright_wire_makes_it_dark(make_clip) -> None:
    clip = with_polarity(make_clip(bright=True), "invert", told=False)
    check_polarity(clip)
    assert clip.source_scale == -1 and clip.source_offset == 255
    told = make_clip()
    assert with_polarity(told, "invert", told=True) is told, "what the recording's own meta.json says counts"


def test_nothing_is_said_of_few_or_unlabelled_frames(make_clip) -> None:
    check_polarity(make_clip(bright=True, annotated=False))
    check_polarity(make_clip(bright=True, shape=(2, 32, 40)))
    sparse = make_clip(bright=True, shape=(6, 32, 40))
    annotated = np.array([True, False] * 3)
    masks = sparse.wire_mask * annotated[:, None, None].astype(np.uint8)
    with pytest.raises(SourceError):
        check_polarity(replace(sparse, annotated=annotated, wire_mask=masks))


def test_a_wire_that_can_hardly_be_seen_passes(make_clip) -> None:
    clip = make_clip(annotated=False)
    noise = np.random.default_rng(1).normal(128, 20, clip.image.shape).astype(np.uint8)
    wire = make_clip().wire_mask
    noise += 4 * wire  # a fifth of the noise brighter
    check_polarity(replace(clip, image=noise, wire_mask=wire, annotated=np.ones(3, np.bool_)))


def test_the_smallest_type_of_pixel(make_clip) -> None:
    wide = replace(make_clip(), image=make_clip().image.astype(np.uint16))
    assert narrowed(wide).image.dtype == np.uint8 and np.array_equal(narrowed(wide).image, wide.image)
    assert narrowed(make_clip(top=4000)).image.dtype == np.uint16
